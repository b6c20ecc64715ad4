// One asset: score against threshold, and its sensors against what the model expected.

import { byId, h } from "./dom.js";
import { lineChart } from "./charts.js";
import { getJson } from "./connection.js";
import { heldText } from "./assets.js";
import { t } from "./language.js";
import { described, unitOf } from "./plant.js";
import { number, percent, seconds, silentText, stateText, time } from "./words.js";

const RANGES = [[1, "1 h"], [6, "6 h"], [24, "24 h"]];

export class Detail {
  constructor(page) {
    this.page = page;
    this.hours = 6;
    this.alarm = null;
    this.busy = false;
    this.again = false;
    this.series = null;
    byId("ranges").append(
      ...RANGES.map(([hours, text]) => h("button", { type: "button", "data-hours": hours, "aria-pressed": String(hours === this.hours), onclick: () => this.range(hours) }, text)),
    );
    new ResizeObserver(() => this.draw()).observe(byId("score-chart"));
  }

  range(hours) {
    this.hours = hours;
    this.alarm = null;
    for (const button of byId("ranges").children) button.setAttribute("aria-pressed", String(Number(button.dataset.hours) === hours));
    this.refresh();
  }

  /** Shows an alarm: its own top sensors, around its time. */
  show(alarm) {
    this.alarm = alarm;
    this.refresh();
    byId("detail").scrollIntoView({ block: "start" });
    byId("score-chart").querySelector("svg")?.focus({ preventScroll: true });
  }

  /** An alarm of an asset that no worker tells of: its own words are all that is known. */
  drawUnknown() {
    const name = this.alarm?.asset ?? this.page.selected();
    byId("detail").hidden = !name;
    if (!name) return;
    byId("detail-title").textContent = name;
    byId("detail-state").textContent = t("Nothing is known of it here: no detector tells how it stands.");
    for (const id of ["score-chart", "traces", "asset-actions"]) byId(id).replaceChildren();
    delete byId("asset-actions").dataset.shown;
  }

  async refresh() {
    const asset = this.page.asset();
    if (!asset) {
      this.series = null;
      this.drawUnknown();
      return;
    }
    byId("detail").hidden = false;
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    const query = new URLSearchParams({ hours: this.hours });
    if (this.alarm) {
      const end = seconds(this.alarm.cleared_at ?? this.alarm.raised_at) + 3600 * Math.min(1, this.hours / 4);
      if (end < asset.time) query.set("until", end);
      for (const top of this.alarm.top_sensors) query.append("sensor", top.sensor);
    }
    try {
      this.series = await getJson(`/console/api/assets/${encodeURIComponent(asset.asset)}?${query}`);
      this.draw();
    } catch {
      // The stream says when the connection is lost; the next change asks again.
    } finally {
      this.busy = false;
    }
    if (this.again) {
      this.again = false;
      this.refresh();
    }
  }

  draw() {
    const { series } = this;
    const asset = this.page.asset();
    if (!series || !asset || series.asset !== asset.asset) return;
    const now = this.page.now();
    byId("detail-title").textContent = asset.asset;
    byId("detail-state").textContent = [described(asset.asset), `${stateText(asset)}${heldText(asset)}`, asset.state === "silent" ? silentText(asset, now) : t("bundle {bundle}", { bundle: asset.bundle }), this.alarm && t("alarm of {when}", { when: time(seconds(this.alarm.raised_at), now) })].filter(Boolean).join(", ");
    this.drawScore(series, asset, now);
    this.drawTraces(series, asset, now);
    this.drawActions(asset);
  }

  times(series) {
    const until = series.time.at(-1) ?? 0;
    return { time: series.time, from: Math.max(until - 3600 * this.hours, series.time[0] ?? 0), until, step: Math.max(series.step_seconds, 30), now: this.page.now() };
  }

  drawScore(series, asset, now) {
    // While nothing is judged the asset has no probability, but the hours before it have.
    const calibrated = asset.probability !== null || series.probability.some((value) => value !== null);
    const values = calibrated ? series.probability : series.ratio;
    const limit = calibrated ? asset.threshold : 1;
    const peak = Math.max(...values.filter((value) => value !== null), limit);
    const name = t(calibrated ? "probability" : "score, part of the limit");
    const newest = values.findLast((value) => value !== null);
    lineChart(byId("score-chart"), {
      ...this.times(series),
      lines: [{ name, values, kind: "value", area: true }],
      alarm: series.alarm,
      events: series.events.filter((at) => at >= (series.time[0] ?? Infinity)),
      limit,
      limitText: calibrated ? t("acting pays above {limit}", { limit: percent(limit) }) : t("limit"),
      low: 0,
      high: Math.min(calibrated ? 1.02 : Infinity, Math.max(1.15 * peak, 1.4 * limit)),
      unit: "percent",
      height: window.innerWidth < 640 ? 190 : 240,
      label: `${name} of ${asset.asset} until ${time(series.time.at(-1) ?? now, now)}: ${asset.ratio === null ? "nothing is judged now" : `now ${newest === undefined ? "missing" : percent(newest)}`}, limit ${percent(limit)}, ${series.alarm.filter(Boolean).length} of ${series.alarm.length} points under alarm. Arrow keys read the points.`,
    });
  }

  drawTraces(series, asset, now) {
    const place = byId("traces");
    if (place.children.length !== series.traces.length) {
      place.replaceChildren(...series.traces.map(() => h("figure", { class: "trace" }, h("figcaption", {}), h("div", {}))));
    }
    const shares = new Map((this.alarm?.top_sensors ?? asset.top_sensors).map((top) => [top.sensor, top.share]));
    series.traces.forEach((trace, index) => {
      const [caption, box] = place.children[index].children;
      const newest = trace.value.findLast((value) => value !== null);
      const expected = trace.expected.findLast((value) => value !== null);
      const share = shares.has(trace.sensor) ? t("{share} of the evidence", { share: percent(shares.get(trace.sensor)) }) : "";
      caption.replaceChildren(h("b", {}, trace.sensor), ` ${share} `, h("span", { class: "quiet" }, described(trace.sensor) && `${described(trace.sensor)}: `, newest === undefined ? t("silent") : `${number(newest)}${unitOf(trace.sensor)}${expected === undefined ? "" : t(", expected {value}", { value: `${number(expected)}${unitOf(trace.sensor)}` })}`));
      lineChart(box, {
        ...this.times(series),
        lines: [
          { name: "value", values: trace.value, kind: "value" },
          { name: "expected", values: trace.expected, kind: "expected" },
        ],
        alarm: series.alarm,
        height: 120,
        label: `${trace.sensor} of ${asset.asset}: ${newest === undefined ? "silent" : `now ${number(newest)}`}${expected === undefined ? "" : `, expected ${number(expected)}`}`,
      });
    });
    if (!series.traces.length) {
      const where = asset.worker === null ? t("No sensor's values are kept here.") : t("The detector that watches it keeps the values of its sensors{worker}.", { worker: heldText(asset) });
      byId("traces-title").replaceChildren(where);
      return;
    }
    byId("traces-title").replaceChildren(t("Top sensors "), h("span", { class: "key" }, t("value")), series.traces.some((trace) => trace.expected.some((value) => value !== null)) ? h("span", { class: "key dashed" }, t(this.page.expectsChanges(asset.bundle) ? "expected by the model after the value before" : "expected by the model")) : "");
  }

  drawActions(asset) {
    const place = byId("asset-actions");
    const aside = this.page.setAside(asset.asset)?.state;
    const wanted = this.page.mayWrite() ? [aside === "shelved" || aside === "planned" ? "unshelve" : "shelve", aside === "out-of-service" ? "in-service" : "out-of-service"] : [];
    if (place.dataset.shown === `${asset.asset} ${wanted}`) return;
    place.dataset.shown = `${asset.asset} ${wanted}`;
    const texts = { shelve: t("Shelve…"), unshelve: t("End shelving"), "out-of-service": t("Out of service…"), "in-service": t("Back into service") };
    place.replaceChildren(...wanted.map((action) => h("button", { type: "button", "data-action": action, onclick: () => this.page.feedback(action, asset.asset) }, texts[action])));
  }
}
