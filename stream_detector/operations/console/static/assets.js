// The assets at a glance: cards while they are few, else cards of what is not normal and a map of all, a tile each.
// What is old, or comes over a lost connection, is marked and grey.

import { breakable, byId, h, setText } from "./dom.js";
import { spark } from "./charts.js";
import { holder, inOrderShown } from "./hold.js";
import { t } from "./language.js";
import { areaGiven, areaOf, described } from "./plant.js";
import { drawTiles } from "./tiles.js";
import { age, isOfAnotherTime, number, percent, silentText, stateText, stepsText, time } from "./words.js";

const ORDER = { alarm: 0, degraded: 1, silent: 1, "warming-up": 2, provisional: 3, normal: 4, "not-running": 5 };
const LAST = 6;
/** Nobody has to look at these, as long as they are fresh. */
const isCalm = (asset) => ["normal", "provisional", "not-running"].includes(asset.state);
const MOST_CARDS = 60;
const MOST_EXCEPTIONS = 24;
const MOST_ON_A_WALL = 800;
const SEARCH_FROM = 12;

/** Old: silent since before bundles changed, or no step for three steps' time, at least 15 seconds; another worker tells of its assets in turns. */
export const isStale = (asset, now) => asset.state === "silent" || now - asset.received_at > Math.max(15, 3 * asset.step_seconds, 3 * asset.again_within);

export const byName = new Intl.Collator(undefined, { numeric: true }).compare;

const FILTERS = {
  all: () => true,
  exceptions: (asset, page) => !isCalm(asset) || isStale(asset, page.now()),
  alarm: (asset) => asset.state === "alarm",
  idle: (asset) => asset.state === "not-running",
  silent: (asset, page) => isStale(asset, page.now()),
  aside: (asset, page) => Boolean(page.setAside(asset.asset)),
  here: (asset) => asset.worker === null,
};

const asked = { text: "", filter: "all", area: "" };
let held = () => false;

/** The search field and its like; they stay hidden where there is nothing to search. */
export function prepareSearch(redraw) {
  held = holder(byId("assets"));
  byId("asset-search").addEventListener("input", (event) => {
    asked.text = event.target.value.trim().toLowerCase();
    redraw();
  });
  for (const [id, name] of [["asset-filter", "filter"], ["asset-area", "area"]]) {
    byId(id).addEventListener("change", (event) => {
      asked[name] = event.target.value;
      redraw();
    });
  }
}

function isAsked(asset, page) {
  if (asked.area && areaOf(asset.asset) !== asked.area) return false;
  if (asked.text && !`${asset.asset} ${described(asset.asset)} ${areaOf(asset.asset)}`.toLowerCase().includes(asked.text)) return false;
  return FILTERS[asked.filter](asset, page);
}

function offerAreas(assets) {
  const areas = [...new Set(assets.map((asset) => areaOf(asset.asset)))].filter(Boolean).sort(byName);
  const select = byId("asset-area");
  select.hidden = areas.length < 2;
  const known = areas.join("\n");
  if (select.dataset.areas === known) return;
  select.dataset.areas = known;
  select.replaceChildren(h("option", { value: "" }, t("all areas")), ...areas.map((area) => h("option", { value: area }, area)));
  if (!areas.includes(asked.area)) asked.area = "";
  select.value = asked.area;
}

function ageText(asset, now) {
  const received = now - asset.received_at;
  const old = isStale(asset, now) ? t("NO NEW DATA, last ") : "";
  // Data of another day is a replay, or a plant whose clock is wrong: say of when it is.
  const of = isOfAnotherTime(asset) ? t(", data of {when}", { when: time(asset.time, now) }) : "";
  return `${old}${age(received)}${of}${heldText(asset)}`;
}

/** Who watches it; nothing where this detector does. */
export function heldText(asset) {
  if (asset.worker === null) return "";
  return asset.worker === "" ? t(", went to another detector") : t(", watched by {worker}", { worker: asset.worker });
}

function asideText(aside, asset, now) {
  const what = aside.state === "planned" ? t("planned downtime until {when}", { when: time(aside.until, now) }) : aside.state === "shelved" ? (aside.until === null ? t("shelved") : t("shelved until {when}", { when: time(aside.until, now) })) : t("out of service");
  return `‖ ${what}${asset.state === "alarm" ? t(", alarm up") : ""}`;
}

function valueText(asset, now) {
  if (asset.state === "silent") return ["–", silentText(asset, now)];
  if (asset.threshold === null && asset.score !== null) return [number(asset.score), t("no threshold pays: it raises no alarm")];
  if (asset.state === "not-running") return ["–", t("not judged while the machine does not run")];
  if (asset.state === "warming-up" && asset.scale_steps_wanted) return ["–", t("not judged yet: it learns what is usual, {steps}", { steps: stepsText(asset) })];
  if (asset.ratio === null) return ["–", asset.state === "alarm" ? t("the alarm is up; no score since the start yet") : t("no score yet")];
  if (asset.probability !== null) return [percent(asset.probability), t("act above {limit}", { limit: percent(asset.threshold) })];
  return [percent(asset.ratio), t("of the limit (score {score})", { score: number(asset.score) })];
}

export function drawAssets(assets, page) {
  const all = [...assets.values()];
  const now = page.now();
  offerAreas(all);
  byId("asset-tools").hidden = all.length < SEARCH_FROM;
  const found = all.length < SEARCH_FROM ? all : all.filter((asset) => isAsked(asset, page));
  const many = page.wall() || found.length > MOST_CARDS;
  const rank = (asset) => (page.setAside(asset.asset) ? LAST : isStale(asset, now) && isCalm(asset) ? ORDER.degraded : ORDER[asset.state]);
  const carded = page.wall() ? [] : many ? found.filter((asset) => rank(asset) < ORDER["warming-up"]) : found;
  carded.sort((a, b) => rank(a) - rank(b) || byName(a.asset, b.asset));
  const cards = many ? carded.slice(0, MOST_EXCEPTIONS) : carded;
  drawCards(cards, page, now);
  const mapped = page.wall() && found.length > MOST_ON_A_WALL ? found.filter((asset) => rank(asset) < ORDER.normal) : found;
  drawTiles(many ? mapped : [], page, now);
  const parts = [];
  if (mapped.length < found.length) parts.push(t("{n} of {m} assets are shown, those that are not normal", { n: number(mapped.length), m: number(found.length) }));
  if (found.length < all.length) parts.push(t("{n} of {m} assets", { n: number(found.length), m: number(all.length) }));
  if (many && cards.length) parts.push(t("{n} of {m} that are not normal stand first", { n: cards.length, m: carded.length }));
  setText(byId("asset-count"), parts.join("; "));
  byId("asset-none").hidden = found.length > 0;
  setText(byId("asset-none"), all.length ? t("No asset fits what is asked for.") : t("Waiting for the first readings."));
}

function drawCards(cards, page, now) {
  const list = byId("asset-list");
  const known = new Map([...list.children].map((item) => [item.dataset.asset, item]));
  const byAsset = new Map(cards.map((asset) => [asset.asset, asset]));
  const names = held() ? inOrderShown(byAsset.keys(), known.keys().toArray?.() ?? [...known.keys()]) : [...byAsset.keys()];
  const wanted = names.map((name) => {
    const item = known.get(name) ?? newItem(name, page);
    update(item, byAsset.get(name), page, now);
    return item;
  });
  if (wanted.length !== list.children.length || wanted.some((item, index) => list.children[index] !== item)) {
    const focused = document.activeElement;
    list.replaceChildren(...wanted);
    if (list.contains(focused)) focused.focus();
  }
}

function newItem(name, page) {
  const part = (kind) => h("span", { class: kind });
  const button = h("button", { type: "button", class: "asset", onclick: () => page.select(name) }, part("name"), part("state"), part("what"), part("ratio"), spark([]), part("age"));
  const item = h("li", { "data-asset": name }, button);
  button.querySelector(".name").replaceChildren(...breakable(name));
  return item;
}

function update(item, asset, page, now) {
  const button = item.firstElementChild;
  const stale = !page.live() || isStale(asset, now);
  const aside = page.setAside(asset.asset);
  button.className = `asset ${aside ? "aside" : asset.state}${stale ? " stale" : ""}`;
  button.setAttribute("aria-pressed", String(page.selected() === asset.asset));
  const put = (name, text) => setText(button.querySelector(`.${name}`), text);
  put("state", aside ? asideText(aside, asset, now) : stale && isCalm(asset) ? t("? not known") : stateText(asset));
  put("what", [described(asset.asset), areaGiven(asset.asset)].filter(Boolean).join(", "));
  put("age", page.live() ? ageText(asset, now) : t("as of {when}, connection lost", { when: time(page.heard(), now, true) }));
  if (item.drawn === asset) return;
  const [value, text] = valueText(asset, now);
  button.querySelector(".ratio").replaceChildren(h("b", {}, value), ` ${text}`);
  button.querySelector("svg").replaceWith(spark(asset.recent));
  item.drawn = asset;
}
