// Holds what is known, and draws it when something changes or a second has passed.

import { byId, h, setText } from "./dom.js";
import { follow } from "./connection.js";
import { askToken, giveFeedback, name as nameHere, signOut } from "./dialogs.js";
import { drawAlarms, drawKnowledge } from "./alarms.js";
import { drawAssets, isStale } from "./assets.js";
import { drawLedger } from "./ledger.js";
import { Detail } from "./detail.js";
import { age, money, number, time, whatText } from "./words.js";

const state = { assets: new Map(), alarms: [], setAside: new Map(), full: false, problem: null, ledger: null, worker: null, mayWrite: false, live: false, heard: 0, offset: 0, selected: null, seen: new Set(), announced: false };

// Ages are counted on the detector's clock: this machine's may be wrong.
const now = () => Date.now() / 1000 + state.offset;

const page = {
  now,
  live: () => state.live,
  heard: () => state.heard,
  mayWrite: () => state.mayWrite && state.live,
  selected: () => state.selected,
  assetOf: (alarm) => state.assets.get(alarm.asset),
  asset: () => state.assets.get(state.selected),
  /** Why nobody is told of this asset's alarms; undefined = people are. */
  setAside: (asset) => {
    const found = state.setAside.get(asset);
    return found && (found.until === null || found.until > now()) ? found : undefined;
  },
  allSetAside: () => [...state.setAside.keys()].map((asset) => page.setAside(asset)).filter(Boolean),
  upOf: (asset) => state.alarms.find((view) => isOpen(view) && view.alarm.asset === asset)?.alarm.raised_at ?? null,
  knowledge,
  select: (asset) => {
    // Chosen again, it is let go: the page follows the alarms again.
    location.hash = wantedAsset() === asset ? "" : `#/${encodeURIComponent(asset)}`;
  },
  showAlarm: (alarm) => {
    state.selected = alarm.asset;
    history.replaceState(null, "", `#/${encodeURIComponent(alarm.asset)}`);
    drawAssets(state.assets, page);
    detail.show(alarm);
  },
  feedback: async (action, asset, alarm) => {
    if (nameHere()) outcome("Writing the answer…");
    try {
      const who = await giveFeedback(action, asset, alarm);
      outcome(who === null ? "" : `Written as ${who}: ${action}, ${asset}.`, 4000);
    } catch (error) {
      outcome(`Not confirmed: ${error.message}`, 15000, true);
    }
  },
};

const detail = new Detail(page);
let noticeUntil = 0;

function notice(text, milliseconds = 0) {
  const element = byId("notice");
  if (!milliseconds && Date.now() < noticeUntil) return;
  if (milliseconds) noticeUntil = Date.now() + milliseconds;
  setText(element, text ?? "");
  element.hidden = !text;
  // A number that counts up is no news: it is spoken once.
  const news = (text ?? "").replace(/\d+/g, "#");
  if (element.dataset.spoken === news) return;
  element.dataset.spoken = news;
  byId("notice-spoken").textContent = text ?? "";
}

let outcomeTimer;

/** What became of an answer; it lies over the page, so that nothing moves under the mouse. */
function outcome(text, milliseconds = 0, failed = false) {
  clearTimeout(outcomeTimer);
  byId("outcome").textContent = text;
  byId("outcome").hidden = !text;
  byId("outcome").classList.toggle("failed", failed);
  if (failed) byId("announce").textContent = text;
  if (milliseconds) outcomeTimer = setTimeout(() => outcome(""), milliseconds);
  whoHere();
}

function whoHere() {
  const known = page.mayWrite() ? nameHere() : "";
  byId("who").hidden = !known;
  if (known) setText(byId("who"), `Answers as ${known} · sign out`);
}

/** What may be said of the open alarms: `complete` only with a live feed of all of them, `why` in words. */
function knowledge() {
  if (!state.full) return { complete: false, why: `Not known: ${state.problem ?? "there is no connection to the detector yet"}.` };
  if (!state.live) return { complete: false, why: `Not known since ${time(state.heard, now(), true)}: ${state.problem ?? "the connection to the detector is lost"}.` };
  const { records, ready } = state.worker;
  if (records === "reading") return { complete: false, why: "Not known yet: the alarms are being read from their topic." };
  if (records === "lost") return { complete: false, why: "Not known: the broker does not answer, so newer alarms cannot be seen." };
  if (!ready) return { complete: false, why: "None that is known of; but the detector is not ready, so an alarm may come late." };
  const assets = [...state.assets.values()];
  const old = assets.filter((asset) => isStale(asset, now())).length;
  if (old) return { complete: false, why: `None that is known of; but ${old} of ${assets.length} assets send no new data, and nothing is known of those.` };
  if (!assets.length) return { complete: false, why: "None that is known of; but no asset has sent anything to this detector yet." };
  return { complete: true, why: "None. Nothing to do." };
}

const isOpen = (view) => view.alarm.state === "raised";

/** Open alarms that people are told of. */
const active = () => state.alarms.filter((view) => isOpen(view) && !page.setAside(view.alarm.asset));

function wantedAsset() {
  if (!location.hash.startsWith("#/")) return null;
  try {
    return decodeURIComponent(location.hash.slice(2));
  } catch {
    return null; // not a link that this page made
  }
}

function choose() {
  const wanted = wantedAsset();
  const first = [...state.assets.values()].find((asset) => asset.state === "alarm") ?? state.assets.values().next().value;
  const known = state.assets.has(state.selected) ? state.selected : null;
  // Until a person chooses an asset, the page follows the newest alarm that nobody has acknowledged.
  const followed = active().find((view) => !view.acknowledged_by && state.assets.has(view.alarm.asset))?.alarm.asset;
  state.selected = state.assets.has(wanted) ? wanted : (followed ?? known ?? first?.asset ?? null);
}

const unacknowledged = (views) => views.filter((view) => !view.acknowledged_by).length;

function figures() {
  const assets = [...state.assets.values()];
  const count = (test) => assets.filter(test).length;
  const open = active();
  const { complete } = knowledge();
  const unknown = !complete && !open.length;
  const alarms = unknown ? "open alarms, not known" : unacknowledged(open) ? `open alarms, ${unacknowledged(open)} not acknowledged` : "open alarms";
  const total = state.ledger?.total;
  const shown = [
    [alarms, unknown ? "?" : open.length, unknown ? "warn" : "bad"],
    ["assets", state.full ? assets.length : "–", ""],
    ["without new data", state.full ? count((asset) => isStale(asset, now())) : "–", "warn"],
    ["silent sensors", state.full ? assets.reduce((sum, asset) => sum + asset.degraded, 0) : "–", "warn"],
    ["events caught", total ? `${total.caught} of ${total.events}` : "–", ""],
    ["saved", total ? money(total.saved) : "–", ""],
  ];
  byId("figures").replaceChildren(
    ...shown.map(([label, value, kind]) => h("div", { class: value === 0 || value === "–" ? "" : kind }, h("dt", {}, label), h("dd", {}, typeof value === "number" ? number(value) : value))),
  );
  const sign = open.length ? `(${open.length}) ALARM – ` : complete ? "" : "(?) ";
  document.title = `${sign}Stream Detector`;
}

function announce() {
  const fresh = active().filter((view) => !state.seen.has(view.alarm.id));
  for (const view of state.alarms) state.seen.add(view.alarm.id);
  // What was up before the page was opened is on the screen; only news is spoken.
  if (state.announced && fresh.length) byId("announce").textContent = fresh.map((view) => `Alarm. ${whatText(view.alarm, now(), state.assets.get(view.alarm.asset))}`).join(" ");
  state.announced = true;
}

const PILL = { reading: "reading the alarms", lost: "broker does not answer" };

function connection() {
  const pill = byId("live");
  const silent = now() - state.heard;
  const lost = state.heard ? `connection lost, last heard ${age(silent)}` : "connecting";
  const text = state.live ? PILL[state.worker.records] ?? (state.worker.ready ? "live" : "detector not ready") : lost;
  setText(pill, text);
  pill.className = `pill ${text === "live" ? "on" : "off"}`;
  document.body.classList.toggle("lost", !state.live);
  document.body.classList.toggle("unknown", !state.live || state.worker.records !== "live");
  const asset = page.asset();
  byId("detail").classList.toggle("old", !state.live || (asset !== undefined && isStale(asset, now())));
  if (!state.worker) return;
  const { instance, recipe, bundle, version, ready } = state.worker;
  byId("worker").textContent = `${instance} · ${recipe} · bundle ${bundle} · ${version}`;
  if (!state.live) notice("Connection to the detector lost. What you see is old; this page connects again by itself.");
  else notice(state.worker.notice ?? (ready ? null : "The detector is not ready yet: it reads its windows back."));
}

/** What the bus carries beside the bundle's sensors and assets: counted, and named to whoever asks. */
function ignored() {
  const { readings, sensors, assets } = state.worker?.unknown ?? { readings: 0, sensors: [], assets: [] };
  byId("ignored").hidden = readings === 0;
  setText(byId("ignored-count"), `${readings.toLocaleString("en")} readings ignored: sensors or assets that the bundle does not know`);
  const parts = [sensors.length && `sensors ${sensors.join(", ")}`, assets.length && `assets ${assets.join(", ")}`];
  setText(byId("ignored-names"), `The newest: ${parts.filter(Boolean).join("; ")}`);
}

function tick() {
  connection();
  whoHere();
  ignored();
  figures();
  drawAssets(state.assets, page);
  const aside = page.allSetAside().map((entry) => entry.asset).join("\n");
  if (aside !== state.aside) {
    // A shelving ends by the clock, without any message.
    state.aside = aside;
    drawAlarms(state.alarms, page);
  }
  drawKnowledge(page);
}

function take(name, data) {
  state.offset = data.now - Date.now() / 1000;
  state.heard = data.now;
  state.worker = data.worker;
  state.live = true;
  state.problem = null;
  if (name === "change") {
    if (data.full) state.assets.clear();
    if (data.alarms) {
      state.alarms = data.alarms;
      state.ledger = data.ledger;
      state.setAside = new Map(data.set_aside.map((entry) => [entry.asset, entry]));
    }
    state.full ||= data.full;
    for (const asset of data.assets) state.assets.set(asset.asset, asset);
    if (data.names) for (const name of [...state.assets.keys()]) if (!data.names.includes(name)) state.assets.delete(name);
    const mayWriteChanged = state.mayWrite !== data.may_write;
    state.mayWrite = data.may_write;
    choose();
    if (data.alarms) {
      announce();
      drawLedger(data.ledger, page);
    }
    if (data.alarms || mayWriteChanged || data.full) drawAlarms(state.alarms, page);
    if (data.full || data.alarms || data.assets.some((asset) => asset.asset === state.selected)) detail.refresh();
  }
  tick();
}

const THEMES = [["auto", "◐", "as the system"], ["light", "☀", "light"], ["dark", "☾", "dark"]];

function theme(next) {
  const known = localStorage.getItem("stream-detector-theme") ?? "auto";
  const index = (THEMES.findIndex(([name]) => name === known) + (next ? 1 : 0)) % THEMES.length;
  const [name, sign, text] = THEMES[index];
  localStorage.setItem("stream-detector-theme", name);
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = sign;
  byId("theme").setAttribute("aria-label", `Colours: ${text}`);
}

theme(false);
byId("theme").addEventListener("click", () => theme(true));
addEventListener("hashchange", () => {
  if (location.hash.length < 3) state.selected = null;
  choose();
  detail.alarm = null;
  detail.refresh();
  tick();
});
byId("who").addEventListener("click", () => {
  signOut();
  outcome("Signed out: the next answer asks for a name.", 4000);
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash names the asset that is shown
  byId("open-alarms").focus();
});
byId("zone").textContent = `All times: ${Intl.DateTimeFormat().resolvedOptions().timeZone}, the zone of this browser`;
setInterval(tick, 1000);
follow({
  event: take,
  up: () => {},
  down: (error) => {
    state.live = false;
    state.problem = error?.status === 401 ? error.message : error?.status ? `the detector refuses: ${error.message}` : null;
    drawAlarms(state.alarms, page);
    tick();
  },
  refused: askToken,
});
