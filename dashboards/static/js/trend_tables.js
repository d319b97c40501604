// What stands around the chart: the chosen series, their features, and what is missing or came late.

import { lineStyle } from "./trend_chart.js";
import { duration, number, time, unitText } from "./numbers.js";

const FEATURES = { min: "min", max: "max", mean: "mean", std: "std", trend: "trend_per_h" };

function cell(text, data = {}) {
  const made = document.createElement("td");
  made.textContent = text;
  Object.assign(made.dataset, data);
  return made;
}

function swatch(n) {
  const made = document.createElement("span");
  const style = lineStyle(n);
  made.className = "swatch";
  made.style.borderTop = `3px ${style.type} ${style.color}`;
  made.setAttribute("aria-hidden", "true");
  return made;
}

/** One button for each chosen series; pressing it takes the series away. */
export function fillChips(box, chosen, drawn, words, remove) {
  box.replaceChildren(
    ...chosen.map((one, n) => {
      const found = drawn?.series.find((other) => `${other.device}:${other.tag}` === one);
      const button = document.createElement("button");
      const english = document.documentElement.lang.startsWith("en");
      const name = found ? (english ? found.en : found.zh) || found.tag : one.slice(one.lastIndexOf(":") + 1);
      button.type = "button";
      button.className = "chip";
      button.dataset.series = one;
      button.append(swatch(n), `${one.slice(0, one.lastIndexOf(":"))} · ${name} ✕`);
      button.setAttribute("aria-label", `${words.remove} ${one}`);
      button.addEventListener("click", () => remove(one));
      return button;
    }),
  );
}

/** One row a series. data-value is the number as the server gave it, the text is rounded. */
export function fillFeatures(body, series, { titleOf, words }) {
  body.replaceChildren(
    ...series.map((one, n) => {
      const row = document.createElement("tr");
      row.dataset.series = `${one.device}:${one.tag}`;
      const head = document.createElement("th");
      head.scope = "row";
      head.append(swatch(n), titleOf(one));
      if (words.simulated_machines.includes(one.device)) head.append(mark(words.simulated));
      row.append(head, cell(unitText(one.unit)));
      for (const [name, key] of Object.entries(FEATURES)) {
        const value = one.features?.[key] ?? null;
        const made = cell(number(value), { feature: name, value: value === null ? "" : String(value) });
        const at = one.features?.[`${name}_t`];
        if (at !== null && at !== undefined) made.title = time(at, { millis: true });
        row.append(made);
      }
      row.append(
        cell(number(one.features?.count ?? null), { feature: "count" }),
        cell(one.raw ? words.raw : words.reduced, { raw: String(one.raw) }),
        cell(qualities(one, words)),
      );
      return row;
    }),
  );
}

/** How many of the rows are good, where the server says it. */
function qualities(one, words) {
  const found = one.quality;
  if (!found) return "—";
  const parts = ["good", "uncertain", "bad"].filter((name) => found[name]).map((name) => `${words[name]} ${found[name]}`);
  return parts.join(", ") || "—";
}

function mark(text) {
  const made = document.createElement("span");
  made.className = "mark-simulated";
  made.textContent = text;
  return made;
}

/** Gaps and late stretches of all series, by time; the same gap of several tags of a machine is told once. */
export function fillGaps(body, series, { titleOf, words }) {
  const found = new Map();
  for (const one of series) {
    const add = (kind, list) => {
      for (const item of list) {
        const key = `${kind} ${one.device} ${item.from} ${item.to} ${item.reason ?? ""}`;
        const entry = found.get(key) ?? { kind, item, device: one.device, titles: [] };
        entry.titles.push(titleOf(one));
        found.set(key, entry);
      }
    };
    add("gap", one.gaps);
    add("late", one.late);
  }
  const rows = [...found.values()].sort((a, b) => a.item.from - b.item.from);
  body.replaceChildren(
    ...rows.map(({ kind, item, device, titles }) => {
      const row = document.createElement("tr");
      row.dataset.kind = kind;
      row.dataset.from = String(item.from);
      row.dataset.to = String(item.to);
      row.dataset.machine = device;
      const why =
        kind === "late" ? `${words.arrived} ${time(item.arrival_ms)}` : words.reasons[item.reason] ?? item.reason;
      const [, tag, from, to, lasting, reason] = words.columns;
      row.append(
        cell(kind === "late" ? words.late : words.gap),
        cell(titles.length > 1 ? `${device} · ${titles.length} ${words.tags}` : titles[0], { label: tag }),
        cell(time(item.from, { millis: true }), { label: from }),
        cell(time(item.to, { millis: true }), { label: to }),
        cell(duration(item.to - item.from), { label: lasting }),
        cell(why ?? "—", { label: reason }),
      );
      return row;
    }),
  );
}
