// Server-sent events over fetch: unlike EventSource it can carry a token, and it tells a refusal from an outage.

const SILENCE_MS = 8000;
const ANSWER_MS = 15000;
const TOKEN = "stream-detector-token";

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
};

function headers(more = {}, known = token.get()) {
  // A header holds bytes: a token beyond ASCII goes out as its UTF-8.
  return known ? { ...more, Authorization: `Bearer ${String.fromCharCode(...new TextEncoder().encode(known))}` } : more;
}

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function checked(response) {
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Refused(response.status, body.error ?? `${response.status} ${response.statusText}`);
}

export const getJson = async (path) => (await checked(await fetch(path, { headers: headers() }))).json();

/** Throws in words an operator can use: refused, not reached, or not known. */
export async function postJson(path, body) {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: headers({ "Content-Type": "application/json" }),
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    return await (await checked(response)).json();
  } catch (error) {
    if (error.name === "TimeoutError") throw new Error(`no reply within ${ANSWER_MS / 1000} s, so it may or may not have been written. Are many pages of this console open in this browser?`);
    if (error instanceof TypeError) throw new Error("the connection broke, so it may or may not have been written.");
    throw error;
  }
}

/** Splits a stream of text into events; calls `take(name, data)` for each. */
async function readEvents(reader, take) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      take(field("event"), JSON.parse(field("data")));
    }
  }
}

/** Follows the stream for ever. `on.event(name, data)`, `on.up?.()`, `on.down(error)`, `on.refused(error)` (awaited). */
export async function follow(on, tokenOf) {
  let wait = 250;
  for (;;) {
    const cancel = new AbortController();
    let watchdog;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => cancel.abort(), SILENCE_MS);
    };
    try {
      alive();
      const response = await checked(await fetch("/console/api/stream", { headers: headers({}, tokenOf()), signal: cancel.signal, cache: "no-store" }));
      on.up?.();
      wait = 250;
      await readEvents(response.body.getReader(), (name, data) => {
        alive();
        on.event(name, data);
      });
      on.down();
    } catch (error) {
      on.down(error);
      if (error instanceof Refused && error.status === 401) await on.refused(error);
    } finally {
      clearTimeout(watchdog);
      cancel.abort();
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(2 * wait, 4000);
  }
}
