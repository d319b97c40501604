"""The picture in an alarm's package: one strip a tag on a common time axis, the limit and the trigger marked. Plain SVG,
without scripts or outside parts, that any browser shows."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from cloud.alarms.fluctuation import Row, counted
from telemetry.dictionary import DeviceSpec, TagSpec
from telemetry.equipment import equipment_types
from telemetry.samples import Float64s

WIDTH, STRIP, LEFT, RIGHT, TOP, FOOT = 900, 120, 90, 20, 56, 44
MAX_STRIPS = 8
MAX_POINTS = 1500  # a strip; beyond it the extremes of each column of the picture stand for its rows
GAP_PERIODS, GAP_MS = 5, 2_000  # a line is not drawn across what is longer than both
_LOCAL = timezone(timedelta(hours=8))  # the plants are in China, which has one time zone
_GREY, _DARK, _RED, _RULE = "#6b7280", "#1f2937", "#b91c1c", "#d1d5db"
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2

Scale = Callable[[float], float]


def draw(
    device: DeviceSpec,
    rows: Mapping[str, Sequence[Row]],
    tags: Sequence[str],
    alarm: Mapping[str, Any],
    *,
    span: tuple[int, int],
    limits: Sequence[float],
) -> str:
    """The SVG, over the times `span`: strips of those of `tags` that have rows, the trigger's first, with `limits` in it."""
    shown = [tag for tag in tags if len(counted(rows.get(tag, ()))[0])][:MAX_STRIPS]
    low, high = span[0], max(span[1], span[0] + 1)
    bottom = TOP + STRIP * max(1, len(shown))
    height = bottom + FOOT

    def x_of(t: float) -> float:
        return LEFT + (t - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    at = alarm["trigger"]["t"]
    title = _text(f"{device.name or device.uid} · {alarm['zh']} · {_clock(at, full=True)}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="Noto Sans CJK SC, Microsoft YaHei, PingFang SC, sans-serif" font-size="12">',
        f'<title>{title}</title><rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="22" font-size="15" fill="{_DARK}">{title}</text>',
    ]
    if device.simulated:
        parts.append(f'<text x="12" y="42" font-weight="bold" fill="{_RED}">仿真数据 SIMULATED</text>')
    for number, tag in enumerate(shown):
        parts += _strip(device, tag, rows[tag], TOP + number * STRIP, x_of, limits if tag == alarm["tag"] else ())
    if not shown:
        parts.append(f'<text x="{LEFT}" y="{TOP + 60}" fill="{_GREY}">窗口内无数值 / no values in the window</text>')
    return "\n".join([*parts, *_trigger(x_of(at), bottom), *_axis(low, high, bottom, x_of), "</svg>"])


def _trigger(x: float, bottom: int) -> list[str]:
    anchor = "end" if x > WIDTH / 2 else "start"
    beside = x - 4 if anchor == "end" else x + 4
    return [
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="{_RED}" stroke-dasharray="4 3"/>',
        f'<text x="{beside:.1f}" y="{TOP - 4}" text-anchor="{anchor}" fill="{_RED}">触发 trigger</text>',
    ]


def _axis(low: float, high: float, bottom: int, x_of: Scale) -> list[str]:
    parts: list[str] = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        t = low + share * (high - low)
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        x = f"{x_of(t):.1f}"
        parts.append(f'<line x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 4}" stroke="{_GREY}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="{anchor}" fill="{_GREY}">{_clock(t)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    label = "设备时间，北京时间 / machine's time, UTC+8"
    parts.append(f'<text x="{middle:.0f}" y="{bottom + 36}" text-anchor="middle" fill="{_GREY}">{label}</text>')
    return parts


def _strip(
    device: DeviceSpec, tag: str, rows: Sequence[Row], top: int, x_of: Scale, limits: Sequence[float]
) -> list[str]:
    spec = next(one for one in device.tags if one.id == tag)
    _, values = counted(rows)
    low, high = min(float(values.min()), *limits, np.inf), max(float(values.max()), *limits, -np.inf)
    margin = max((high / 2 - low / 2) * 0.16, abs(high) * 1e-9) or 1.0
    inner = STRIP - 30

    def y_of(value: float) -> float:
        # Halves, since the difference of two float64s may be more than one.
        return top + 22 + (high / 2 - value / 2 + margin / 2) / (high / 2 - low / 2 + margin) * inner

    base = f"{y_of(low) + 4:.1f}"
    parts = [
        f'<text x="{LEFT}" y="{top + 14}" fill="{_DARK}">{_name(device, spec)}</text>',
        f'<text x="{LEFT - 6}" y="{y_of(high) + 4:.1f}" text-anchor="end" fill="{_GREY}">{high:.6g}</text>',
        f'<text x="{LEFT - 6}" y="{base}" text-anchor="end" fill="{_GREY}">{low:.6g}</text>',
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top + STRIP - 4}" y2="{top + STRIP - 4}" stroke="{_RULE}"/>',
    ]
    for t, v in _runs(rows, spec):
        some = zip(*(one.tolist() for one in _thinned(t, v)), strict=True)
        line = " ".join(f"{x_of(a):.1f},{y_of(b):.1f}" for a, b in some)
        if len(t) == 1:
            x, y = line.split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="1.5" fill="{_DARK}"/>')
        else:
            parts.append(f'<polyline points="{line}" fill="none" stroke="{_DARK}" stroke-width="1.2"/>')
    for limit in limits:
        y = y_of(limit)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_RED}"/>')
        label = f"限值 limit {limit:.6g}"
        parts.append(f'<text x="{WIDTH - RIGHT}" y="{y - 4:.1f}" text-anchor="end" fill="{_RED}">{label}</text>')
    return parts


def _runs(rows: Sequence[Row], spec: TagSpec) -> list[tuple[Float64s, Float64s]]:
    """The rows that count, cut where one lies between that does not, or nothing came for long; a tag whose times are the
    source's own may come by exception, so of its silence nothing follows."""
    longest = np.inf if spec.source_time else max(GAP_PERIODS * spec.period_ms, GAP_MS)
    use = [len(counted([row])[0]) > 0 for row in rows]
    cuts = [
        n + 1 for n, (a, b) in enumerate(pairwise(rows)) if use[n] != use[n + 1] or (use[n] and b[0] - a[0] > longest)
    ]
    parts = [counted(rows[a:b]) for a, b in pairwise([0, *cuts, len(rows)])]
    return [(t, v) for t, v in parts if len(t)]


def _thinned(t: Float64s, v: Float64s) -> tuple[Float64s, Float64s]:
    """The least and the greatest row of each column where there are too many."""
    if len(t) <= MAX_POINTS:
        return t, v
    keep: set[int] = {0, len(t) - 1}
    for some in np.array_split(np.arange(len(t)), MAX_POINTS // 2):
        keep |= {int(some[np.argmin(v[some])]), int(some[np.argmax(v[some])])}
    rows = np.array(sorted(keep))
    return t[rows], v[rows]


def _name(device: DeviceSpec, spec: TagSpec) -> str:
    types = equipment_types()
    known = types[device.type].tag_by_id if device.type in types else {}
    name = f"{known[spec.id].zh} {spec.id}" if spec.id in known else spec.id
    return _text(f"{name} ({spec.unit})" if spec.unit else name)


def _text(words: str) -> str:
    return escape(_NO_XML.sub("\ufffd", words))


def _clock(t: float, *, full: bool = False) -> str:
    """Local time; beyond the calendar, the milliseconds."""
    try:
        return datetime.fromtimestamp(t / 1000, _LOCAL).strftime("%Y-%m-%d %H:%M:%S" if full else "%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{t:.0f} ms"
