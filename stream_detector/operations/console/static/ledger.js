// What was caught, missed and saved.

import { byId, h, keyed } from "./dom.js";
import { t } from "./language.js";
import { money, percent, time } from "./words.js";

const lead = (minutes) => (minutes === null ? "–" : `${minutes.toFixed(minutes < 10 ? 1 : 0)} min`);
const between = (tally) =>
  tally.saving_low === null || tally.saving_high === null ? null : t("90 %: {low} to {high}", { low: percent(tally.saving_low), high: percent(tally.saving_high) });

function row(name, tally) {
  return h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, tally.caught), h("td", {}, tally.missed), h("td", {}, tally.false_alarms), h("td", {}, tally.median_lead_minutes === null && tally.median_delay_minutes !== null ? t("found after {span}", { span: lead(tally.median_delay_minutes) }) : lead(tally.median_lead_minutes)), h("td", {}, money(tally.cost)), h("td", {}, money(tally.saved)), h("td", { title: between(tally) ?? "" }, tally.saving === null ? "–" : percent(tally.saving)));
}

function comparison(compared, page) {
  const { difference, champion, challenger } = compared;
  const title = `Challenger ${compared.bundle}, of whose alarms nobody is told, against the champion since ${time(compared.since, page.now())}`;
  const counts = (name, tally) => `${name}: ${tally.caught} caught, ${tally.missed} missed, ${tally.false_alarms} false, saved ${money(tally.saved)}`;
  const range = difference.low === null || difference.high === null ? "too few events or days for an interval" : `90 %: ${percent(difference.low)} to ${percent(difference.high)}`;
  const verdict = difference.saving === null ? "No event yet: nothing can be said about which is better." : `The challenger would have saved ${percent(Math.abs(difference.saving))} ${difference.saving < 0 ? "less" : "more"} (${money(Math.abs(difference.saved))}), ${range}.`;
  return [h("h3", {}, title), h("p", {}, verdict), h("p", { class: "quiet" }, `${counts("Champion", champion)}. ${counts("Challenger", challenger)}.`)];
}

export function drawLedger(ledger, page) {
  const heads = ["Asset", "Caught", "Missed", "False", "Lead", "Cost", "Saved", "Saving"].map((head) => t(head));
  const saving = between(ledger.total);
  const foot = [ledger.since === null ? null : t("Counted since {when}", { when: time(ledger.since, page.now()) }), saving && `${t("saving against never alarming")}, ${saving}`].filter(Boolean).join("; ");
  byId("ledger-table").replaceChildren(
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, ledger.by_asset.map((tally) => row(tally.asset, tally))),
    h("tfoot", {}, row(t("All"), ledger.total), foot && h("tr", {}, h("td", { colspan: heads.length, class: "quiet" }, foot))),
  );
  byId("challenger").hidden = ledger.challenger === null;
  byId("challenger").replaceChildren(...(ledger.challenger === null ? [] : comparison(ledger.challenger, page)));
  keyed(byId("event-list"), ledger.events, (event) => `${event.asset} ${event.time} ${event.event}`, (event) =>
    h(
      "li",
      {},
      h("span", {}, time(event.time, page.now())),
      h("span", {}, `${event.asset}: ${event.event}`),
      event.caught ? h("span", { class: "caught" }, event.lead_seconds < 0 || event.state ? t(event.lead_seconds > 0 ? "✓ found {span} ahead" : "✓ found {span} after it began", { span: lead(Math.abs(event.lead_seconds) / 60) }) : t("✓ caught, {span} ahead", { span: lead(event.lead_seconds / 60) })) : h("span", { class: "missed" }, t("✕ missed")),
    ),
  );
  byId("event-none").hidden = ledger.events.length > 0;
}
