// One WebSocket a page: subscribes to every machine shown (elements with data-device), writes what comes into their rows
// (data-tag), ticks ages, and says across the top when data have stopped.
//
// A machine's data have stopped when the socket is closed, or nothing has come for max(three periods of its fastest tag
// (data-fast-ms), 5 s). Its element then has data-stale, and its values are grey.

import { heard, now } from "./clock.js";
import { ageText, show } from "./values.js";
import { words } from "./words.js";

const SILENT_MS = 5000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const AGAIN_MS = 2_000; // after a subscription that was refused
const UNAUTHORISED = 3000;

const banner = document.getElementById("stopped");
let socket = null;
let waitMs = FIRST_WAIT_MS;
let closedAt = null;
let subscription = 0;
let subscribed = "";
let machines = new Map(); // uid → {elements, rows: Map(tag → elements), lastAt, limitMs}

/** Begin. Call `scan` again after parts of the page have been replaced. */
export function start() {
  scan();
  connect();
  setInterval(tick, 250);
  document.body.addEventListener("htmx:afterSettle", scan);
}

/** Which machines and rows the page has now. */
export function scan() {
  const found = new Map();
  for (const element of document.querySelectorAll("[data-device]")) {
    const uid = element.dataset.device;
    const one = found.get(uid) ?? begin(machines.get(uid), Number(element.dataset.lastMs || NaN));
    one.elements.push(element);
    one.limitMs = Math.max(one.limitMs, 3 * Number(element.dataset.fastMs || 0));
    for (const row of element.querySelectorAll("[data-tag]")) {
      if (!one.rows.has(row.dataset.tag)) one.rows.set(row.dataset.tag, []);
      one.rows.get(row.dataset.tag).push(row);
    }
    found.set(uid, one);
  }
  machines = found;
  for (const one of machines.values())
    for (const [tag, sample] of one.last) for (const row of one.rows.get(tag) ?? []) show(row, ...sample);
  subscribe();
  tick();
}

/** A machine of the page. Before its first message counts how old its newest value was when the page was made. */
function begin(before, lastMs) {
  const age = Number.isNaN(lastMs) ? Infinity : Math.max(0, now() - lastMs);
  const lastAt = before?.lastAt ?? performance.now() - age;
  return { elements: [], rows: new Map(), lastAt, limitMs: SILENT_MS, last: before?.last ?? new Map() };
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}${document.body.dataset.live}`);
  socket.addEventListener("open", () => {
    closedAt = null;
    waitMs = FIRST_WAIT_MS;
    subscribed = "";
    subscribe();
    announce();
    tick();
  });
  socket.addEventListener("message", (event) => receive(JSON.parse(event.data)));
  socket.addEventListener("close", (event) => {
    closedAt ??= now();
    tick();
    if (event.code === UNAUTHORISED) return void (location.href = `/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    setTimeout(connect, waitMs * (0.7 + 0.6 * Math.random()));
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
  });
}

function subscribe() {
  const wanted = [...machines.keys()].sort();
  const key = wanted.join("\n");
  if (socket?.readyState !== WebSocket.OPEN || key === subscribed) return;
  if (subscribed) socket.send(JSON.stringify({ op: "unsubscribe", id: `p${subscription}` }));
  subscription += 1;
  subscribed = key;
  if (wanted.length) socket.send(JSON.stringify({ op: "subscribe", id: `p${subscription}`, devices: wanted }));
}

function receive(message) {
  heard(message.sent_ms);
  if (message.type === "alarm") announce();
  if (message.type === "error") {
    console.warn("live:", message.reason);
    if (message.id === `p${subscription}`) {
      subscribed = "";
      setTimeout(subscribe, AGAIN_MS);
    }
  }
  if (message.type !== "data" && message.type !== "snapshot") return;
  const one = machines.get(message.device);
  if (!one) return;
  if (message.type === "data") one.lastAt = performance.now();
  for (const [tag, t, v, q] of message.rows) {
    const before = one.last.get(tag);
    if (before && before[0] > t) continue;
    one.last.set(tag, [t, v, q]);
    for (const row of one.rows.get(tag) ?? []) show(row, t, v, q);
  }
}

/** Whoever shows alarms asks again. */
function announce() {
  document.body.dispatchEvent(new CustomEvent("alarms-changed"));
}

let lastTick = 0;

function tick() {
  const connected = socket?.readyState === WebSocket.OPEN;
  const silent = [];
  for (const [uid, one] of machines) {
    const stale = (closedAt !== null && !connected) || performance.now() - one.lastAt > one.limitMs;
    if (stale) silent.push(uid);
    for (const element of one.elements) {
      if (stale === "stale" in element.dataset) continue;
      if (stale) element.dataset.stale = "";
      else delete element.dataset.stale;
      for (const cell of element.querySelectorAll(".value")) {
        if (stale) cell.dataset.stale = "";
        else delete cell.dataset.stale;
      }
    }
  }
  tell(connected, silent);
  if (Math.abs(performance.now() - lastTick) < 950) return;
  lastTick = performance.now();
  const at = now();
  for (const cell of document.querySelectorAll("[data-age]")) {
    const t = Number(cell.dataset.age || cell.closest("[data-tag]")?.querySelector(".value")?.dataset.t || NaN);
    cell.textContent = Number.isNaN(t) ? "—" : ageText(at - t);
  }
  for (const [uid, one] of machines) {
    const newest = Math.max(...[...one.last.values()].map((sample) => sample[0]), -1);
    if (newest < 0) continue;
    for (const cell of document.querySelectorAll(`[data-newest="${CSS.escape(uid)}"]`)) cell.textContent = ageText(at - newest);
  }
}

function tell(connected, silent) {
  const closed = closedAt !== null && !connected;
  const wholePage = document.querySelector("main[data-device]");
  const why = closed ? words.closed : silent.length && (wholePage || silent.length === machines.size) ? words.silent : silent.length ? `${words.silent}: ${silent.join(", ")}` : "";
  const hide = !why;
  if (banner.hidden !== hide) banner.hidden = hide;
  if (hide) return;
  banner.firstElementChild.textContent = words.stopped;
  if (banner.lastElementChild.textContent !== why) banner.lastElementChild.textContent = why;
}
