// Numbers, times and sentences as an operator reads them.

import { localeHere, t } from "./language.js";
import { currency, unitOf } from "./plant.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const clockSeconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const days = new Map();

function dayText(moment, withYear) {
  const key = `${localeHere()} ${withYear}`;
  if (!days.has(key)) days.set(key, new Intl.DateTimeFormat(localeHere(), { day: "numeric", month: "short", year: withYear ? "numeric" : undefined }));
  return days.get(key).format(moment);
}

export const seconds = (iso) => Date.parse(iso) / 1000;

/** 14:05, with the day where it is not the day of `now`. */
export function time(at, now, withSeconds = false) {
  const moment = new Date(at * 1000);
  const reference = new Date(now * 1000);
  const text = (withSeconds ? clockSeconds : clock).format(moment);
  if (moment.toDateString() === reference.toDateString()) return text;
  return `${dayText(moment, moment.getFullYear() !== reference.getFullYear())}, ${text}`;
}

export function age(duration) {
  if (duration < 1.5) return t("now");
  if (duration < 90) return t("{n} s ago", { n: Math.round(duration) });
  if (duration < 5400) return t("{n} min ago", { n: Math.round(duration / 60) });
  if (duration < 172800) return t("{n} h ago", { n: Math.round(duration / 3600) });
  return t("{n} days ago", { n: Math.round(duration / 86400) });
}

export const percent = (part) => (part === null ? "–" : `${(100 * part).toFixed(part < 0.0995 ? 1 : 0)}\u00a0%`);

export function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(2);
  return value.toLocaleString("en", { maximumSignificantDigits: size >= 1000 ? 6 : 4 });
}

export const money = (value) => (value === null ? "–" : `${value.toLocaleString("en", { maximumFractionDigits: 0 })}${currency() ? `\u00a0${currency()}` : ""}`);

export const STATES = {
  alarm: "▲ ALARM",
  degraded: "◆ sensors silent",
  "warming-up": "◌ warming up",
  silent: "○ silent",
  "not-running": "□ not running",
  provisional: "◔ provisional",
  normal: "● normal",
};

/** How far the scale of a machine is that training never saw. */
export const stepsText = (asset) => t("{n} of {m} steps", { n: number(asset.scale_steps), m: number(asset.scale_steps_wanted) });

/** Of a machine that is silent since before the bundle that decides now did. */
export const silentText = (asset, now) => t("no reading since {when}; the bundle that decides now has not judged it", { when: time(asset.time, now) });

export function stateText(asset) {
  if (asset.state === "provisional") return `${t(STATES.provisional)}, ${stepsText(asset)}`;
  if (asset.state === "degraded") return t("◆ {n} silent", { n: asset.degraded });
  return t(STATES[asset.state]);
}

export const inWords = (duration) => (duration < 90 ? t("{n} s", { n: Math.round(duration) }) : duration < 5400 ? t("{n} min", { n: Math.round(duration / 60) }) : t("{n} h", { n: Math.round(duration / 3600) }));

/** When an event is expected: an alarm that stays up moves its window on with each step of its asset. */
export function windowOf(alarm, asset) {
  const raised = seconds(alarm.raised_at);
  const newest = alarm.state === "raised" && asset?.state === "alarm" ? asset.time - asset.step_seconds : raised;
  const moved = Math.max(0, newest - raised);
  return { from: seconds(alarm.expected_from) + moved, until: seconds(alarm.expected_until) + moved, moved };
}

/** How long is left; empty where the asset's data is of another time than now, as in a replay. */
export function leftText(alarm, now, asset) {
  if (alarm.marks === "states" || (asset && isOfAnotherTime(asset))) return "";
  const { from, until } = windowOf(alarm, asset);
  if (now < from) return t("Expected in {span}.", { span: inWords(from - now) });
  if (now <= until) return t("May come now, for another {span}.", { span: inWords(until - now) });
  return t("The window closed {span} ago, and the alarm is still up.", { span: inWords(now - until) });
}

/** Data of a replay, or of a plant whose clock is wrong. */
export const isOfAnotherTime = (asset) => Math.abs(asset.received_at - asset.time) > 600 + 3 * asset.step_seconds;

/** "pm-1: event expected 14:06 to 14:10", the window of now where the asset is known. */
export function whatText(alarm, now, asset) {
  if (alarm.marks === "states") return t("{asset}: anomalous since {when}", { asset: alarm.asset, when: time(seconds(alarm.raised_at), now) });
  const expected = windowOf(alarm, asset);
  const from = time(expected.from, now);
  const until = time(expected.until, now);
  return t(alarm.state === "raised" ? "{asset}: event expected {from} to {until}" : "{asset}: event was expected {from} to {until}", { asset: alarm.asset, from, until });
}

export function whyText(alarm, asset) {
  const now = alarm.state === "raised" && asset?.state === "alarm" ? asset.probability : null;
  if (alarm.probability !== null && now !== null) return t("Probability {now} now, {raised} when raised; acting pays above {limit}.", { now: percent(now), raised: percent(alarm.probability), limit: percent(alarm.threshold) });
  if (alarm.probability !== null) return t("Probability {raised}; acting pays above {limit}.", { raised: percent(alarm.probability), limit: percent(alarm.threshold) });
  return t("Score {score}; the limit is {limit}.", { score: number(alarm.score), limit: number(alarm.threshold) });
}

export const worthText = ({ costs }) => t("Acting now costs {act}; an event that nobody acted on costs {event}.", { act: money(costs.tp), event: money(costs.fn) });

/** `fromBefore`: what is expected follows from the value before, and is wild itself where that was. */
export function reasonText(top, fromBefore) {
  if (top.value === null || top.value === undefined) return "";
  const value = `${number(top.value)}${unitOf(top.sensor)}`;
  if (top.expected === null || top.expected === undefined) return t("reads {value}", { value });
  return t(fromBefore ? "reads {value}, expected {expected} after the value before" : "reads {value}, expected {expected}", { value, expected: `${number(top.expected)}${unitOf(top.sensor)}` });
}
