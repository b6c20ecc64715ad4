// The stream as a page gets it: through the worker that all pages of the browser share, or by itself where there is none.

import { follow, token } from "./connection.js";

const SILENCE_MS = 10000;

/** A name that tells tokens apart and does not show them. */
async function nameOf(secret) {
  if (!secret) return "open";
  if (!crypto.subtle) return "signed in"; // over plain HTTP from another machine; the worker compares the tokens
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** As `follow` of connection.js. */
export async function followTogether(on) {
  if (typeof SharedWorker === "undefined") return follow(on, token.get);
  for (;;) await on.refused(await untilRefused(on, await nameOf(token.get())));
}

function untilRefused(on, name) {
  const { port } = new SharedWorker("/console/shared.js", { type: "module", name });
  addEventListener("pagehide", () => port.postMessage({ bye: true }), { once: true });
  let watchdog;
  const alive = () => {
    clearTimeout(watchdog);
    // The worker says itself when the detector is silent; this is for a worker that is gone.
    watchdog = setTimeout(() => on.down(), SILENCE_MS);
  };
  return new Promise((resolve) => {
    let up = false;
    port.onmessage = ({ data }) => {
      alive();
      if (data.refused !== undefined) {
        clearTimeout(watchdog);
        on.down({ status: 401, message: data.refused });
        port.close();
        resolve({ message: data.refused, status: 401 });
      } else if (data.down) {
        up = false;
        on.down(data.status ? { status: data.status, message: data.text } : undefined);
      } else {
        if (!up) on.up();
        up = true;
        on.event(data.event, data.data);
      }
    };
    alive();
    port.postMessage({ token: token.get() });
  });
}

// A page that comes back out of the browser's memory has a port that nobody writes to.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
