// Holds what is known, and draws it when something changes or a second has passed.

import { byId, h, setText } from "./dom.js";
import { askToken, giveFeedback, isProxied, name as nameHere, signedIn, signOut } from "./dialogs.js";
import { drawAlarms, drawKnowledge, prepareAlarms } from "./alarms.js";
import { drawAssets, isStale, prepareSearch } from "./assets.js";
import { chooseLanguage } from "./languages.js";
import { t } from "./language.js";
import { loadPlant, site } from "./plant.js";
import { offerSound, ring, showSound } from "./sound.js";
import { followTogether } from "./stream.js";
import { drawLedger } from "./ledger.js";
import { Detail } from "./detail.js";
import { age, money, number, time, whatText } from "./words.js";

const WALL = new URLSearchParams(location.search).has("wall");

const state = { assets: new Map(), alarms: [], open: { told: 0, unanswered: 0, aside: 0 }, setAside: new Map(), full: false, problem: null, ledger: null, worker: null, mayWrite: false, live: false, heard: 0, offset: 0, selected: null, seen: new Set(), announced: false };

// Ages are counted on the detector's clock: this machine's may be wrong.
const now = () => Date.now() / 1000 + state.offset;

const page = {
  now,
  live: () => state.live,
  heard: () => state.heard,
  mayWrite: () => state.mayWrite && state.live && !WALL,
  wall: () => WALL,
  assets: () => state.assets,
  open: () => state.open,
  selected: () => state.selected,
  assetOf: (alarm) => state.assets.get(alarm.asset),
  asset: () => state.assets.get(state.selected),
  /** Why nobody is told of this asset's alarms; undefined = people are. */
  setAside: (asset) => {
    const found = state.setAside.get(asset);
    return found && (found.until === null || found.until > now()) ? found : undefined;
  },
  allSetAside: () => [...state.setAside.keys()].map((asset) => page.setAside(asset)).filter(Boolean),
  /** Whether what is expected of a step follows from the value before; of another detector's bundle it is not known. */
  expectsChanges: (bundle) => state.worker.expects_changes.includes(bundle),
  upOf: (asset) => state.alarms.find((view) => isOpen(view) && view.alarm.asset === asset)?.alarm.raised_at ?? null,
  knowledge,
  select: (asset) => {
    if (WALL) return;
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
    if (nameHere()) outcome(t("Writing the answer…"));
    try {
      const who = await giveFeedback(action, asset, alarm);
      outcome(who === null ? "" : t("Written as {who}: {action}, {asset}.", { who, action: t(action), asset }), 4000);
    } catch (error) {
      outcome(t("Not confirmed: {why}", { why: error.message }), 15000, true);
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
  byId("who").disabled = isProxied();
  if (known) setText(byId("who"), isProxied() ? t("Answers as {who}", { who: known }) : t("Answers as {who} · sign out", { who: known }));
}

/** What may be said of the open alarms: `complete` only with a live feed of all of them, `why` in words. */
function knowledge() {
  if (!state.full) return { complete: false, why: t("Not known: {why}.", { why: state.problem ?? t("there is no connection to the detector yet") }) };
  if (!state.live) return { complete: false, why: t("Not known since {when}: {why}.", { when: time(state.heard, now(), true), why: state.problem ?? t("the connection to the detector is lost") }) };
  const { records, ready, others, partitions, all_partitions } = state.worker;
  if (records === "reading") return { complete: false, why: t("Not known yet: the alarms are being read from their topic.") };
  if (records === "lost") return { complete: false, why: t("Not known: the broker does not answer, so newer alarms cannot be seen.") };
  if (!ready) return { complete: false, why: t("None that is known of; but the detector is not ready, so an alarm may come late.") };
  if (!others && partitions < all_partitions) return { complete: false, why: t("None that is known of; but this detector watches {n} of {m} partitions, and nothing tells it of the assets of the others.", { n: partitions, m: all_partitions }) };
  const assets = [...state.assets.values()];
  const old = assets.filter((asset) => isStale(asset, now())).length;
  if (old) return { complete: false, why: t("None that is known of; but {n} of {m} assets send no new data, and nothing is known of those.", { n: old, m: assets.length }) };
  if (!assets.length) return { complete: false, why: t("None that is known of; but no asset has sent anything to this detector yet.") };
  return { complete: true, why: t("None. Nothing to do.") };
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
  // Of very many alarms the page is sent a part, and told how many there are.
  const told = Math.max(open.length, state.open.told);
  const unanswered = Math.max(unacknowledged(open), state.open.unanswered);
  const alarms = unknown ? t("open alarms, not known") : unanswered ? t("open alarms, {n} not acknowledged", { n: unanswered }) : t("open alarms");
  const total = state.ledger?.total;
  const shown = [
    [alarms, unknown ? "?" : told, unknown ? "warn" : "bad"],
    [assetsText(assets), state.full ? assets.length : "–", ""],
    [t("without new data"), state.full ? count((asset) => isStale(asset, now())) : "–", "warn"],
    [t("silent sensors"), state.full ? assets.reduce((sum, asset) => sum + asset.degraded, 0) : "–", "warn"],
    [t("events caught"), total ? t("{n} of {m}", { n: total.caught, m: total.events }) : "–", ""],
    [t("saved"), total ? money(total.saved) : "–", ""],
  ];
  byId("figures").replaceChildren(
    ...shown.map(([label, value, kind]) => h("div", { class: value === 0 || value === "–" ? "" : kind }, h("dt", {}, label), h("dd", {}, typeof value === "number" ? number(value) : value))),
  );
  const sign = open.length ? `(${told}) ${t("ALARM")} – ` : complete ? "" : "(?) ";
  document.title = `${sign}Stream Detector`;
}

function announce() {
  const fresh = active().filter((view) => !state.seen.has(view.alarm.id));
  ring(unacknowledged(active()), unacknowledged(fresh) > 0);
  for (const view of state.alarms) state.seen.add(view.alarm.id);
  // What was up before the page was opened is on the screen; only news is spoken.
  if (state.announced && fresh.length) byId("announce").textContent = fresh.map((view) => `${t("Alarm.")} ${whatText(view.alarm, now(), state.assets.get(view.alarm.asset))}`).join(" ");
  state.announced = true;
}

/** How many of the assets this detector watches itself, where there are others. */
function assetsText(assets) {
  const here = assets.filter((asset) => asset.worker === null).length;
  return here < assets.length ? t("assets, {n} of them watched here", { n: here }) : t("assets");
}

const PILL = { reading: "reading the alarms", lost: "broker does not answer" };

function connection() {
  const pill = byId("live");
  const silent = now() - state.heard;
  const lost = state.heard ? t("connection lost, last heard {age}", { age: age(silent) }) : t("connecting");
  const good = state.live && state.worker.ready && !PILL[state.worker.records];
  setText(pill, state.live ? t(PILL[state.worker.records] ?? (state.worker.ready ? "live" : "detector not ready")) : lost);
  pill.className = `pill ${good ? "on" : "off"}`;
  document.body.classList.toggle("lost", !state.live);
  document.body.classList.toggle("unknown", !state.live || state.worker.records !== "live");
  const asset = page.asset();
  byId("detail").classList.toggle("old", !state.live || (asset !== undefined && isStale(asset, now())));
  if (!state.worker) return;
  const { instance, recipe, bundle, version, ready } = state.worker;
  setText(byId("worker"), [site(), instance, recipe, t("bundle {bundle}", { bundle }), version].filter(Boolean).join(" · "));
  if (!state.live) notice(t("Connection to the detector lost. What you see is old; this page connects again by itself."));
  else notice(state.worker.notice ?? (ready ? null : t("The detector is not ready yet: it reads its windows back.")));
}

/** What the bus carries beside the bundle's sensors and assets: counted, and named to whoever asks. */
function ignored() {
  const { readings, sensors, assets } = state.worker?.unknown ?? { readings: 0, sensors: [], assets: [] };
  byId("ignored").hidden = readings === 0;
  setText(byId("ignored-count"), t("{n} readings ignored: sensors or assets that the bundle does not know", { n: readings.toLocaleString("en") }));
  const parts = [sensors.length && t("sensors {names}", { names: sensors.join(", ") }), assets.length && t("assets {names}", { names: assets.join(", ") })];
  setText(byId("ignored-names"), t("The newest: {names}", { names: parts.filter(Boolean).join("; ") }));
}

function tick() {
  connection();
  whoHere();
  ignored();
  figures();
  if (state.live) ring(unacknowledged(active()), false);
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
      state.open = data.open;
      state.ledger = data.ledger;
      state.setAside = new Map(data.set_aside.map((entry) => [entry.asset, entry]));
    }
    state.full ||= data.full;
    for (const asset of data.assets) state.assets.set(asset.asset, asset);
    if (data.names) {
      const names = new Set(data.names);
      for (const name of state.assets.keys()) if (!names.has(name)) state.assets.delete(name);
    }
    const mayWriteChanged = state.mayWrite !== data.may_write;
    state.mayWrite = data.may_write;
    signedIn(data.user ?? null);
    choose();
    if (data.alarms) {
      announce();
      drawLedger(data.ledger, page);
    }
    if (data.alarms || mayWriteChanged || data.full) drawAlarms(state.alarms, page);
    if (!WALL && (data.full || data.alarms || data.assets.some((asset) => asset.asset === state.selected))) detail.refresh();
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
  byId("theme").setAttribute("aria-label", t("Colours: {which}", { which: t(text) }));
}

function redrawAll() {
  for (const id of ["open-list", "past-list", "aside-list", "asset-list", "event-list"]) byId(id).replaceChildren();
  theme(false);
  showSound();
  if (!state.full) return;
  drawAlarms(state.alarms, page);
  if (state.ledger) drawLedger(state.ledger, page);
  if (!WALL) detail.refresh();
  tick();
}

chooseLanguage(redrawAll);
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
  outcome(t("Signed out: the next answer asks for a name."), 4000);
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash names the asset that is shown
  byId("open-alarms").focus();
});
byId("zone").textContent = t("All times: {zone}, the zone of this browser", { zone: Intl.DateTimeFormat().resolvedOptions().timeZone });
document.body.classList.toggle("wall", WALL);
prepareSearch(() => drawAssets(state.assets, page));
prepareAlarms();
offerSound();
setInterval(tick, 1000);
followTogether({
  event: take,
  up: () => {
    // Descriptions are an ornament: the page is whole without them.
    loadPlant().then(redrawAll, () => {});
  },
  down: (error) => {
    state.live = false;
    state.problem = error?.status === 401 ? error.message : error?.status ? t("the detector refuses: {why}", { why: error.message }) : null;
    drawAlarms(state.alarms, page);
    tick();
  },
  refused: askToken,
});
