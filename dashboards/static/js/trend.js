// The trend page: draws what the address asks for. Moving or widening the picture changes the address and asks again, so
// what is drawn is always the server's own answer for the range shown.

import * as echarts from "./echarts.js";
import { heightOf, option, unitsOf } from "./trend_chart.js";
import { fillFeatures, fillGaps, fillChips } from "./trend_tables.js";
import { duration, field, number, time } from "./numbers.js";
import * as address from "./trend_url.js";

const words = JSON.parse(document.getElementById("trend-words").textContent);
const box = document.getElementById("chart");
const form = document.getElementById("trend-form");
const status = document.getElementById("trend-status");
const POINTS = 1000; // as the page itself asks, so that one range has one query
const skew = Number(box.dataset.serverMs) - Date.now();
const english = document.documentElement.lang.startsWith("en");

let state = address.read(location.search);
let chart = null;
let asked = null;
let drawn = null;
let timer = 0;
let first = JSON.parse(document.getElementById("trend-answer").textContent); // came with the page

const now = () => Date.now() + skew;
const titleOf = (one) => `${one.device} · ${(english ? one.en : one.zh) || one.tag}`;

function go(next, { push = true } = {}) {
  state = next;
  history[push ? "pushState" : "replaceState"](null, "", address.write(state));
  show();
}

async function show() {
  clearTimeout(timer);
  let [from, to] = address.range(state, now()).map(Math.round);
  const given = first;
  first = null;
  if (given) [from, to] = [box.dataset.from, box.dataset.to].map(Number);
  fillForm(from, to);
  fillChips(document.getElementById("chips"), state.series, drawn, words, remove);
  document.getElementById("trend-result").hidden = !state.series.length;
  document.getElementById("trend-hint").hidden = state.series.length > 0;
  if (!state.series.length) return;
  asked?.abort();
  const mine = new AbortController();
  asked = mine;
  say(words.loading);
  try {
    const answer = given ?? (await fetchTrend(from, to, mine.signal));
    const alarms = await fetchAlarms(from, to, mine.signal);
    if (asked !== mine) return;
    draw(answer, alarms, from, to);
    say("");
  } catch (error) {
    if (error.name === "AbortError") return;
    if (asked === mine) say(error.told ?? words.failed, true);
  }
  if (asked === mine && state.last) {
    const every = Math.min(60_000, Math.max(5000, (to - from) / 400));
    timer = setTimeout(() => (document.hidden ? waitVisible() : show()), every);
  }
}

function waitVisible() {
  document.addEventListener("visibilitychange", () => state.last && show(), { once: true });
}

async function get(path, query, signal) {
  const answer = await fetch(`/api/v1/${path}?${query}`, { signal, headers: { Accept: "application/json" } });
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const error = new Error(`${answer.status}`);
  error.told = (english ? body.error?.en : body.error?.zh) ?? words.failed;
  throw error;
}

function fetchTrend(from, to, signal) {
  const query = new URLSearchParams(state.series.map((one) => ["series", one]));
  for (const [name, value] of [["from", from], ["to", to], ["points", POINTS]]) query.set(name, value);
  return get("trend", query, signal);
}

/** Alarms are an addition: where they cannot be had the curves are still right. */
async function fetchAlarms(from, to, signal) {
  const devices = [...new Set(state.series.map((one) => one.slice(0, one.lastIndexOf(":"))))];
  const lists = await Promise.all(
    devices.map((device) =>
      get("alarms", new URLSearchParams({ state: "all", device, from, to, limit: 200 }), signal).catch((error) => {
        if (error.name === "AbortError") throw error;
        return { alarms: [] };
      }),
    ),
  );
  return lists.flatMap((one) => one.alarms);
}

function draw(answer, alarms, from, to) {
  drawn = answer;
  const narrow = box.clientWidth < 560;
  box.style.height = `${heightOf(unitsOf(answer.series).length, narrow)}px`;
  if (!chart) {
    chart = echarts.init(box);
    chart.on("datazoom", moved);
    chart.on("click", (event) => event.data?.alarm && location.assign(`/alarms/${event.data.alarm.id}`));
    new ResizeObserver(() => chart.resize()).observe(box);
  }
  chart.resize();
  chart.setOption(option({ series: answer.series, alarms, from, to, narrow, words: chartWords(to - from) }), true);
  box.dataset.query = answer.query;
  box.dataset.from = String(from);
  box.dataset.to = String(to);
  fillChips(document.getElementById("chips"), state.series, drawn, words, remove);
  fillFeatures(document.querySelector("#features tbody"), answer.series, { titleOf, words });
  fillGaps(document.querySelector("#gaps tbody"), answer.series, { titleOf, words });
  document.getElementById("no-gaps").hidden = answer.series.some((one) => one.gaps.length || one.late.length);
  document.getElementById("query-hash").textContent = answer.query;
  document.getElementById("trend-simulated").hidden = !answer.series.some((one) => words.simulated_machines.includes(one.device));
  exportLinks(from, to);
}

function chartWords(span) {
  return {
    number,
    time: (ms) => time(ms, { millis: span < 600_000 }),
    late: words.late,
    title: titleOf,
    gap: (gap) => words.reasons[gap.reason] ?? gap.reason ?? words.gap,
    alarm: (alarm) => `${(english && alarm.en) || alarm.zh} ${number(alarm.trigger.v)}`,
  };
}

/** After a wheel or a drag has come to rest: the range that is now in view becomes the address. */
function moved() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const zoom = chart.getOption().dataZoom[0];
    const [from, to] = [Math.round(zoom.startValue), Math.round(zoom.endValue)];
    if (to - from >= address.SHORTEST_MS) go({ series: state.series, from, to });
  }, 350);
}

function shift(move, scale) {
  const [from, to] = address.range(state, now());
  const half = ((to - from) / 2) * scale;
  const middle = (from + to) / 2 + move * (to - from);
  if (half * 2 < address.SHORTEST_MS) return;
  go({ series: state.series, from: Math.round(middle - half), to: Math.round(middle + half) });
}

function exportLinks(from, to) {
  for (const link of document.querySelectorAll("a[data-export]")) {
    const query = new URLSearchParams(state.series.map((one) => ["series", one]));
    for (const [name, value] of [["from", from], ["to", to], ["format", link.dataset.export]]) query.set(name, value);
    link.href = `/api/v1/export?${query}`;
  }
}

function fillForm(from, to) {
  form.elements.from.value = field(from);
  form.elements.to.value = field(to);
  for (const link of document.querySelectorAll("a[data-last]")) {
    link.href = address.write({ series: state.series, last: link.dataset.last });
    if (link.dataset.last === state.last) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  document.getElementById("span").textContent = duration(to - from);
}

function remove(one) {
  go({ ...state, series: state.series.filter((other) => other !== one) });
}

function say(text, wrong = false) {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

async function fillTags() {
  const chosen = form.elements.machine.value;
  const list = form.elements.tag;
  if (!chosen) return;
  const answer = await fetch(`/trend/tags/${encodeURIComponent(chosen)}`);
  if (!answer.ok || form.elements.machine.value !== chosen) return;
  const { tags } = await answer.json();
  list.replaceChildren(
    ...tags.map((tag) => {
      const unit = tag.unit ? ` (${tag.unit})` : "";
      return new Option(`${tag.name}${unit} — ${tag.id}`, tag.id);
    }),
  );
}

form.elements.machine.addEventListener("change", fillTags);
document.getElementById("add").addEventListener("click", () => {
  const device = form.elements.machine.value;
  const wanted = [...form.elements.tag.selectedOptions].map((one) => `${device}:${one.value}`);
  const series = [...new Set([...state.series, ...wanted])];
  if (series.length > address.MOST_SERIES) say(words.too_many, true);
  else if (wanted.length) go({ ...state, series });
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const [from, to] = [form.elements.from, form.elements.to].map((one) => new Date(one.value).getTime());
  if (Number.isNaN(from) || Number.isNaN(to) || to - from < address.SHORTEST_MS) say(words.bad_range, true);
  else go({ series: state.series, from, to });
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-last]");
  const button = event.target.closest("button[data-shift]");
  if (link && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    go({ series: state.series, last: link.dataset.last });
  } else if (button) {
    const [move, scale] = button.dataset.shift.split(" ").map(Number);
    shift(move, scale);
  }
});
addEventListener("popstate", () => {
  state = address.read(location.search);
  show();
});
fillTags();
show();
