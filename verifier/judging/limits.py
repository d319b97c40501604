"""Where to put a limit: so far off that a condition is surely false, within the noise of a value, or across it.

Pure: what was drawn can be drawn again from the rows that it was drawn from.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from verifier.judging.rules_eval import Point

LATEST = 12
ROUNDING = 12  # significant digits of a limit: what JSON and a database carry unchanged


@dataclass(frozen=True, slots=True)
class Swing:
    """How a tag moved lately: `spread` between its extremes, `noise` the median step, `slope` per row; `last` its value."""

    low: float
    high: float
    last: float
    noise: float
    slope: float
    step: float

    @property
    def spread(self) -> float:
        return max(self.high - self.low, self.step)


def swing(points: Sequence[Point], resolution: float) -> Swing | None:
    """Of the newest rows of a tag; None where there are none."""
    if not points:
        return None
    values = [v for _, v, _ in points[-LATEST:]]
    steps = [abs(b - a) for a, b in pairwise(values)]
    step = max(resolution, 8 * math.ulp(max(map(abs, values))), 1e-9)
    slope = (values[-1] - values[0]) / max(len(values) - 1, 1)
    return Swing(
        min(v for _, v, _ in points),
        max(v for _, v, _ in points),
        values[-1],
        statistics.median(steps) if steps else 0.0,
        slope,
        step,
    )


def side_of(found: Swing, toss: str) -> str:
    """high or low: with the drift where there is one, so that the value will soon be beyond a limit within its noise."""
    drift = abs(found.slope) * LATEST
    if drift > 4 * max(found.noise, found.step):
        return "high" if found.slope > 0 else "low"
    return toss


def far(found: Swing, side: str, span: float | None) -> float:
    """A limit that the value will not meet within the watch."""
    away = 10 * found.spread + 20 * found.step + (span or 0.0)
    return _round(found.high + away if side == "high" else found.low - away)


def within(found: Swing, points: Sequence[Point], side: str) -> tuple[float, float]:
    """(limit, hysteresis): a limit that the newest values lie mostly beyond, some of them not, and a hysteresis wider than
    all of that."""
    latest = sorted(v for _, v, _ in points[-LATEST:])
    quarter = latest[len(latest) // 4] if side == "high" else latest[-1 - len(latest) // 4]
    beyond = sum(v > quarter if side == "high" else v < quarter for v in latest)
    # Half a step away where too few are beyond it: so a value that stands still is.
    away = 0.0 if 2 * beyond >= len(latest) else found.step / 2
    limit = quarter - away if side == "high" else quarter + away
    return (_round(limit) if away else limit), _round(2 * found.spread + 4 * found.step)


def hops(points: Sequence[Point], side: str) -> int:
    """How often the newest values come back beyond the limit that `within` gives: how often a rule without hysteresis would
    have raised."""
    found = swing(points, 0.0)
    if found is None:
        return 0
    limit, _ = within(found, points, side)
    beyond = [v > limit if side == "high" else v < limit for _, v, _ in points[-LATEST:]]
    return sum(b and not a for a, b in pairwise(beyond))


def across(found: Swing, level: str) -> float:
    """A limit on the other side of everything that the value was lately."""
    away = found.spread / 2 + 2 * found.step + 4 * abs(found.slope)
    return _round(found.low - away if level.startswith("high") else found.high + away)


def moved_rule(rule: Mapping[str, Any], found: Swing) -> tuple[str, dict[str, Any]] | None:
    """(level, rule with that limit moved across the value); None where the rule's own order of limits leaves no room, or the
    limit is met already."""
    absolute = rule.get("absolute") is True
    for level in ("high", "low", "high_high", "low_low"):
        limit = rule.get(level)
        if limit is None or (level.count("_") and rule.get(level.partition("_")[0]) is not None):
            continue
        seen = _magnitudes(found) if absolute else found
        if seen.high > limit if level.startswith("high") else seen.low < limit:
            return None
        new = across(seen, level)
        others = {k: rule.get(k) for k in ("high", "high_high", "low", "low_low")} | {level: new}
        pairs = (("high", "high_high"), ("low_low", "low"), ("low", "high"))
        ends = [(others[a], others[b]) for a, b in pairs]
        if all(a < b for a, b in ends if a is not None and b is not None):
            return level, {**rule, level: new}
    return None


def _magnitudes(found: Swing) -> Swing:
    ends = (abs(found.low), abs(found.high))
    low = 0.0 if found.low < 0 < found.high else min(ends)
    return Swing(low, max(ends), abs(found.last), found.noise, found.slope, found.step)


def _round(value: float) -> float:
    return float(f"{value:.{ROUNDING}g}") + 0.0
