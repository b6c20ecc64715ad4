// The page's language. English sentences are the keys, so that a text that nobody has translated is still read.

let texts = {};
let locale = "en";

/** "3 of {m} shown" with the values put in. */
export function t(text, values = {}) {
  return (texts[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export const localeHere = () => locale;

export function speak(name, dictionary) {
  locale = name;
  texts = dictionary;
  document.documentElement.lang = name;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
  for (const element of document.querySelectorAll("[data-t-placeholder]")) element.placeholder = t(element.dataset.tPlaceholder);
}
