// The trend page's address: which series, and either the last so long or from–to. The address is the page's only state.

const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
export const MOST_SERIES = 16;
export const SHORTEST_MS = 1000;
const DEFAULT_LAST = "1h";

/** "8h" in milliseconds; null for anything else. */
export function lasting(text) {
  const found = /^([1-9]\d{0,4})([smhd])$/.exec(text ?? "");
  return found ? Number(found[1]) * UNITS[found[2]] : null;
}

/** {series, last} or {series, from, to} of an address's query. */
export function read(search) {
  const query = new URLSearchParams(search);
  const series = [...new Set(query.getAll("s"))].filter((one) => one.includes(":")).slice(0, MOST_SERIES);
  const from = Number(query.get("from") || NaN);
  const to = Number(query.get("to") || NaN);
  if (Number.isSafeInteger(from) && Number.isSafeInteger(to) && from < to) return { series, from, to };
  const last = query.get("last");
  return { series, last: lasting(last) ? last : DEFAULT_LAST };
}

/** The query of an address that `read` gives back. */
export function write({ series, last, from, to }) {
  const query = new URLSearchParams(series.map((one) => ["s", one]));
  if (last) query.set("last", last);
  else {
    query.set("from", String(from));
    query.set("to", String(to));
  }
  return `?${query.toString().replaceAll("%3A", ":")}`;
}

/** [from, to] in ms; `now` is the cloud's clock. */
export function range(state, now) {
  return state.last ? [now - lasting(state.last), now] : [state.from, state.to];
}
