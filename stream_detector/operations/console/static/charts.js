// Line charts drawn as SVG, as wide as their place. Missing values are gaps, never bridged.

import { h, s } from "./dom.js";
import { t } from "./language.js";
import { number, percent, time } from "./words.js";

function niceSteps(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw);
  const first = Math.ceil(low / step) * step;
  const steps = [];
  for (let value = first; value <= high + step * 1e-9; value += step) steps.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  return steps;
}

const TIME_STEPS = [10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

function timeSteps(from, until, count) {
  const step = TIME_STEPS.find((candidate) => (until - from) / candidate <= count) ?? 86400;
  const zone = new Date(from * 1000).getTimezoneOffset() * 60;
  const steps = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at <= until; at += step) steps.push(at);
  return steps;
}

/** Path through the points; a gap where a value is missing or more than `gap` seconds lie between two points. */
function pathOf(times, values, x, y, gap) {
  let path = "";
  let previous = null;
  values.forEach((value, index) => {
    if (value === null) {
      previous = null;
      return;
    }
    const move = previous === null || times[index] - previous > gap;
    // A point without neighbours is drawn as a dot: a line of no length with round ends.
    path += `${move ? "M" : "L"}${x(times[index]).toFixed(1)} ${y(value).toFixed(1)}${move ? "h0" : ""}`;
    previous = times[index];
  });
  return path;
}

function runs(flags) {
  const found = [];
  flags.forEach((flag, index) => {
    if (flag && !flags[index - 1]) found.push([index, index]);
    if (flag) found[found.length - 1][1] = index;
  });
  return found;
}

/**
 * @param chart {time, lines: [{name, values, kind}], limit, limitText, alarm, events, from, until, height, label, unit, step, low, high, now}
 */
export function lineChart(place, chart) {
  const width = Math.max(place.clientWidth, 240);
  const times = chart.time;
  // Letters grow with the root's font on a wall screen, and the room for them with it.
  const em = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
  const height = chart.height * em;
  const left = 46 * em;
  const right = 10 * em;
  const top = (chart.events?.length ? 16 : 8) * em;
  const bottom = 20 * em;
  const known = chart.lines.flatMap((line) => line.values.filter((value) => value !== null));
  let low = chart.low ?? Math.min(...known);
  let high = chart.high ?? Math.max(...known);
  if (!Number.isFinite(low) || !Number.isFinite(high)) [low, high] = [0, 1];
  if (high - low < 1e-9 * Math.max(1, Math.abs(high))) [low, high] = [low - 0.5, high + 0.5];
  if (chart.low === undefined) [low, high] = [low - 0.06 * (high - low), high + 0.06 * (high - low)];
  const x = (at) => left + ((at - chart.from) / (chart.until - chart.from || 1)) * (width - left - right);
  const y = (value) => top + (1 - (value - low) / (high - low)) * (height - top - bottom);
  const show = chart.unit === "percent" ? percent : number;
  const gap = 3 * chart.step;

  const root = s("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", tabindex: "0", "aria-label": chart.label });
  const marks = niceSteps(low, high, chart.height > 150 ? 5 : 4);
  const digits = marks.some((mark) => Math.abs(100 * mark - Math.round(100 * mark)) > 1e-6) ? 1 : 0;
  const onAxis = chart.unit === "percent" ? (value) => `${(100 * value).toFixed(digits)}\u00a0%` : number;
  for (const value of marks) {
    root.append(
      s("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      s("text", { x: left - 6 * em, y: y(value) + 4 * em, "text-anchor": "end" }, onAxis(value)),
    );
  }
  for (const at of timeSteps(chart.from, chart.until, Math.max(2, Math.floor(width / (90 * em))))) {
    root.append(s("text", { x: x(at), y: height - 4 * em, "text-anchor": "middle" }, time(at, at)));
  }
  for (const [first, last] of runs(chart.alarm ?? [])) {
    const start = Math.max(left, x(times[first] - chart.step));
    root.append(s("rect", { class: "band", x: start, y: top, width: Math.max(2, Math.min(width - right, x(times[last])) - start), height: height - top - bottom }));
  }
  for (const line of chart.lines) {
    const path = pathOf(times, line.values, x, y, gap);
    if (line.area && path && !path.slice(1).includes("M")) {
      const ends = [times[line.values.findIndex((value) => value !== null)], times[line.values.findLastIndex((value) => value !== null)]];
      root.append(s("path", { class: "area", d: `${path}L${x(ends[1])} ${y(low)}L${x(ends[0])} ${y(low)}Z` }));
    }
    root.append(s("path", { class: line.kind, d: path }));
  }
  if (chart.limit !== undefined) {
    root.append(
      s("line", { class: "limit", x1: left, x2: width - right, y1: y(chart.limit), y2: y(chart.limit) }),
      s("text", { class: "limit-text", x: left + 4 * em, y: y(chart.limit) - 5 * em }, chart.limitText),
    );
  }
  for (const at of chart.events ?? []) {
    root.append(
      s("line", { class: "event", x1: x(at), x2: x(at), y1: top - 2, y2: height - bottom }),
      s("text", { class: "event-text", x: x(at), y: top - 5 * em, "text-anchor": x(at) > width - 40 * em ? "end" : "middle" }, t("✕ event")),
    );
  }
  place.replaceChildren(root);
  addCursor(place, root, chart, x, y, show, { top, floor: height - bottom, width });
}

/** The values under the pointer, or under the arrow keys. */
function addCursor(place, root, chart, x, y, show, edges) {
  if (!chart.time.length) return;
  const line = s("line", { class: "cursor", y1: edges.top, y2: edges.floor, visibility: "hidden" });
  const tip = h("div", { class: "tip", role: "status" });
  root.append(line);
  let index = chart.time.length - 1;
  const move = (to) => {
    index = Math.max(0, Math.min(chart.time.length - 1, to));
    const at = x(chart.time[index]);
    line.setAttribute("x1", at);
    line.setAttribute("x2", at);
    line.setAttribute("visibility", "visible");
    const values = chart.lines.map((one) => `${one.name} ${one.values[index] === null ? t("missing") : show(one.values[index])}`);
    tip.textContent = `${time(chart.time[index], chart.now, chart.step < 60)}  ${values.join("  ")}`;
    if (!tip.isConnected) place.append(tip);
    const space = edges.width - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(space, at - tip.offsetWidth / 2))}px`;
  };
  const leave = () => {
    line.setAttribute("visibility", "hidden");
    tip.remove();
  };
  root.addEventListener("pointermove", (event) => {
    const box = root.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * edges.width;
    let best = 0;
    chart.time.forEach((_, candidate) => {
      if (Math.abs(x(chart.time[candidate]) - at) < Math.abs(x(chart.time[best]) - at)) best = candidate;
    });
    move(best);
  });
  root.addEventListener("pointerleave", leave);
  root.addEventListener("blur", leave);
  root.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    move(line.getAttribute("visibility") === "hidden" ? index : index + step);
  });
}

/** A small picture of the newest ratios, the limit at 1 dashed. */
export function spark(values) {
  const width = 120;
  const height = 30;
  const high = Math.max(1.25, ...values.filter((value) => value !== null));
  const x = (index) => width - (values.length - 1 - index) * (width / 47);
  const y = (value) => height - 1 - (value / high) * (height - 3);
  const path = pathOf(values.map((_, index) => index), values, x, y, Infinity);
  return s(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    s("line", { class: "spark-limit", x1: 0, x2: width, y1: y(1), y2: y(1) }),
    s("path", { class: "spark", d: path }),
  );
}
