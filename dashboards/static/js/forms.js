// Forms that call the API: <form data-api="POST /api/v1/users"> sends its fields as JSON with the session's CSRF token.
//
// Fields: data-type="number" or "json" says how a field is read; an empty one is left out unless data-empty is "null".
// Afterwards: data-then="reload" (default) or an address; data-show="#id" puts a field of the answer (data-field) there
// instead. data-confirm asks first. What the API says against it is shown in the form's .wrong element, or at the foot.

import { words } from "./words.js";

export function start() {
  document.addEventListener("submit", async (event) => {
    const form = event.target.closest("form[data-api]");
    if (!form) return;
    event.preventDefault();
    if (form.dataset.confirm && !confirm(form.dataset.confirm)) return;
    const buttons = [...form.querySelectorAll("button")];
    for (const one of buttons) one.disabled = true;
    try {
      done(form, await call(form.dataset.api, fields(form)));
    } catch (error) {
      tell(form, error.told ?? words.failed);
    } finally {
      for (const one of buttons) one.disabled = false;
    }
  });
}

/** Call the API; resolves to its JSON. The error has `told`, in the page's language. */
export async function call(api, body) {
  const [method, address] = api.split(" ");
  const headers = { "X-CSRF-Token": document.body.dataset.csrf ?? "", Accept: "application/json" };
  if (body !== undefined && method !== "DELETE") headers["Content-Type"] = "application/json";
  const answer = await fetch(address, { method, headers, body: method === "DELETE" ? undefined : JSON.stringify(body ?? {}) });
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  const error = new Error(`${answer.status}`);
  error.told = document.body.dataset.lang === "en" ? said.error?.en : said.error?.zh;
  throw error;
}

function fields(form) {
  const body = {};
  for (const one of form.elements) {
    if (!one.name || one.disabled || (one.type === "radio" && !one.checked)) continue;
    if (one.type === "checkbox") body[one.name] = one.checked;
    else if (one.value === "") {
      if (one.dataset.empty === "null") body[one.name] = null;
    } else if (one.dataset.type === "number") body[one.name] = Number(one.value);
    else if (one.dataset.type === "boolean") body[one.name] = one.value === "true";
    else if (one.dataset.type === "json") body[one.name] = readJson(one.value);
    else body[one.name] = one.value;
  }
  return body;
}

function readJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    const error = new Error("json");
    error.told = words.not_json;
    throw error;
  }
}

function done(form, answer) {
  if (form.dataset.show) {
    const target = document.querySelector(form.dataset.show);
    const value = answer[target.dataset.field];
    target.querySelector("output").textContent = typeof value === "object" ? JSON.stringify(value, null, 1) : String(value);
    target.hidden = false;
    target.scrollIntoView({ block: "nearest" });
    form.reset();
  } else if (form.dataset.then && form.dataset.then !== "reload") location.assign(form.dataset.then);
  else location.reload();
}

function tell(form, text) {
  const place = form.querySelector(".wrong") ?? document.getElementById("told");
  place.textContent = text;
  place.hidden = false;
}
