// What the trend chart shows, as an ECharts option: one grid for each unit over one time axis. A line breaks where data are
// missing; gaps and late stretches are shaded; alarms are the only saturated colour.

import { unitText } from "./numbers.js";

const LINES = ["#1f4e79", "#6b4c86", "#2f6b5e", "#7d5a1a", "#555f66", "#8a4b5c", "#33717f", "#5f6b2d"];
const DASHES = ["solid", "dashed", "dotted"];
const ALARM = { 1: "#c1121f", 2: "#d9480f", 3: "#b58900", 4: "#5b6b8c" };
const GAP = "rgba(90, 96, 102, 0.22)";
const LATE = "rgba(88, 110, 150, 0.16)";
const TOP = 34;
const BETWEEN = 46;

/** The style of the n-th line: as many as colours, then dashed, then dotted. */
export function lineStyle(n) {
  return { color: LINES[n % LINES.length], type: DASHES[Math.floor(n / LINES.length) % DASHES.length] };
}

/** Units in the order of their first series: one grid each. */
export function unitsOf(series) {
  return [...new Set(series.map((one) => one.unit || ""))];
}

/** Height of the chart in pixels for so many grids. */
export function heightOf(grids, narrow) {
  const each = narrow ? 190 : grids > 2 ? 200 : grids > 1 ? 240 : 400;
  return TOP + grids * (each + BETWEEN) + 8;
}

/** Points with a break in every gap and wherever a value is missing. */
export function broken(points, gaps) {
  const out = [];
  const ends = gaps.map((gap) => gap.from).sort((a, b) => a - b);
  let next = 0;
  for (const [t, v] of points) {
    let cut = false;
    while (next < ends.length && ends[next] < t) {
      cut = true;
      next += 1;
    }
    if (cut && out.length) out.push([Math.max(out.at(-1)[0], Math.min(ends[next - 1], t)), null]);
    out.push([t, typeof v === "boolean" ? Number(v) : v]);
  }
  return out;
}

function areas(stretches, color, label, span) {
  return stretches.map((one) => [
    {
      name: one.to - one.from > span * 0.12 ? label(one) : "",
      xAxis: one.from,
      itemStyle: { color },
      label: { position: "insideTop", color: "#444", fontSize: 11 },
    },
    { xAxis: one.to },
  ]);
}

function distinct(list) {
  const seen = new Map();
  for (const one of list) seen.set(`${one.from}-${one.to}-${one.reason ?? ""}`, one);
  return [...seen.values()];
}

function shaded(series, grid, words, span) {
  const gaps = distinct(series.flatMap((one) => one.gaps));
  const late = distinct(series.flatMap((one) => one.late));
  return {
    type: "line",
    name: "",
    xAxisIndex: grid,
    yAxisIndex: grid,
    data: [],
    silent: true,
    tooltip: { show: false },
    markArea: {
      silent: true,
      data: [
        ...areas(late, LATE, () => words.late, span),
        ...areas(gaps, GAP, (gap) => words.gap(gap), span),
      ],
    },
  };
}

function marks(alarms, series, units) {
  const points = [];
  for (const alarm of alarms) {
    const of = series.find((one) => one.device === alarm.device && one.tag === alarm.tag);
    if (!of || alarm.trigger.v === null) continue;
    points.push({ alarm, grid: units.indexOf(of.unit || "") });
  }
  return units.map((_, grid) => ({
    type: "scatter",
    name: "alarm",
    xAxisIndex: grid,
    yAxisIndex: grid,
    symbol: "triangle",
    symbolSize: 13,
    z: 10,
    data: points
      .filter((one) => one.grid === grid)
      .map(({ alarm }) => ({
        value: [alarm.trigger.t, alarm.trigger.v],
        alarm,
        itemStyle: { color: ALARM[alarm.priority] ?? ALARM[4], borderColor: "#fff", borderWidth: 1 },
      })),
  }));
}

/**
 * The whole option. `words`: {late, gap(gap), number(v), time(ms), title(series), alarm(alarm)}. The axis reaches one span
 * beyond either end, so that the picture can be moved and widened; whoever does that asks the server again.
 */
export function option({ series, alarms, from, to, narrow, words }) {
  const units = unitsOf(series);
  const span = to - from;
  const each = (heightOf(units.length, narrow) - TOP - 8) / units.length - BETWEEN;
  const lines = series.map((one, n) => {
    const style = lineStyle(n);
    const grid = units.indexOf(one.unit || "");
    return {
      type: "line",
      name: words.title(one),
      xAxisIndex: grid,
      yAxisIndex: grid,
      step: one.kind === "float" || one.kind === undefined ? false : "end",
      symbol: "circle",
      symbolSize: 4,
      showSymbol: one.raw && one.points.length < 150,
      connectNulls: false,
      animation: false,
      lineStyle: { ...style, width: 1.6 },
      itemStyle: { color: style.color },
      data: broken(one.points, one.gaps),
    };
  });
  return {
    animation: false,
    textStyle: { fontFamily: "inherit" },
    aria: { enabled: true },
    grid: units.map((_, n) => ({
      left: narrow ? 52 : 70,
      right: narrow ? 12 : 24,
      top: TOP + n * (each + BETWEEN),
      height: each,
    })),
    axisPointer: { link: [{ xAxisIndex: "all" }], lineStyle: { color: "#555" } },
    tooltip: {
      trigger: "axis",
      renderMode: "richText",
      confine: true,
      axisPointer: { type: "line" },
      backgroundColor: "rgba(255,255,255,0.96)",
      borderColor: "#999",
      textStyle: { color: "#222", fontSize: 12 },
      formatter: (items) => tip(items, words),
    },
    xAxis: units.map((_, n) => ({
      type: "time",
      gridIndex: n,
      min: from - span,
      max: to + span,
      axisLabel: { color: "#444", hideOverlap: true, show: n === units.length - 1 },
      axisLine: { onZero: false, lineStyle: { color: "#888" } },
      splitLine: { show: true, lineStyle: { color: "#d5d7d9" } },
    })),
    yAxis: units.map((unit, n) => ({
      type: "value",
      gridIndex: n,
      scale: true,
      name: unitText(unit),
      nameTextStyle: { color: "#333", align: "right", padding: [0, 6, 0, 0] },
      axisLabel: { color: "#444", formatter: words.number },
      axisLine: { show: true, onZero: false, lineStyle: { color: "#888" } },
      splitLine: { lineStyle: { color: "#d5d7d9" } },
    })),
    dataZoom: [
      { type: "inside", xAxisIndex: units.map((_, n) => n), startValue: from, endValue: to, filterMode: "none" },
    ],
    series: [
      ...units.map((unit, n) => shaded(series.filter((one) => (one.unit || "") === unit), n, words, span)),
      ...lines,
      ...marks(alarms, series, units),
    ],
  };
}

function tip(items, words) {
  const shown = items.filter((item) => item.seriesName && item.value?.[1] !== null && item.value?.[1] !== undefined);
  if (!shown.length) return "";
  const lines = [words.time(shown[0].axisValue ?? shown[0].value[0])];
  for (const item of shown) {
    if (item.data?.alarm) lines.push(`▲ ${words.alarm(item.data.alarm)}`);
    else lines.push(`${item.seriesName}  ${words.number(item.value[1])}`);
  }
  return lines.join("\n");
}
