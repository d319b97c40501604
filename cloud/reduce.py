"""A curve of many rows as one of few: of each bucket the row of the least and the row of the greatest value, both as they
were sampled, and the first and the last row of all. So no peak is lost and no value is made up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ingest.historian import moments
from ingest.historian.moments import MINUTE_MS, Moments, value_of
from telemetry import plain
from telemetry.samples import Bools, Int64s, Quality, Samples

Point = tuple[int, int | float | None]


@dataclass(frozen=True, slots=True)
class Grid:
    """Buckets of equal width (ms) from `origin` on, `count` of them."""

    origin: int
    width: int
    count: int


def grid(from_ms: int, to_ms: int, buckets: int) -> Grid:
    """At most `buckets` buckets that begin with the stretch."""
    width = -(-(to_ms - from_ms) // buckets)
    return Grid(from_ms, width, -(-(to_ms - from_ms) // width))


def minute_grid(from_ms: int, to_ms: int, buckets: int) -> Grid:
    """At most `buckets` buckets of whole minutes; the first begins in the minute of `from_ms`."""
    origin = from_ms // MINUTE_MS * MINUTE_MS
    width = -(-(to_ms - origin) // (buckets * MINUTE_MS)) * MINUTE_MS
    return Grid(origin, width, -(-(to_ms - origin) // width))


def numeric(rows: Samples) -> Samples:
    """The rows of numeric kinds."""
    return rows.where(np.isin(rows.kind, moments.NUMERIC))


def usable(rows: Samples) -> Bools:
    """Which rows have a finite number and are not bad."""
    return np.isfinite(rows.numeric) & ((rows.quality & Quality.BAD) == 0)


def raw_points(rows: Samples) -> list[Point]:
    """Every usable row; of each run of others the first, as a point without a value: there the line breaks."""
    good = usable(rows)
    keep = good | np.append(False, good[:-1] & ~good[1:]) if len(rows) else good
    kept = rows.where(keep)
    values = [value if ok else None for value, ok in zip(plain.values(kept), good[keep].tolist(), strict=True)]
    return [(t, int(v) if isinstance(v, bool) else v) for t, v in zip(kept.time.tolist(), values, strict=True)]


def joined(groups: Moments, how: Grid) -> tuple[Int64s, Moments]:
    """Groups by bucket: (numbers of buckets with rows, what is in them)."""
    return moments.combine(groups, (groups.start - how.origin) // how.width)


def points(buckets: Moments, ends: Sequence[Point]) -> list[Point]:
    """The points of the least and greatest rows, by time, and the first and last row."""
    out: set[Point] = {point for point in ends if point[1] is not None}
    for slots, times in ((buckets.low, buckets.low_t), (buckets.high, buckets.high_t)):
        for slot, kind, time in zip(slots.tolist(), buckets.kind.tolist(), times.tolist(), strict=True):
            out.add((time, value_of(slot, kind)))
    return sorted(out, key=lambda point: point[0])


def columns(number: Int64s, buckets: Moments, how: Grid) -> dict[str, list[Any]]:
    """All buckets as columns, null where there are no rows."""
    count = np.zeros(how.count, np.int64)
    mean = np.full(how.count, np.nan)
    count[number], mean[number] = buckets.count, buckets.mean
    low: list[int | float | None] = [None] * how.count
    high: list[int | float | None] = [None] * how.count
    kinds = buckets.kind.tolist()
    for column, slots in ((low, buckets.low), (high, buckets.high)):
        for at, slot, kind in zip(number.tolist(), slots.tolist(), kinds, strict=True):
            column[at] = value_of(slot, kind)
    start = (how.origin + how.width * np.arange(how.count)).tolist()
    means = [value if n else None for value, n in zip(mean.tolist(), count.tolist(), strict=True)]
    return {"start": start, "count": count.tolist(), "mean": means, "min": low, "max": high}
