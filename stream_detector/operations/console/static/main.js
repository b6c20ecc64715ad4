// Holds what is known, and draws it when something changes or a second has passed.

import { byId, h } from "./dom.js";
import { follow } from "./connection.js";
import { askToken, giveFeedback } from "./dialogs.js";
import { drawAlarms } from "./alarms.js";
import { drawAssets, isStale } from "./assets.js";
import { drawLedger } from "./ledger.js";
import { Detail } from "./detail.js";
import { age, money, number, whatText } from "./words.js";

const state = { assets: new Map(), alarms: [], ledger: null, worker: null, mayWrite: false, live: false, heard: 0, offset: 0, selected: null, seen: new Set(), announced: false };

// Ages are counted on the detector's clock: this machine's may be wrong.
const now = () => Date.now() / 1000 + state.offset;

const page = {
  now,
  live: () => state.live,
  heard: () => state.heard,
  mayWrite: () => state.mayWrite && state.live,
  selected: () => state.selected,
  asset: () => state.assets.get(state.selected),
  select: (asset) => {
    location.hash = `#/${encodeURIComponent(asset)}`;
  },
  showAlarm: (alarm) => {
    state.selected = alarm.asset;
    history.replaceState(null, "", `#/${encodeURIComponent(alarm.asset)}`);
    drawAssets(state.assets, page);
    detail.show(alarm);
  },
  feedback: async (action, asset, alarm) => {
    try {
      await giveFeedback(action, asset, alarm);
    } catch (error) {
      byId("announce").textContent = error.message;
      notice(`Not written: ${error.message}`, 8000);
    }
  },
};

const detail = new Detail(page);
let noticeUntil = 0;

function notice(text, milliseconds = 0) {
  const element = byId("notice");
  if (!milliseconds && Date.now() < noticeUntil) return;
  if (milliseconds) noticeUntil = Date.now() + milliseconds;
  if (element.textContent !== (text ?? "")) element.textContent = text ?? "";
  element.hidden = !text;
}

function choose() {
  const wanted = decodeURIComponent(location.hash.slice(2));
  const first = [...state.assets.values()].find((asset) => asset.state === "alarm") ?? state.assets.values().next().value;
  const known = state.assets.has(state.selected) ? state.selected : null;
  state.selected = state.assets.has(wanted) ? wanted : (known ?? first?.asset ?? null);
}

function figures() {
  const assets = [...state.assets.values()];
  const count = (test) => assets.filter(test).length;
  const open = state.alarms.filter((view) => view.alarm.state === "raised");
  const unacknowledged = open.filter((view) => !view.acknowledged_by).length;
  const total = state.ledger?.total;
  const shown = [
    [unacknowledged ? `open alarms, ${unacknowledged} not acknowledged` : "open alarms", open.length, "bad"],
    ["assets", assets.length, ""],
    ["without new data", count((asset) => isStale(asset, now())), "warn"],
    ["silent sensors", assets.reduce((sum, asset) => sum + asset.degraded, 0), "warn"],
    ["events caught", total ? `${total.caught} of ${total.events}` : "–", ""],
    ["saved", total ? money(total.saved) : "–", ""],
  ];
  byId("figures").replaceChildren(
    ...shown.map(([label, value, kind]) => h("div", { class: value === 0 || value === "–" ? "" : kind }, h("dt", {}, label), h("dd", {}, typeof value === "number" ? number(value) : value))),
  );
  document.title = open.length ? `(${open.length}) ALARM – Stream Detector` : "Stream Detector";
}

function announce() {
  const fresh = state.alarms.filter((view) => view.alarm.state === "raised" && !state.seen.has(view.alarm.id));
  for (const view of state.alarms) state.seen.add(view.alarm.id);
  // What was up before the page was opened is on the screen; only news is spoken.
  if (state.announced && fresh.length) byId("announce").textContent = fresh.map((view) => `Alarm. ${whatText(view.alarm, now())}`).join(" ");
  state.announced = true;
}

function connection() {
  const pill = byId("live");
  const silent = now() - state.heard;
  const text = state.live ? "live" : state.heard ? `connection lost, last heard ${age(silent)}` : "connecting";
  if (pill.textContent !== text) pill.textContent = text;
  pill.className = `pill ${state.live ? "on" : "off"}`;
  document.body.classList.toggle("lost", !state.live);
  const asset = page.asset();
  byId("detail").classList.toggle("old", !state.live || (asset !== undefined && isStale(asset, now())));
  if (!state.worker) return;
  const { instance, recipe, bundle, version, ready } = state.worker;
  byId("worker").textContent = `${instance} · ${recipe} · bundle ${bundle} · ${version}`;
  if (!state.live) notice("Connection to the detector lost. What you see is old; this page connects again by itself.");
  else notice(state.worker.notice ?? (ready ? null : "The detector is not ready yet: it reads its windows back."));
}

function tick() {
  connection();
  figures();
  drawAssets(state.assets, page);
}

function take(name, data) {
  state.offset = data.now - Date.now() / 1000;
  state.heard = data.now;
  state.worker = data.worker;
  state.live = true;
  if (name === "change") {
    if (data.full) state.assets.clear();
    for (const asset of data.assets) state.assets.set(asset.asset, asset);
    if (data.names) for (const name of [...state.assets.keys()]) if (!data.names.includes(name)) state.assets.delete(name);
    const mayWriteChanged = state.mayWrite !== data.may_write;
    state.mayWrite = data.may_write;
    choose();
    if (data.alarms) {
      state.alarms = data.alarms;
      state.ledger = data.ledger;
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
setInterval(tick, 1000);
follow({
  event: take,
  up: () => {},
  down: () => {
    state.live = false;
    drawAlarms(state.alarms, page);
    tick();
  },
  refused: askToken,
});
