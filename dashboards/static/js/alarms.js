// Lists that keep themselves current: the list is fetched again every few seconds, and at once when an alarm changes. While
// somebody is working in it (a form is open, or has the focus) it stands still.

import { localTimes } from "./numbers.js";

const EVERY_MS = 5000;
const list = document.getElementById("alarm-list");
let busy = false;

function inUse() {
  const open = document.querySelector("main details[open] form, main dialog[open]");
  const focused = document.activeElement?.matches?.("input, select, textarea") && document.querySelector("main").contains(document.activeElement);
  return Boolean(open || focused);
}

async function refresh() {
  if (busy || document.hidden || inUse()) return;
  busy = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected && new URL(answer.url).pathname === "/login") location.reload();
    if (!answer.ok || inUse()) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("alarm-list");
    if (!fresh) return;
    const focused = document.activeElement?.getAttribute?.("aria-label");
    localTimes(fresh);
    list.replaceChildren(...fresh.childNodes);
    list.dataset.count = fresh.dataset.count ?? "";
    if (focused) list.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
  } catch {
    // The banner of the page says when the connection is gone; the list is tried again.
  } finally {
    busy = false;
  }
}


if (list) {
  setInterval(refresh, EVERY_MS);
  document.body.addEventListener("alarms-changed", refresh);
  document.addEventListener("visibilitychange", refresh);
}
