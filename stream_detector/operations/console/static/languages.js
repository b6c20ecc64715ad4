// Which language the page speaks: what was chosen here, else the browser's.

import { byId } from "./dom.js";
import { KOREAN } from "./korean.js";
import { speak } from "./language.js";

const KEY = "stream-detector-language";
const LANGUAGES = [["en", {}, "KO"], ["ko", KOREAN, "EN"]];

/** Speaks it, and makes the button that changes it; `redraw` draws the page in another one. */
export function chooseLanguage(redraw) {
  const wanted = localStorage.getItem(KEY) ?? navigator.language.slice(0, 2);
  let index = Math.max(0, LANGUAGES.findIndex(([name]) => name === wanted));
  const show = () => {
    const [name, texts, other] = LANGUAGES[index];
    speak(name, texts);
    byId("language").textContent = other;
    byId("language").setAttribute("aria-label", LANGUAGES[1 - index][0] === "ko" ? "한국어" : "English");
    byId("language").lang = LANGUAGES[1 - index][0];
  };
  show();
  byId("language").addEventListener("click", () => {
    index = 1 - index;
    localStorage.setItem(KEY, LANGUAGES[index][0]);
    show();
    redraw();
  });
}
