"""What every historian can do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np

from ingest.historian.moments import Moments
from ingest.historian.records import Presence
from telemetry.dictionary import Dictionary
from telemetry.samples import Float64s, Int64s, Quality, Samples, concat


class HistorianError(Exception):
    """The historian refused: what was asked or sent cannot be right, and trying again will not help."""


class HistorianUnavailable(HistorianError):
    """The store cannot be reached or takes nothing now: try again later. Waiting is the caller's."""


@dataclass(frozen=True, slots=True)
class HistorianBatch:
    """Rows of one edge, with the dictionary that names their tags."""

    dictionary: Dictionary
    samples: Samples


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of several tags; `samples.tag` indexes `tags`."""

    tags: tuple[str, ...]
    samples: Samples


@dataclass(frozen=True, slots=True)
class Buckets:
    """Equal stretches of time: start (ms), and over the numeric, finite values that are not bad: how many, mean, least and
    greatest (NaN where there are none). One entry a bucket in every array."""

    start: Int64s
    count: Int64s
    mean: Float64s
    minimum: Float64s
    maximum: Float64s


@dataclass(frozen=True, slots=True)
class Span:
    """How many rows with a value a tag has, and the times of the first and last."""

    count: int
    first: int
    last: int


class Historian(Protocol):
    """Times are UTC milliseconds, from inclusive, to exclusive. Every method raises HistorianUnavailable or HistorianError."""

    async def write(self, *batches: HistorianBatch) -> None:
        """Store rows; returns when the store has taken them. Writing twice is writing once. Rows may come late and in
        any order. Of rows that differ at the same tag and millisecond the last stands; where they come in separate
        writes InfluxDB merges them, and the worse quality stands."""
        ...

    async def latest(self, enterprise: str, device: str) -> Rows:
        """The row with the newest device time of every tag, whenever it came."""
        ...

    async def range(self, enterprise: str, device: str, tag: str, from_ms: int, to_ms: int, limit: int) -> Samples:
        """The first `limit` rows of a stretch, by time. `samples.tag` is 0."""
        ...

    async def aggregate(
        self, enterprise: str, device: str, tag: str, from_ms: int, to_ms: int, buckets: int
    ) -> Buckets:
        """The stretch in at most `buckets` equal parts of whole milliseconds."""
        ...

    async def coverage(self, enterprise: str, device: str, from_ms: int, to_ms: int) -> Mapping[str, Span]:
        """How many rows with a value each tag has in a stretch. Tags without any are left out."""
        ...

    async def oldest(self, enterprise: str, device: str) -> int | None:
        """The time of a device's oldest row with a value; None if it has none."""
        ...

    async def roll(self, enterprise: str, device: str, minutes: Int64s) -> None:
        """Make the 1-minute rollups of some minutes (starts, ms) of a device anew from its rows, and store them."""
        ...

    async def rollups(self, enterprise: str, device: str, tag: str, from_ms: int, to_ms: int) -> Moments:
        """Rollups of a tag of the minutes that start in from..to and have usable rows. They are of when `roll` was last
        called: for a minute whose rows were changed since, ask the rows."""
        ...

    async def presence(self, enterprise: str, device: str, from_ms: int, to_ms: int) -> Presence:
        """The minutes that start in from..to in which a device had rows when `roll` was last called for them."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def joined(batches: Iterable[HistorianBatch]) -> list[HistorianBatch]:
    """Neighbouring batches of one dictionary as one, in their order: many small frames cost little more than one."""
    groups = groupby((batch for batch in batches if len(batch.samples)), key=lambda batch: batch.dictionary.hash)
    out: list[HistorianBatch] = []
    for _, group in groups:
        some = list(group)
        out.append(HistorianBatch(some[0].dictionary, concat([batch.samples for batch in some])))
    return out


def bucket_width(from_ms: int, to_ms: int, buckets: int) -> int:
    """Milliseconds a bucket. Raises HistorianError for an empty stretch or no buckets."""
    if to_ms <= from_ms or buckets < 1:
        raise HistorianError("an aggregate needs a stretch of time and at least one bucket")
    return -(-(to_ms - from_ms) // buckets)


def no_buckets(from_ms: int, to_ms: int, width: int) -> Buckets:
    """Buckets without values, to be filled in place."""
    n = -(-(to_ms - from_ms) // width)
    nan = np.full(n, np.nan)
    return Buckets(from_ms + width * np.arange(n), np.zeros(n, np.int64), nan, nan.copy(), nan.copy())


def merge(into: Buckets, at: Int64s, count: Int64s, mean: Float64s, minimum: Float64s, maximum: Float64s) -> None:
    """Add partial results to buckets numbered `at`, each number at most once."""
    before = into.count[at]
    total = before + count
    known = np.where(before > 0, into.mean[at], 0.0)
    into.mean[at] = (known * before + mean * count) / total
    into.minimum[at] = np.fmin(into.minimum[at], minimum)
    into.maximum[at] = np.fmax(into.maximum[at], maximum)
    into.count[at] = total


def add_rows(into: Buckets, width: int, rows: Samples) -> None:
    """Add raw rows to buckets."""
    values = rows.numeric
    use = np.isfinite(values) & ((rows.quality & Quality.BAD) == 0)
    if not use.any():
        return
    values, number = values[use], (rows.time[use] - into.start[0]) // width
    order = np.argsort(number, kind="stable")
    values, number = values[order], number[order]
    at, starts, count = np.unique(number, return_index=True, return_counts=True)
    mean = np.add.reduceat(values, starts) / count
    merge(into, at, count, mean, np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts))
