// What the plant's own list says of sensors and assets, and the currency of its costs.

import { getJson } from "./connection.js";

let plant = { site: "", currency: "", tags: {} };

export async function loadPlant() {
  plant = await getJson("/console/api/plant");
}

export const site = () => plant.site;
export const currency = () => plant.currency;

const tag = (name) => (Object.hasOwn(plant.tags, name) ? plant.tags[name] : { description: "", unit: "", area: "" });

/** "press draw" for x7; empty where the list does not say. */
export const described = (name) => tag(name).description;
export const unitOf = (name) => (tag(name).unit ? `\u00a0${tag(name).unit}` : "");

export const areaGiven = (name) => tag(name).area;

/** The part of the plant that an asset belongs to: by the list, else what stands before the first separator. */
export function areaOf(name) {
  const given = tag(name).area;
  if (given) return given;
  const end = name.search(/[/.:|]/);
  return end > 0 ? name.slice(0, end) : "";
}
