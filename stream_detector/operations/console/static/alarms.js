// Alarms as cards: what, why, and what a person can answer.

import { breakable, byId, h, keyed, setText } from "./dom.js";
import { isStale } from "./assets.js";
import { getJson } from "./connection.js";
import { holder, inOrderShown } from "./hold.js";
import { t } from "./language.js";
import { described } from "./plant.js";
import { inWords, leftText, percent, reasonText, seconds, time, whatText, whyText, worthText } from "./words.js";

const PAST_SHOWN = 40;
const SENSORS_SHOWN = 3;
const PRIORITIES = { high: "▲▲ high priority", medium: "▲ medium priority", low: "△ low priority" };

let held = () => false;
const MOST_MEMORIES = 50;
const memories = new Map();
const state = { told: 0, sent: 0 };

export function prepareAlarms() {
  held = holder(byId("open-list"));
}

function reasons(alarm, page) {
  return h(
    "ul",
    { class: "reasons", "aria-label": t("Sensors that speak for it") },
    (alarm.state === "raised" ? alarm.top_sensors.slice(0, SENSORS_SHOWN) : alarm.top_sensors).map((top) => {
      const bar = h("span", {});
      bar.style.width = `${100 * top.share}%`;
      return h("li", {}, h("span", { class: "sensor" }, breakable(top.sensor), described(top.sensor) && h("span", { class: "described" }, ` ${described(top.sensor)}`)), h("span", { class: "bar", title: percent(top.share) }, bar), h("span", {}, `${[percent(top.share), reasonText(top, page.expectsChanges(alarm.bundle))].filter(Boolean).join(", ")}`));
    }),
  );
}

function tags(view, now) {
  const found = [];
  if (view.alarm.state === "raised") found.push([`priority ${view.priority}`, t(PRIORITIES[view.priority])]);
  else found.push(view.outcome === "caught" ? ["caught", t("event followed")] : ["", t("no event followed")]);
  if (view.acted_at) found.push(["", t("acted on at {when}", { when: time(seconds(view.acted_at), now) })]);
  if (view.judgement === "real") found.push(["caught", t("judged real")]);
  if (view.judgement === "false-alarm") found.push(["false-alarm", t("judged false")]);
  return found.map(([kind, text]) => h("span", { class: `tag ${kind}` }, text));
}

function card(view, page) {
  const { alarm } = view;
  const open = alarm.state === "raised";
  const answer = (action, text) =>
    h("button", { type: "button", "data-action": action, onclick: () => page.feedback(action, alarm.asset, alarm.id) }, text);
  const when = `${time(seconds(alarm.raised_at), page.now())}${alarm.cleared_at ? t(" to {when}", { when: time(seconds(alarm.cleared_at), page.now()) }) : ""}`;
  const buttons = page.mayWrite()
    ? [
        open && !view.acknowledged_by && answer("acknowledge", t("Acknowledge")),
        !view.acted_at && answer("acted", t("Acted")),
        open && answer("shelve", t("Shelve…")),
        view.judgement && answer("unjudge", t("Take the judgement back")),
        view.judgement !== "real" && answer("real", t("Real")),
        view.judgement !== "false-alarm" && answer("false-alarm", t("False alarm")),
      ]
    : [];
  const details = [
    reasons(alarm, page),
    h("div", { class: "actions" }, buttons, h("button", { type: "button", "data-action": "traces", onclick: () => page.showAlarm(alarm) }, t("Show traces"))),
  ];
  return h(
    "li",
    { class: `alarm-card ${open ? "open" : ""} ${view.acknowledged_by ? "acknowledged" : ""}` },
    h("p", { class: "what" }, open ? "" : `${alarm.asset}, ${when}`),
    open && h("p", { class: "left" }),
    open && view.action && h("p", { class: "action" }, view.action),
    h("p", { class: "line why" }, whyText(alarm)),
    open && h("p", { class: "line before" }),
    open && h("p", { class: "line" }, worthText(alarm)),
    h("p", { class: "line" }, tags(view, page.now()), open ? ` ${t("since {when}", { when })}` : "", view.acknowledged_by ? ` ${t("acknowledged by {who}", { who: view.acknowledged_by })}` : ""),
    open ? details : h("details", {}, h("summary", {}, t("Reasons")), details),
  );
}

/** Heading and empty text: what is not known is never called nothing. */
export function drawKnowledge(page) {
  const { complete, why } = page.knowledge();
  const list = byId("open-list");
  byId("open-none").hidden = list.children.length > 0;
  setText(byId("open-none"), why);
  byId("open-none").className = complete ? "quiet" : "unknown-text";
  drawClocks(page);
  drawHidden(page);
  setText(byId("open-title"), page.live() ? t("Open alarms") : t("Open alarms when last heard"));
  drawSetAside(page);
}

/** A wall has no scrolling: what does not fit is counted. */
function drawHidden(page) {
  if (!page.wall()) return;
  const list = byId("open-list");
  const end = list.getBoundingClientRect().bottom + 1;
  const [, ...others] = list.children;
  const parts = others.filter((card) => card.getBoundingClientRect().bottom > end);
  for (const card of others) card.classList.toggle("cut", parts.includes(card)); // half a card would be read as a whole one
  const cut = parts.length;
  const hidden = cut + Math.max(0, state.told - state.sent);
  setText(byId("open-more"), hidden ? t("and {n} more that do not fit here", { n: hidden }) : "");
}

/** What goes on while an alarm is up: its window, the time left, its probability. Old data moves nothing. */
function drawClocks(page) {
  for (const card of byId("open-list").children) {
    const { alarm } = card.item;
    const known = page.assetOf(alarm);
    const asset = known && page.live() && !isStale(known, page.now()) ? known : undefined;
    const put = (part, text) => setText(card.querySelector(part), text);
    put(".what", whatText(alarm, page.now(), asset));
    put(".left", known && !asset ? t("No newer data than this.") : leftText(alarm, page.now(), asset));
    put(".why", whyText(alarm, asset));
    put(".before", beforeText(askBefore(alarm, page)));
  }
}

/** Asked once an alarm, and of the first alarms only: a flood of them needs no memories. */
function askBefore(alarm, page) {
  const known = memories.get(alarm.id);
  if (known || memories.size >= MOST_MEMORIES || !page.live()) return known?.found;
  memories.set(alarm.id, {});
  getJson(`/console/api/precedents?alarm=${encodeURIComponent(alarm.id)}`).then(
    (found) => memories.set(alarm.id, { found }),
    () => memories.delete(alarm.id),
  );
}

/** "3 of the last 4 like this were followed by an event, 2 to 4 min later; 1 was judged false." */
function beforeText(found) {
  if (!found?.length) return "";
  const leads = found.map((one) => one.lead_seconds).filter((lead) => lead !== null).sort((a, b) => a - b);
  const wrong = found.filter((one) => one.judgement === "false-alarm").length;
  const [first, last] = [leads[0], leads.at(-1)].map((lead) => (lead === undefined ? "" : inWords(Math.abs(lead))));
  const what = leads.length ? t("{n} of the last {m} like this were followed by an event, {span} later", { n: leads.length, m: found.length, span: first === last ? first : t("{from} to {until}", { from: first, until: last }) }) : t("None of the last {m} like this was followed by an event", { m: found.length });
  return `${what}${wrong ? t("; {n} judged false", { n: wrong }) : ""}.`;
}

function drawSetAside(page) {
  const found = page.allSetAside();
  byId("aside").hidden = found.length === 0;
  const content = found.map((entry) => ({ ...entry, mayWrite: page.mayWrite(), up: page.upOf(entry.asset) }));
  keyed(byId("aside-list"), content, (entry) => entry.asset, (entry) => asideItem(entry, page));
}

function asideItem(entry, page) {
  const planned = entry.state === "planned";
  const shelved = entry.state === "shelved" || planned;
  const action = shelved ? "unshelve" : "in-service";
  const end = shelved && entry.until !== null ? t(" until {when}", { when: time(entry.until, page.now()) }) : "";
  return h(
    "li",
    { "data-aside": entry.asset },
    h("p", {}, h("b", {}, entry.asset), `: ${planned ? t("planned downtime") : shelved ? t("shelved") : t("out of service")}${end}${planned ? "" : t(", by {who}", { who: entry.who })}`),
    h("p", { class: "quiet" }, `${entry.why}${entry.up ? ` · ${t("an alarm is up since {when}", { when: time(seconds(entry.up), page.now()) })}` : ""}`),
    page.mayWrite() && h("div", { class: "actions" }, h("button", { type: "button", "data-action": action, onclick: () => page.feedback(action, entry.asset) }, planned ? t("Tell its alarms all the same") : shelved ? t("End shelving") : t("Back into service"))),
  );
}

export function drawAlarms(views, page) {
  const open = views.filter((view) => view.alarm.state === "raised" && !page.setAside(view.alarm.asset));
  // What nobody has answered comes first; the order within is the detector's, newest first.
  open.sort((a, b) => Boolean(a.acknowledged_by) - Boolean(b.acknowledged_by));
  const past = views.filter((view) => view.alarm.state !== "raised").slice(0, PAST_SHOWN);
  // Whether writing is allowed decides which buttons there are, so it is part of what is compared.
  const content = (view) => ({ ...view, mayWrite: page.mayWrite() });
  if (held()) {
    const shown = inOrderShown(open.map((view) => view.alarm.id), [...byId("open-list").children].map((element) => element.dataset.key));
    open.sort((a, b) => shown.indexOf(a.alarm.id) - shown.indexOf(b.alarm.id));
  }
  keyed(byId("open-list"), open.map(content), (view) => view.alarm.id, (view) => card(view, page));
  const { told } = page.open();
  state.told = told;
  state.sent = open.length;
  setText(byId("open-more"), told > open.length ? t("{n} of {m} are shown, those that nobody has answered first.", { n: open.length, m: told }) : "");
  keyed(byId("past-list"), past.map(content), (view) => view.alarm.id, (view) => card(view, page));
  for (const id of memories.keys()) if (!open.some((view) => view.alarm.id === id)) memories.delete(id);
  drawKnowledge(page);
  byId("past-none").hidden = past.length > 0;
}
