"""Long stretches, read quickly and exactly: 1-minute rollups for whole minutes whose rollups are true, rows for the rest.

The rest: the minutes that the stretch only touches, those that are due (their rows were changed since, or are being
written), and whatever lies before the first and after the last rollup. What is due is asked first: a rollup that is read
after that has every row that was there then.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import numpy as np

from cloud.services import Services
from ingest.historian import moments
from ingest.historian.moments import MINUTE_MS, Moments
from ingest.historian.records import Presence, runs
from telemetry.samples import Int64s, Samples, concat

Span = tuple[int, int]

_SHORT_MS = 10 * MINUTE_MS  # so short a stretch is read row by row
_MOST_RUNS = 100
_ENDLESS = 1 << 40
PAGE = 100_000


@dataclass(frozen=True, slots=True)
class Ground:
    """How a stretch of a device is read: `presence` of the whole minutes whose rollups are true, and the stretches to be
    read row by row, by time."""

    device: tuple[str, str]
    span: Span
    presence: Presence
    due: Int64s
    rest: tuple[Span, ...]


async def ground(house: Services, enterprise: str, uid: str, from_ms: int, to_ms: int) -> Ground:
    """How to read a stretch of a device."""
    low, high = -(-from_ms // MINUTE_MS) * MINUTE_MS, to_ms // MINUTE_MS * MINUTE_MS
    nothing = np.zeros(0, np.int64)
    if to_ms - from_ms <= _SHORT_MS:
        none = Presence(nothing, nothing, nothing)
        return Ground((enterprise, uid), (from_ms, to_ms), none, nothing, ((from_ms, to_ms),))
    due = np.array(
        sorted(await asyncio.to_thread(house.catalogue.due_minutes, enterprise, uid, low, high)), dtype=np.int64
    )
    presence = await house.historian.presence(enterprise, uid, low, high)
    presence = presence.where(~np.isin(presence.minute, due))
    return Ground((enterprise, uid), (from_ms, to_ms), presence, due, _rest(from_ms, to_ms, presence.minute, due))


def _rest(from_ms: int, to_ms: int, clean: Int64s, due: Int64s) -> tuple[Span, ...]:
    if not len(clean):
        return ((from_ms, to_ms),)
    first, last = int(clean[0]), int(clean[-1]) + MINUTE_MS
    between = due[(due >= first) & (due < last)]
    spans = [(from_ms, first), *runs(between, _ENDLESS), (last, to_ms)]
    return tuple(span for span in spans if span[0] < span[1])


async def read(house: Services, ground: Ground, tag: str) -> tuple[Moments, int]:
    """The moments of a tag over the stretch, in groups of a minute (parts of one at the ends), and how many of them came
    from rollups."""
    enterprise, uid = ground.device
    parts: list[Moments] = []
    rolled = 0
    if len(ground.presence.minute):
        low, high = int(ground.presence.minute[0]), int(ground.presence.minute[-1]) + MINUTE_MS
        found = await house.historian.rollups(enterprise, uid, tag, low, high)
        if len(ground.due):
            found = found.where(~np.isin(found.start, ground.due))
        parts.append(found)
        rolled = len(found)
    for low, high in bridged(ground.rest):
        async for rows in pages(house, enterprise, uid, tag, low, high):
            parts.append(only_within(ground, moments.roll(rows)[1], low, high))
    return moments.join(parts), rolled


def bridged(rest: tuple[Span, ...]) -> list[Span]:
    """The stretches to be read, neighbours read at once where there are very many."""
    spans, near = list(rest), MINUTE_MS
    while len(spans) > _MOST_RUNS:
        joined = [spans[0]]
        for low, high in spans[1:]:
            if low - joined[-1][1] <= near:
                joined[-1] = (joined[-1][0], high)
            else:
                joined.append((low, high))
        spans, near = joined, near * 2
    return spans


def only_within(ground: Ground, groups: Moments, low: int, high: int) -> Moments:
    """Groups that were read row by row, without those whose rollups were read as well."""
    if (low, high) in ground.rest:
        return groups
    return groups.where(~np.isin(groups.start, ground.presence.minute))


async def pages(
    house: Services, enterprise: str, uid: str, tag: str, from_ms: int, to_ms: int, size: int = PAGE
) -> AsyncGenerator[Samples]:
    """All rows of a stretch by time, in pages of some `size`; none is empty."""
    while from_ms < to_ms:
        rows = await house.historian.range(enterprise, uid, tag, from_ms, to_ms, size)
        if len(rows) < size:
            if len(rows):
                yield rows
            return
        last = int(rows.time[-1])  # of a tag whose type changed another row may follow at the same time
        whole = rows.where(rows.time < last)
        if not len(whole):
            raise ValueError("a page holds more than the rows of one millisecond")
        yield whole
        from_ms = last


async def rows(house: Services, enterprise: str, uid: str, tag: str, from_ms: int, to_ms: int) -> Samples:
    """All rows of a stretch by time."""
    return concat([page async for page in pages(house, enterprise, uid, tag, from_ms, to_ms)])
