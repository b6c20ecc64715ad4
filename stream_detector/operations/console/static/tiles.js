// All assets as a map of tiles, by area: their places never change, so that a person knows where to look.

import { breakable, byId, h, setText } from "./dom.js";
import { byName, heldText, isStale } from "./assets.js";
import { t } from "./language.js";
import { areaOf, described } from "./plant.js";
import { age, stateText } from "./words.js";

const SIGNS = { alarm: "▲", degraded: "◆", "warming-up": "◌", silent: "○", "not-running": "□", provisional: "◔", normal: "", aside: "‖", stale: "?" };

const drawn = { names: "", tiles: new Map(), groups: new Map() };

function kindOf(asset, page, now) {
  if (page.setAside(asset.asset)) return "aside";
  return asset.state;
}

export function drawTiles(assets, page, now) {
  const place = byId("tiles");
  place.hidden = assets.length === 0;
  if (!assets.length) {
    if (drawn.names) clear(place);
    return;
  }
  const names = assets.map((asset) => asset.asset).join("\n");
  if (names !== drawn.names) build(place, assets, page, names);
  const counts = new Map();
  for (const asset of assets) {
    const tile = drawn.tiles.get(asset.asset);
    const kind = kindOf(asset, page, now);
    const stale = !page.live() || isStale(asset, now);
    const look = `tile ${kind}${stale ? " stale" : ""}${page.selected() === asset.asset ? " chosen" : ""}`;
    if (tile.className !== look) {
      tile.className = look;
      if (tile.tagName === "BUTTON") tile.setAttribute("aria-pressed", String(page.selected() === asset.asset));
      const sign = SIGNS[stale && kind !== "alarm" ? "stale" : kind];
      setText(tile.lastElementChild, stale && kind === "alarm" ? `${sign}?` : sign);
    }
    if (stale || !["normal", "provisional", "not-running"].includes(kind)) {
      const area = areaOf(asset.asset);
      const known = counts.get(area) ?? { alarm: 0, stale: 0 };
      if (kind === "alarm") known.alarm += 1;
      if (stale) known.stale += 1;
      counts.set(area, known);
    }
  }
  for (const [area, group] of drawn.groups) {
    const { alarm, stale } = counts.get(area) ?? { alarm: 0, stale: 0 };
    const parts = [String(group.size), alarm && t("{n} in alarm", { n: alarm }), stale && t("{n} without new data", { n: stale })];
    setText(group.heading, `${area || t("assets")}: ${parts.filter(Boolean).join(", ")}`);
  }
}

function clear(place) {
  Object.assign(drawn, { names: "", tiles: new Map(), groups: new Map() });
  place.replaceChildren();
}

function build(place, assets, page, names) {
  const before = drawn.tiles;
  clear(place);
  drawn.names = names;
  const areas = new Map();
  for (const asset of assets) {
    const area = areaOf(asset.asset);
    if (!areas.has(area)) areas.set(area, []);
    areas.get(area).push(asset.asset);
  }
  for (const area of [...areas.keys()].sort(byName)) {
    const members = areas.get(area).sort(byName);
    const list = h("div", { class: "tile-list" }, members.map((name) => {
      const tile = before.get(name) ?? newTile(name, page);
      drawn.tiles.set(name, tile);
      return tile;
    }));
    const heading = h("h3", {});
    drawn.groups.set(area, { heading, size: members.length });
    place.append(h("section", { class: "tile-group" }, heading, list));
  }
  if (page.wall()) fit(place);
}

/** The heading says the area already. */
function shortName(name) {
  const area = areaOf(name);
  return area && name.startsWith(area) ? name.slice(area.length).replace(/^[/.:|]/, "") || name : name;
}

function newTile(name, page) {
  const words = () => {
    const asset = page.assets().get(name);
    return asset ? [name, described(name), stateText(asset), age(page.now() - asset.received_at) + heldText(asset)].filter(Boolean).join(" · ") : name;
  };
  const parts = [h("span", { class: "name" }, breakable(shortName(name))), h("span", { class: "sign" })];
  if (page.wall()) return h("span", { class: "tile", "data-asset": name }, parts);
  const tile = h("button", { type: "button", class: "tile", "data-asset": name, onclick: () => page.select(name), onpointerenter: () => { tile.title = words(); } }, parts);
  return tile;
}

/** On a wall everything fits on one screen: the largest letters with which it does. */
export function fit(place) {
  for (let size = 64; size >= 7; size -= 1) {
    place.style.setProperty("--tile", `${size}px`);
    if (place.scrollHeight <= place.clientHeight && place.scrollWidth <= place.clientWidth) return;
  }
}

new ResizeObserver(() => {
  if (document.body.classList.contains("wall")) fit(byId("tiles"));
}).observe(byId("tiles"));
