// A sound for alarms that nobody has answered, for whoever asks for it. It is off until somebody switches it on in this
// browser, and heard at once then: browsers play nothing before a person has clicked.

import { byId } from "./dom.js";
import { t } from "./language.js";

const KEY = "stream-detector-sound";
const AGAIN_MS = 30_000;
const TONES = [[0, 880], [0.22, 660], [0.44, 880]];

const state = { context: null, rungAt: -AGAIN_MS };

const wanted = () => localStorage.getItem(KEY) === "on";

export function offerSound() {
  byId("sound").addEventListener("click", () => {
    localStorage.setItem(KEY, wanted() ? "off" : "on");
    if (wanted()) play();
    showSound();
  });
  showSound();
}

export function showSound() {
  const on = wanted();
  byId("sound").textContent = on ? "♪" : "♪̸";
  byId("sound").setAttribute("aria-pressed", String(on));
  byId("sound").setAttribute("aria-label", t("Sound for alarms"));
  byId("sound").title = on ? t("Sound for alarms is on") : t("Sound for alarms is off");
}

/** Rings when there is news, and every half minute while an alarm is unanswered. */
export function ring(unanswered, isNews) {
  if (!wanted() || !unanswered) return;
  if (!isNews && performance.now() - state.rungAt < AGAIN_MS) return;
  play();
}

function play() {
  state.rungAt = performance.now();
  state.context ??= new AudioContext();
  const { context } = state;
  void context.resume();
  for (const [after, pitch] of TONES) {
    const [tone, loudness, begin] = [context.createOscillator(), context.createGain(), context.currentTime + after];
    tone.frequency.value = pitch;
    loudness.gain.setValueAtTime(0.25, begin);
    loudness.gain.exponentialRampToValueAtTime(0.001, begin + 0.2);
    tone.connect(loudness).connect(context.destination);
    tone.start(begin);
    tone.stop(begin + 0.2);
  }
}
