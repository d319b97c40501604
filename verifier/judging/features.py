"""Data features and the points of a chart, computed again from raw rows.

Rows are (t, v): UTC ms and a number, by time; rows without a value or of bad quality are left out before.
"""

import hashlib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from telemetry.samples import SEVERITY_MASK, Quality
from verifier.evidence import canonical

Point = tuple[int, float]
HOUR_MS = 3_600_000.0
FEATURES = ("min", "max", "mean", "std", "trend")
API_NAMES = {"trend": "trend_per_h"}
LARGEST = 1e150
_EQUATION = 1e-12  # of the square of the largest value: what a sum of squares in float64 loses


def usable(rows: Iterable[Sequence[Any]]) -> list[Point]:
    """The numbers among rows [t, v, q] that are not bad, by time."""
    return sorted((t, float(v)) for t, v, q in rows if is_number(v) and not _bad(q))


def is_number(value: Any) -> bool:
    """A number or a switch, which is one for arithmetic. What no machine measures would only overflow."""
    return isinstance(value, bool | int | float) and -LARGEST <= value <= LARGEST


def _bad(q: int) -> bool:
    return q & SEVERITY_MASK == Quality.BAD or bool(q & Quality.NO_VALUE)


@dataclass(frozen=True, slots=True)
class Features:
    """Count, least, greatest, mean, standard deviation of the population, least squares of v on t per hour (None where all
    times are one), and the largest magnitude and the length in hours, which say how much dust floating point leaves."""

    count: int
    min: float
    max: float
    mean: float
    std: float
    trend: float | None
    largest: float
    hours: float


def features(points: Sequence[Point]) -> Features | None:
    """The features of some rows; None without any."""
    if not points:
        return None
    t = np.array([p[0] for p in points], dtype=np.int64)
    v = np.array([p[1] for p in points], dtype=np.float64)
    hours = (t - t[0]) / HOUR_MS
    mean = math.fsum(v.tolist()) / len(v)
    off, at = v - mean, hours - hours.mean()
    spread = float(at @ at)
    slope = float(at @ off) / spread if spread > 0 else None
    std = math.sqrt(math.fsum((off * off).tolist()) / len(v))
    low, high = float(v.min()), float(v.max())
    return Features(len(v), low, high, mean, std, slope, max(abs(low), abs(high)), float(hours[-1]))


def dust(own: Features, name: str, relative: float) -> float:
    """How far a figure may lie off for no other reason than floating point."""
    if name == "trend":
        return relative * (abs(own.trend or 0.0) + 12 * own.largest / max(own.hours, 1 / HOUR_MS))
    if name in ("min", "max"):
        return relative * abs(getattr(own, name))
    return relative * own.largest


def differs(own: Features, name: str, said: Any, relative: float) -> bool:
    """Whether a figure that is shown is not the one computed from the raw rows."""
    expected = getattr(own, name)
    if expected is None:
        return said not in (None, 0, 0.0)
    if not is_number(said):
        return True
    if abs(said - expected) <= dust(own, name, relative):
        return False
    return not (name == "std" and abs(said * said - expected * expected) <= _EQUATION * own.largest**2)


def query_hash(enterprise: str, series: Sequence[str], start: int, end: int, points: int) -> str:
    """What identifies a query of the trend: SHA-256 over its canonical JSON."""
    asked = {"enterprise": enterprise, "series": list(series), "from": start, "to": end, "points": points}
    return hashlib.sha256(canonical(asked)).hexdigest()


def points_of_query(found: str, enterprise: str, series: Sequence[str], start: int, end: int) -> int | None:
    """With how many points a query was asked whose hash this is; None where it is not the hash of this query at all."""
    within = range(1, 5001)
    return next((n for n in within if query_hash(enterprise, series, start, end, n) == found), None)


def points_fault(shown: Any, rows: Sequence[Sequence[Any]], limit: int, span: tuple[int, int], buckets: Any) -> str:
    """Why the points of a chart are not those rows, "" where they are: all of them if there are no more than `limit`, else
    the least and the greatest of every bucket, both as they were sampled."""
    drawn = read_points(shown)
    if drawn is None:
        return "points_malformed"
    own = usable(rows)
    if any(b[0] < a[0] for a, b in itertools.pairwise(drawn)):
        return "points_out_of_order"
    sampled = {(t, float(v)) for t, v, _ in rows if is_number(v)}
    if any(point not in sampled for point in drawn):
        return "points_not_sampled"
    if len(own) <= limit and (len(rows) <= limit or buckets is None):
        return "" if set(own) <= set(drawn) else "points_missing"
    return _reduced_fault(set(drawn), own, span, mapping_of_buckets(buckets))


def read_points(raw: Any) -> list[Point] | None:
    """The points [t, v] of a chart; those without a value (breaks of the line) are left out. None where it is no such list."""
    if not isinstance(raw, list) or len(raw) > 20_000:
        return None
    if not all(isinstance(p, list) and len(p) == 2 and type(p[0]) is int for p in raw):
        return None
    if not all(p[1] is None or is_number(p[1]) for p in raw):
        return None
    return [(p[0], float(p[1])) for p in raw if p[1] is not None]


def mapping_of_buckets(raw: Any) -> Mapping[str, list[Any]] | None:
    """Buckets as columns of one length, None for anything else."""
    names = ("start", "count", "mean", "min", "max")
    if not isinstance(raw, dict) or not all(isinstance(raw.get(n), list) for n in names):
        return None
    columns = {n: raw[n] for n in names}
    if len({len(c) for c in columns.values()}) != 1 or not columns["start"] or len(columns["start"]) > 5000:
        return None
    if not all(type(t) is int for t in columns["start"]) or not all(type(n) is int for n in columns["count"]):
        return None
    return columns


def _reduced_fault(
    drawn: set[Point], own: list[Point], span: tuple[int, int], buckets: Mapping[str, list[Any]] | None
) -> str:
    if buckets is None:
        return "buckets_missing"
    starts = buckets["start"]
    widths = {b - a for a, b in itertools.pairwise(starts)}
    width = next(iter(widths), 0)
    if len(widths) != 1 or width <= 0:
        return "buckets_uneven"
    if not starts[0] <= span[0] < starts[0] + width or starts[-1] + width < span[1]:
        return "buckets_uneven"
    inside: dict[int, list[Point]] = {}
    for point in own:
        inside.setdefault(min((point[0] - starts[0]) // width, len(starts) - 1), []).append(point)
    for i in range(len(starts)):
        points = inside.get(i, [])
        if buckets["count"][i] != len(points):
            return "buckets_differ"
        if not points:
            continue
        low, high = min(points, key=lambda p: (p[1], p[0])), max(points, key=lambda p: (p[1], -p[0]))
        if not {low, high} <= drawn:
            return "points_missing"
        mean = math.fsum(v for _, v in points) / len(points)
        scale = max(abs(low[1]), abs(high[1]))
        said = (buckets["min"][i], buckets["max"][i], buckets["mean"][i])
        if any(
            not is_number(x) or abs(x - y) > 1e-9 * scale for x, y in zip(said, (low[1], high[1], mean), strict=True)
        ):
            return "buckets_differ"
    return ""
