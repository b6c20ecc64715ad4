// One dialog for everything that is asked: who you are, a token, a reason and an end.

import { byId, h } from "./dom.js";
import { postJson, Refused, token } from "./connection.js";
import { t } from "./language.js";

const NAME = "stream-detector-name";
const NAME_UNTIL = "stream-detector-name-until";
const SHIFT_MS = 8 * 3600 * 1000;

/** Asks for fields [{name, label, value, options, type}]; resolves to their values, or null when cancelled. */
export function ask(title, ok, fields, check = async () => {}) {
  const dialog = byId("dialog");
  const inputs = fields.map((field) =>
    field.options
      ? h("select", { name: field.name }, field.options.map(([value, text]) => h("option", { value }, text)))
      : h("input", { name: field.name, type: field.type ?? "text", value: field.value ?? "", required: true, maxlength: 200, autocomplete: "off" }),
  );
  byId("dialog-title").textContent = title;
  byId("dialog-ok").textContent = ok;
  byId("dialog-error").hidden = true;
  byId("dialog-fields").replaceChildren(...fields.map((field, index) => h("label", {}, field.label, inputs[index])));
  return new Promise((resolve) => {
    const end = (value) => {
      dialog.close();
      resolve(value);
    };
    byId("dialog-cancel").onclick = () => end(null);
    dialog.oncancel = () => resolve(null);
    byId("dialog-form").onsubmit = async (event) => {
      event.preventDefault();
      const values = Object.fromEntries(inputs.map((input) => [input.name, input.value.trim()]));
      if (Object.values(values).some((value) => value === "")) return;
      byId("dialog-ok").disabled = true;
      try {
        await check(values);
        end(values);
      } catch (error) {
        byId("dialog-error").textContent = error.message;
        byId("dialog-error").hidden = false;
      } finally {
        byId("dialog-ok").disabled = false;
      }
    };
    dialog.showModal();
    inputs[0]?.focus();
  });
}

export async function askToken(refused) {
  const title = t(refused?.message === "the token is wrong" ? "The token is wrong" : "A token is needed");
  const values = await ask(title, t("Go on"), [{ name: "token", label: t("Token of this detector"), type: "password" }]);
  if (values) token.set(values.token);
}

/** Who answers here; empty = to be asked. A seat is shared, so a name holds for one shift. */
export const name = () => proxied ?? (Number(localStorage.getItem(NAME_UNTIL)) > Date.now() ? (localStorage.getItem(NAME) ?? "") : "");

let proxied = null;

/** A proxy has signed somebody in: the detector writes every answer under that name. */
export function signedIn(who) {
  proxied = who;
}

export const isProxied = () => proxied !== null;

export function signOut() {
  localStorage.removeItem(NAME);
  localStorage.removeItem(NAME_UNTIL);
}

function signIn(who) {
  if (proxied !== null) return;
  if (who !== name()) localStorage.setItem(NAME_UNTIL, Date.now() + SHIFT_MS);
  localStorage.setItem(NAME, who);
}

const nameField = () => ({ name: "who", label: t("Your name"), value: name() });
const ENDS = [["30", "30 minutes"], ["120", "2 hours"], ["480", "8 hours"], ["1440", "1 day"]];

const ends = () => ENDS.map(([minutes, text]) => [minutes, t(text)]);

const TITLES = {
  acknowledge: "Acknowledge the alarm",
  acted: "Acted on the alarm",
  real: "It was real",
  "false-alarm": "It was a false alarm",
  unjudge: "Take the judgement back",
  shelve: "Shelve this asset",
  unshelve: "End the shelving",
  "out-of-service": "Take out of service",
  "in-service": "Put back into service",
};

/** Writes feedback, asking for what is missing; resolves to who gave it, or null when cancelled. */
export async function giveFeedback(action, asset, alarm = null) {
  const send = async (values) => {
    const who = values.who ?? name();
    signIn(who);
    const body = { action, asset, alarm, who, reason: values.reason ?? null };
    if (values.minutes) body.minutes = Number(values.minutes);
    try {
      await postJson("/console/api/feedback", body);
    } catch (error) {
      if (error instanceof Refused && error.status === 401) throw new Error(t("The token is wrong; load the page again."));
      throw error;
    }
  };
  const fields = [];
  if (action === "shelve") fields.push({ name: "minutes", label: t("For how long"), options: ends() });
  if (action === "shelve" || action === "out-of-service") fields.push({ name: "reason", label: t("Why") });
  if (fields.length === 0 && name()) {
    const who = name();
    await send({ who });
    return who;
  }
  const values = await ask(`${t(TITLES[action])}: ${asset}`, t("Write"), proxied === null ? [...fields, nameField()] : fields, send);
  return values && (values.who ?? name());
}
