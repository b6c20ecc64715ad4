// Numbers, times and sentences as an operator reads them.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const clockSeconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const dayYear = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });

export const seconds = (iso) => Date.parse(iso) / 1000;

/** 14:05, with the day where it is not the day of `now`. */
export function time(at, now, withSeconds = false) {
  const moment = new Date(at * 1000);
  const reference = new Date(now * 1000);
  const text = (withSeconds ? clockSeconds : clock).format(moment);
  if (moment.toDateString() === reference.toDateString()) return text;
  return `${(moment.getFullYear() === reference.getFullYear() ? day : dayYear).format(moment)}, ${text}`;
}

export function age(duration) {
  if (duration < 1.5) return "now";
  if (duration < 90) return `${Math.round(duration)} s ago`;
  if (duration < 5400) return `${Math.round(duration / 60)} min ago`;
  if (duration < 172800) return `${Math.round(duration / 3600)} h ago`;
  return `${Math.round(duration / 86400)} days ago`;
}

export const percent = (part) => (part === null ? "–" : `${(100 * part).toFixed(part < 0.0995 ? 1 : 0)}\u00a0%`);

export function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(2);
  return value.toLocaleString("en", { maximumSignificantDigits: size >= 1000 ? 6 : 4 });
}

export const money = (value) => (value === null ? "–" : value.toLocaleString("en", { maximumFractionDigits: 0 }));

export const STATES = {
  alarm: "▲ ALARM",
  degraded: "◆ sensors silent",
  "warming-up": "◌ warming up",
  normal: "● normal",
};

export function stateText(asset) {
  if (asset.state === "degraded") return `◆ ${asset.degraded} silent`;
  return STATES[asset.state];
}

const inWords = (duration) => (duration < 90 ? `${Math.round(duration)} s` : duration < 5400 ? `${Math.round(duration / 60)} min` : `${Math.round(duration / 3600)} h`);

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
  if (now < from) return `Expected in ${inWords(from - now)}.`;
  if (now <= until) return `May come now, for another ${inWords(until - now)}.`;
  return `The window closed ${inWords(now - until)} ago, and the alarm is still up.`;
}

/** Data of a replay, or of a plant whose clock is wrong. */
export const isOfAnotherTime = (asset) => Math.abs(asset.received_at - asset.time) > 600 + 3 * asset.step_seconds;

/** "pm-1: event expected 14:06 to 14:10", the window of now where the asset is known. */
export function whatText(alarm, now, asset) {
  if (alarm.marks === "states") return `${alarm.asset}: anomalous since ${time(seconds(alarm.raised_at), now)}`;
  const expected = windowOf(alarm, asset);
  const from = time(expected.from, now);
  const until = time(expected.until, now);
  return `${alarm.asset}: event ${alarm.state === "raised" ? "expected" : "was expected"} ${from} to ${until}`;
}

export function whyText(alarm, asset) {
  const now = alarm.state === "raised" && asset?.state === "alarm" ? asset.probability : null;
  if (alarm.probability !== null && now !== null) return `Probability ${percent(now)} now, ${percent(alarm.probability)} when raised; acting pays above ${percent(alarm.threshold)}.`;
  if (alarm.probability !== null) return `Probability ${percent(alarm.probability)}; acting pays above ${percent(alarm.threshold)}.`;
  return `Score ${number(alarm.score)}; the limit is ${number(alarm.threshold)}.`;
}

export const worthText = ({ costs }) => `Acting now costs ${money(costs.tp)}; an event that nobody acted on costs ${money(costs.fn)}.`;

export function reasonText(top) {
  if (top.value === null || top.value === undefined) return "";
  if (top.expected === null || top.expected === undefined) return `reads ${number(top.value)}`;
  return `reads ${number(top.value)}, expected ${number(top.expected)}`;
}
