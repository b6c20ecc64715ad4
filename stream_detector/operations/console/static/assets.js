// The assets at a glance. What is old, or comes over a lost connection, is marked and grey.

import { breakable, byId, h, setText } from "./dom.js";
import { spark } from "./charts.js";
import { age, isOfAnotherTime, number, percent, stateText, time } from "./words.js";

const ORDER = { alarm: 0, degraded: 1, "warming-up": 2, normal: 3 };
const LAST = 4;

/** Old: no step for three steps' time, and at least 15 seconds. */
export const isStale = (asset, now) => now - asset.received_at > Math.max(15, 3 * asset.step_seconds);

function ageText(asset, now) {
  const received = now - asset.received_at;
  const old = isStale(asset, now) ? "NO NEW DATA, last " : "";
  // Data of another day is a replay, or a plant whose clock is wrong: say of when it is.
  const of = isOfAnotherTime(asset) ? `, data of ${time(asset.time, now)}` : "";
  return `${old}${age(received)}${of}`;
}

function asideText(aside, asset, now) {
  const what = aside.state === "shelved" ? `shelved${aside.until === null ? "" : ` until ${time(aside.until, now)}`}` : "out of service";
  return `‖ ${what}${asset.state === "alarm" ? ", alarm up" : ""}`;
}

function valueText(asset) {
  if (asset.threshold === null && asset.score !== null) return [number(asset.score), "no threshold pays: it raises no alarm"];
  if (asset.ratio === null) return ["–", asset.state === "alarm" ? "the alarm is up; no score since the start yet" : "no score yet"];
  if (asset.probability !== null) return [percent(asset.probability), `act above ${percent(asset.threshold)}`];
  return [percent(asset.ratio), `of the limit (score ${number(asset.score)})`];
}

export function drawAssets(assets, page) {
  const list = byId("asset-list");
  const now = page.now();
  const known = new Map([...list.children].map((item) => [item.dataset.asset, item]));
  const rank = (asset) => (page.setAside(asset.asset) ? LAST : ORDER[asset.state]);
  const sorted = [...assets.values()].sort((a, b) => rank(a) - rank(b) || a.asset.localeCompare(b.asset, undefined, { numeric: true }));
  const wanted = sorted.map((asset) => {
    const item = known.get(asset.asset) ?? newItem(asset, page);
    update(item, asset, page, now);
    return item;
  });
  if (wanted.length !== list.children.length || wanted.some((item, index) => list.children[index] !== item)) {
    const focused = document.activeElement;
    list.replaceChildren(...wanted);
    if (list.contains(focused)) focused.focus();
  }
  byId("asset-none").hidden = wanted.length > 0;
}

function newItem(asset, page) {
  const part = (name) => h("span", { class: name });
  const button = h("button", { type: "button", class: "asset", onclick: () => page.select(asset.asset) }, part("name"), part("state"), part("ratio"), spark([]), part("age"));
  const item = h("li", { "data-asset": asset.asset }, button);
  button.querySelector(".name").replaceChildren(...breakable(asset.asset));
  return item;
}

function update(item, asset, page, now) {
  const button = item.firstElementChild;
  const stale = !page.live() || isStale(asset, now);
  const aside = page.setAside(asset.asset);
  button.className = `asset ${aside ? "aside" : asset.state}${stale ? " stale" : ""}`;
  button.setAttribute("aria-pressed", String(page.selected() === asset.asset));
  const put = (name, text) => setText(button.querySelector(`.${name}`), text);
  put("state", aside ? asideText(aside, asset, now) : stateText(asset));
  put("age", page.live() ? ageText(asset, now) : `as of ${time(page.heard(), now, true)}, connection lost`);
  if (item.drawn === asset) return;
  const [value, text] = valueText(asset);
  button.querySelector(".ratio").replaceChildren(h("b", {}, value), ` ${text}`);
  button.querySelector("svg").replaceWith(spark(asset.recent));
  item.drawn = asset;
}
