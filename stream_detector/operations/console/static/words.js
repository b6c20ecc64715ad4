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

/** "pm-1: event expected 14:06 to 14:10" */
export function whatText(alarm, now) {
  if (alarm.marks === "states") return `${alarm.asset}: anomalous since ${time(seconds(alarm.raised_at), now)}`;
  const from = time(seconds(alarm.expected_from), now);
  const until = time(seconds(alarm.expected_until), now);
  return `${alarm.asset}: event ${alarm.state === "raised" ? "expected" : "was expected"} ${from} to ${until}`;
}

export function whyText(alarm) {
  if (alarm.probability !== null) return `Probability ${percent(alarm.probability)}; acting pays above ${percent(alarm.threshold)}.`;
  return `Score ${number(alarm.score)}; the limit is ${number(alarm.threshold)}.`;
}

export const worthText = ({ costs }) => `Acting now costs ${money(costs.tp)}; an event that nobody acted on costs ${money(costs.fn)}.`;

export function reasonText(top) {
  if (top.value === null || top.value === undefined) return "";
  if (top.expected === null || top.expected === undefined) return `reads ${number(top.value)}`;
  return `reads ${number(top.value)}, expected ${number(top.expected)}`;
}
