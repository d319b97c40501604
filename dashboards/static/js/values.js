// How a value, its quality and its age are written into cells.
//
// A cell <td data-v data-t data-q> belongs to the row [data-tag]; the row says how its values are read: data-decimals, or
// data-states = {"0": "…"} for what has names instead of numbers.

import { words } from "./words.js";

const NO_VALUE = 0x2000;

/** "good", "uncertain", "bad" or "none". */
export function severity(q) {
  if (q & NO_VALUE) return "none";
  return q >= 0x8000 ? "bad" : q >= 0x4000 ? "uncertain" : "good";
}

/** Quality in words, with the reason. */
export function qualityText(q) {
  const low = q & 0xff;
  const reason = low >= 0x80 ? `Modbus ${low - 0x80}` : words.reasons[low];
  return words[severity(q)] + (reason ? ` · ${reason}` : "");
}

/** A value as its row has it read. */
export function valueText(v, row) {
  if (v === null || v === undefined) return "—";
  const states = row.dataset.states ? JSON.parse(row.dataset.states) : null;
  if (states) return states[String(Number(v))] ?? String(v);
  if (typeof v !== "number") return typeof v === "object" ? "[…]" : String(v);
  return row.dataset.decimals === undefined ? String(Number(v.toPrecision(6))) : v.toFixed(Number(row.dataset.decimals));
}

/** An age: 0.4 s, 12 s, 3 min, 2 h, 5 d. */
export function ageText(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 120) return `${Math.floor(s)} ${words.s}`;
  if (s < 7200) return `${Math.floor(s / 60)} ${words.min}`;
  if (s < 172_800) return `${Math.floor(s / 3600)} ${words.h}`;
  return `${Math.floor(s / 86_400)} ${words.d}`;
}

/** A new sample into every cell of its tag. An older one than is shown changes nothing. */
export function show(row, t, v, q) {
  const cell = row.querySelector(".value");
  if (!cell || Number(cell.dataset.t || -1) > t) return;
  cell.dataset.t = String(t);
  cell.dataset.v = v === null ? "" : typeof v === "object" ? "" : String(v);
  cell.dataset.q = String(q);
  cell.dataset.severity = severity(q);
  cell.textContent = valueText(v, row);
  const quality = row.querySelector(".quality");
  if (quality) {
    quality.dataset.severity = severity(q);
    quality.textContent = qualityText(q);
  }
  if (row.dataset.lo !== undefined) needle(row, v);
}

/** The pointer of a row's indicator: the typical range fills its middle half. */
function needle(row, v) {
  const mark = row.querySelector(".needle");
  if (!mark) return;
  const [lo, hi] = [Number(row.dataset.lo), Number(row.dataset.hi)];
  const at = typeof v === "number" && hi > lo ? 25 + (50 * (v - lo)) / (hi - lo) : null;
  mark.setAttribute("x", String(at === null ? -9 : Math.min(98, Math.max(0, at - 1))));
  mark.classList.toggle("outside", at !== null && (at < 25 || at > 75));
}
