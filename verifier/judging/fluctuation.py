"""Whether a package lets one see how things moved around the alarm (al.5): raw rows before and after, at the acquisition
rate, without gaps, the very ones that the edge sealed; then what the machine said directly, then history.

Slope is the least-squares slope per second over the rows before the trigger, and over those from it on; deviation is the
trigger's value less the mean before it, also in standard deviations of the rows before it.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from telemetry.samples import SEVERITY_MASK, Quality
from verifier.findings import Figure, Outcome, figure
from verifier.judging.alarms import AlarmCase
from verifier.judging.case import mapping
from verifier.judging.packages import Package, Span, rows_between, same_value
from verifier.judging.rules_eval import Point, counted
from verifier.judging.sealed import SealedWindow, SealedWindows
from verifier.judging.values import names
from verifier.rules.types import Threshold
from verifier.states import State

Thresholds = Mapping[str, Threshold]
MAX_HISTORY = 20_000
NORMAL_Z = 4.0
ROBUST = 1.4826  # of the median absolute deviation: a normal distribution's standard deviation
LEAST_NORMAL = 3
Fault = tuple[State, str, str]
Cells = Mapping[str, Mapping[int, tuple[Any, int]]]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a tag did around the trigger."""

    mean_before: float | None
    deviation: float | None
    slope_before: float | None
    slope_after: float | None


def shape(points: Sequence[Point], at: int, value: float | None) -> Shape:
    """Of a tag's counted rows around a moment; `value` is the trigger's, where the tag has one."""
    before = [(t, v) for t, v, _ in points if t < at]
    after = [(t, v) for t, v, _ in points if t >= at]
    mean = statistics.fmean(v for _, v in before) if before else None
    deviation = None if mean is None or value is None else value - mean
    return Shape(mean, deviation, slope(before), slope(after))


def slope(points: Sequence[tuple[int, float]]) -> float | None:
    """Least-squares slope per second; None where there are fewer than two times."""
    if len({t for t, _ in points}) < 2:
        return None
    start = points[0][0]
    xs, ys = [(t - start) / 1000 for t, _ in points], [v for _, v in points]
    return statistics.linear_regression(xs, ys).slope


def judge_fluctuation(
    case: AlarmCase,
    package: Package | None,
    alarm: Mapping[str, Any] | None,
    sealed: SealedWindows | None,
    history: Mapping[str, Any] | None,
    contradicted: Sequence[str],
    *,
    limits: Thresholds,
    evidence: tuple[str, ...],
) -> Outcome:
    """al.5. `contradicted` are tags whose rows in the package contradict the verifier's own reads of the machine."""
    span = package.span if package is not None else None
    at = mapping((alarm or {}).get("trigger")).get("t")
    if package is None or alarm is None or span is None or type(at) is not int:
        return Outcome(State.NOT_CHECKED, "no_alarm_to_package", evidence=evidence)
    tag, value = str(alarm.get("tag")), mapping(alarm.get("trigger")).get("v")
    points = counted(package.rows.get(tag, []))
    seen = shape(points, at, value if isinstance(value, int | float) else None)
    mine = [] if sealed is None else [w for w in sealed.of(str(alarm.get("id"))) if w.device == case.uid]
    figures = [*_window_figures(package, points, at, limits), *_shape_figures(seen)]
    own = first_out(package.rows, _tags_of(package, tag), at, span)
    figures.append(figure("first_out_by_own_reckoning", own))
    figures.append(figure("sealed_parts", len(mine), unit="items"))
    figures.append(figure("sealed_parts_proved", sum(w.proved for w in mine), unit="items"))
    sealed_fault = _against_sealed(package, span, sealed, mine, figures, limits)
    shown = _against_history(package, span, history, figures, limits)

    def outcome(state: State, reason: str = "", details: str = "") -> Outcome:
        return Outcome(state, reason, tuple(figures), evidence, details)

    own = _own_faults(case, package, alarm, span, at, limits)
    hard = [f for f in (*own, sealed_fault, shown) if f is not None and f[0] is State.FAIL]
    # What was sealed is looked at first: a package that is not what the edge sealed tells nothing more.
    if sealed_fault is not None and sealed_fault[0] is State.FAIL:
        return outcome(*sealed_fault)
    if contradicted:
        return outcome(State.FAIL, "package_contradicts_reads", names(list(contradicted)))
    if hard:
        return outcome(*hard[0])
    features = _features(package, tag, at, seen, limits)
    if features is not None and features[0] is State.FAIL:
        return outcome(*features)
    soft = [f for f in (sealed_fault, shown, *own, features) if f is not None]
    return outcome(*soft[0]) if soft else outcome(State.PASS)


def _own_faults(
    case: AlarmCase, package: Package, alarm: Mapping[str, Any], span: Span, at: int, limits: Thresholds
) -> list[Fault]:
    """Window, rate and gaps, from the package's own rows."""
    out: list[Fault] = []
    tag = str(alarm.get("tag"))
    rows = package.rows.get(tag, [])
    period = _period(case, tag)
    before = (at - min((r[0] for r in rows), default=at) + period) / 1000
    after = (max((r[0] for r in rows), default=at) - at + period) / 1000
    ring = mapping(package.manifest.get("window")).get("ring_from_ms")
    if before < limits["window_before_s"].value:
        young = type(ring) is int and ring > span[0]
        out.append((State.REVIEW if young else State.FAIL, "ring_short" if young else "window_short", f"{before:g} s"))
    if after < limits["window_after_s"].value:
        out.append((State.FAIL, "window_short", f"{after:g} s"))
    slow: list[str] = []
    gaps: list[str] = []
    # What the edge had not yet acquired is no gap, nor is a time before which the whole machine said nothing: that the window
    # is long enough was looked at above, and that nothing was left out, the sealed window and history say.
    held = max(span[0], ring) if type(ring) is int else span[0]
    start = min(max(held, min((some[0][0] for some in package.rows.values() if some), default=held)), at)
    for name, some in sorted(package.rows.items()):
        if name not in case.declared["tags"] or case.source_time:
            continue  # what comes by exception says nothing by its pace; that it is whole, the sealed window says
        pace = _period(case, name)
        steps = [b[0] - a[0] for a, b in pairwise(some) if not _bad(a)]
        if steps and statistics.median(steps) > limits["rate_periods"].value * pace:
            slow.append(name)
            continue
        ends = [] if not some else [some[0][0] - start, span[1] - some[-1][0] if not _bad(some[-1]) else 0]
        if max([*steps, *ends], default=0) > limits["gap_periods"].value * pace + limits["gap_slack_s"].value * 1000:
            gaps.append(name)
    if slow:
        out.append((State.FAIL, "rate_too_low", names(slow)))
    if gaps:
        out.append((State.FAIL, "gap_in_package", names(gaps)))
    return out


def _bad(row: Sequence[Any]) -> bool:
    """A row that says that nothing could be read: what follows is an honest outage."""
    return bool(row[2] & Quality.NO_VALUE) or row[2] & SEVERITY_MASK == Quality.BAD


def _period(case: AlarmCase, tag: str) -> int:
    return int(mapping(case.declared["tags"].get(tag)).get("period_ms") or 1000)


def _against_sealed(
    package: Package,
    span: Span,
    sealed: SealedWindows | None,
    mine: Sequence[SealedWindow],
    figures: list[Figure],
    limits: Thresholds,
) -> Fault | None:
    """The package's rows are exactly those of the edge's sealed window."""
    if sealed is None:
        return State.NOT_CHECKED, "edge_not_pinned", ""
    if sealed.faults:
        return State.FAIL, sealed.faults[0][0], names([what for _, what in sealed.faults])
    if not mine:
        if sealed.refused:
            return State.FAIL, "frames_refused", sealed.refused
        return (State.NOT_CHECKED, sealed.unread, "") if sealed.unread else (State.FAIL, "no_sealed_window", "")
    if {w.part for w in mine} not in (set(range(mine[0].parts)), set(range(1, mine[0].parts + 1))):
        return State.FAIL, "sealed_window_incomplete", f"{len(mine)} / {mine[0].parts}"
    if mapping(package.manifest.get("window")).get("ring_from_ms") != max(w.ring_from_ms for w in mine):
        return State.FAIL, "package_differs_from_sealed", "ring_from_ms"
    whole: dict[str, list[list[Any]]] = {}
    for window in mine:
        for tag, rows in window.rows.items():
            whole.setdefault(tag, []).extend(rows)
    differs = _differences(rows_between(whole, span), rows_between(package.rows, span), both_ways=True)
    compared = sum(map(len, whole.values()))
    figures.append(figure("rows_compared_with_sealed", compared, unit="rows"))
    figures.append(figure("rows_not_as_sealed", len(differs), limits["none_allowed"]))
    if differs:
        return State.FAIL, "package_differs_from_sealed", names(differs)
    if any(w.truncated for w in mine):
        return State.REVIEW, "sealed_window_truncated", ""
    if not all(w.proved for w in mine):
        return State.NOT_CHECKED, "proof_unanswered", ""
    return None


def _against_history(
    package: Package, span: Span, history: Mapping[str, Any] | None, figures: list[Figure], limits: Thresholds
) -> Fault | None:
    """Every row of the cloud's history in the window is the package's row of that time."""
    shown: dict[str, list[list[Any]]] = {}
    unread: list[str] = []
    for tag, answer in sorted((history or {}).items()):
        body = mapping(mapping(answer).get("body"))
        rows = body.get("rows")
        if mapping(answer).get("status") != 200 or not isinstance(rows, list) or len(rows) > MAX_HISTORY:
            unread.append(tag)
            continue
        shown[tag] = [r for r in rows if isinstance(r, list) and len(r) == 3 and type(r[0]) is int]
    differs = _differences(rows_between(shown, span), rows_between(package.rows, span), both_ways=False)
    compared = sum(len(r) for r in rows_between(shown, span).values())
    figures.append(figure("history_rows_compared", compared, unit="rows"))
    figures.append(figure("history_rows_not_in_package", len(differs), limits["none_allowed"]))
    if differs:
        return State.FAIL, "package_differs_from_history", names(differs)
    if unread or not compared:
        return State.NOT_CHECKED, "history_unanswered", names(unread)
    return None


def _differences(wanted: Cells, have: Cells, *, both_ways: bool) -> list[str]:
    """tag@time of the rows of `wanted` that are not in `have` with the same value and quality (and, both ways, the others)."""
    out: list[str] = []
    for tag, rows in wanted.items():
        mine = have.get(tag, {})
        for t, (v, q) in rows.items():
            found = mine.get(t)
            if found is None or not same_value(found[0], v) or found[1] != q:
                out.append(f"{tag}@{t}")
    if both_ways:
        out += [f"{tag}@{t}" for tag, rows in have.items() for t in rows if t not in wanted.get(tag, {})]
    return out


def _features(package: Package, tag: str, at: int, seen: Shape, limits: Thresholds) -> Fault | None:
    """What can be computed must be computable, and what the package says of the trigger's tag must be that."""
    if seen.mean_before is None or seen.slope_before is None or seen.slope_after is None or seen.deviation is None:
        return State.FAIL, "features_not_computable", tag
    said = mapping(mapping(package.manifest.get("features")).get(tag))
    if not said:
        return State.FAIL, "features_missing", tag
    deviation = said.get("deviation")
    wanted = {"slope_before_per_s": seen.slope_before, "slope_after_per_s": seen.slope_after}
    told: dict[str, Any] = {k: said.get(k) for k in wanted}
    if isinstance(deviation, dict):
        deviation = next((deviation[k] for k in ("value", "absolute") if k in deviation), None)
    elif isinstance(deviation, list) and deviation:
        deviation = deviation[0]
    wanted["deviation"], told["deviation"] = seen.deviation, deviation
    share = limits["feature_share"].value
    scale = max(abs(seen.mean_before), abs(seen.deviation), 1e-9)
    for name, value in wanted.items():
        other = told[name]
        if isinstance(other, bool) or not isinstance(other, int | float):
            return State.FAIL, "features_missing", f"{tag}: {name}"
        if not math.isclose(other, value, rel_tol=share, abs_tol=share * scale / 1000):
            return State.FAIL, "features_differ", f"{tag}: {name} {other:g} ≠ {value:g}"
    return _first_out(package, tag, at)


def _first_out(package: Package, tag: str, at: int) -> Fault | None:
    """The tag that moved first: one of the alarm's, at a row of its own not after the trigger. What is normal may be reckoned
    in more than one way, so another answer than the verifier's own is shown beside it and accuses nobody."""
    said = mapping(package.manifest.get("first_out"))
    name, t = str(said.get("tag") or ""), said.get("t")
    if not name or type(t) is not int:
        return State.FAIL, "first_out_missing", name
    if name not in _tags_of(package, tag) or t > at or not any(r[0] == t for r in package.rows.get(name, [])):
        return State.FAIL, "first_out_wrong", f"{name} @ {t}"
    return None


def _tags_of(package: Package, tag: str) -> list[str]:
    """The trigger's tag and the related ones."""
    related = [t for t in mapping(package.manifest.get("rule")).get("related") or [] if isinstance(t, str)]
    return list(dict.fromkeys((tag, *related)))


def first_out(rows: Mapping[str, Sequence[Sequence[Any]]], tags: Sequence[str], at: int, span: Span) -> str:
    """The first of some tags, the alarm's own before the others, to leave its normal band before the trigger: median ±
    NORMAL_Z robust standard deviations of its rows in the first half of the time before; the alarm's own where none did."""
    half = span[0] + (at - span[0]) // 2
    best, when = tags[0], at
    for tag in tags:
        points = [(t, v) for t, v, _ in counted(rows.get(tag, []))]
        normal = [v for t, v in points if t < half]
        if len(normal) < LEAST_NORMAL:
            continue
        centre = statistics.median(normal)
        band = NORMAL_Z * ROBUST * statistics.median(abs(v - centre) for v in normal)
        left = next((t for t, v in points if half <= t < at and abs(v - centre) > band), at)
        if left < when:
            best, when = tag, left
    return best


def _window_figures(package: Package, points: Sequence[Point], at: int, limits: Thresholds) -> list[Figure]:
    times = [t for t, _, _ in points]
    gap = max((b - a for a, b in pairwise(times)), default=0)
    return [
        figure("window_before_s", (at - times[0]) / 1000 if times else 0.0, limits["window_before_s"]),
        figure("window_after_s", (times[-1] - at) / 1000 if times else 0.0, limits["window_after_s"]),
        figure("package_rows_of_tag", len(times), unit="rows"),
        figure("package_largest_gap_s", gap / 1000, unit="s"),
        figure("package_first_out", str(mapping(package.manifest.get("first_out")).get("tag"))),
    ]


def _shape_figures(seen: Shape) -> list[Figure]:
    named = {"deviation": seen.deviation, "slope_before": seen.slope_before, "slope_after": seen.slope_after}
    return [figure(name, value) for name, value in named.items() if value is not None]
