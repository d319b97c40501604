// Numbers and times as people read them. Times are those of the reader's own clock.

const TWO = (n) => String(n).padStart(2, "0");

/** Up to six figures, no needless noughts; a dash for nothing. */
export function number(v) {
  if (v === null || v === undefined || Number.isNaN(v)) return "—";
  if (typeof v === "boolean") return v ? "1" : "0";
  if (typeof v !== "number" || Number.isInteger(v)) return String(v);
  return String(Number(v.toPrecision(6)));
}

/** 2026-01-31 08:15:02, with milliseconds if asked. */
export function time(ms, { millis = false } = {}) {
  const at = new Date(ms);
  const day = `${at.getFullYear()}-${TWO(at.getMonth() + 1)}-${TWO(at.getDate())}`;
  const clock = `${TWO(at.getHours())}:${TWO(at.getMinutes())}:${TWO(at.getSeconds())}`;
  return millis ? `${day} ${clock}.${String(at.getMilliseconds()).padStart(3, "0")}` : `${day} ${clock}`;
}

const UNITS = { degC: "℃", "uS/cm": "µS/cm", kohm: "kΩ", deg: "°", enum: "", "0/1": "", count: "" };

/** A unit as people write it: m3/h → m³/h. */
export function unitText(unit) {
  const shown = UNITS[unit ?? ""] ?? unit ?? "";
  return shown.replace(/m2(?=$|[/)·])/g, "m²").replace(/m3(?=$|[/)·])/g, "m³");
}

/** How long: 250 ms, 12.5 s, 8 min, 3 h, 2 d. */
export function duration(ms) {
  const size = Math.abs(ms);
  if (size < 1000) return `${Math.round(ms)} ms`;
  if (size < 120_000) return `${Number((ms / 1000).toPrecision(3))} s`;
  if (size < 7_200_000) return `${Number((ms / 60_000).toPrecision(3))} min`;
  if (size < 172_800_000) return `${Number((ms / 3_600_000).toPrecision(3))} h`;
  return `${Number((ms / 86_400_000).toPrecision(3))} d`;
}

/** A time as a datetime-local field has it. */
export function field(ms) {
  return time(ms).replace(" ", "T");
}

/** Show every <time data-ms> of an element by the reader's clock. */
export function localTimes(root) {
  for (const element of root.querySelectorAll("time[data-ms]")) {
    element.textContent = time(Number(element.dataset.ms), { millis: "millis" in element.dataset });
  }
}
