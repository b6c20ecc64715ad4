// Elements are built, never parsed: no text of the plant can become markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
export const s = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);
export const byId = (id) => document.getElementById(id);

/** Sets the text of an element unless it stands there already: an equal text drawn anew would be spoken again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A name that breaks after its separators only: no letter of it is torn off. */
export const breakable = (name) => name.split(/(?<=[^\p{L}\p{N}])(?=[\p{L}\p{N}])/u).flatMap((part, index) => (index ? [document.createElement("wbr"), part] : [part]));

/** Shows `items` in `list`, one element a key: an element is drawn anew only when its item changed, and keeps the focus. */
export function keyed(list, items, key, draw) {
  const old = new Map([...list.children].map((element) => [element.dataset.key, element]));
  const wanted = items.map((item) => {
    const name = String(key(item));
    const content = JSON.stringify(item);
    const known = old.get(name);
    if (known && known.content === content) return known;
    const action = known?.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    const open = known?.querySelector("details")?.open;
    const element = draw(item);
    element.dataset.key = name;
    element.content = content;
    element.item = item;
    if (open) element.querySelector("details").open = true;
    if (known) known.replaceWith(element);
    if (action) (element.querySelector(`[data-action="${action}"]`) ?? element.querySelector("[data-action]"))?.focus();
    return element;
  });
  const same = wanted.length === list.children.length && wanted.every((element, index) => list.children[index] === element);
  if (!same) {
    const focused = document.activeElement;
    list.replaceChildren(...wanted);
    if (list.contains(focused)) focused.focus();
  }
}
