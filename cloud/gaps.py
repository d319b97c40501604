"""Where a machine has no rows, and why; and which rows came late.

A gap is a stretch without any row of the machine, longer than a minute and than three periods of its fastest tag: a single
tag may be silent, for its value does not change. Its reason is what an edge stated (the agent was stopped, the outbox was
full), else what the last rows before it say (no reply, not connected), else `unstated`. Whatever an edge stated is shown.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from cloud.fleet import Carried
from cloud.services import Services
from cloud.summary import Ground, Span
from ingest.catalogue import GapEntry
from ingest.historian.moments import MINUTE_MS
from telemetry import clock
from telemetry.samples import Int64s, Quality, reason_name

LEAST_MS = 60_000
UNSTATED = "unstated"
_SLACK_MS = 60_000  # from an agent's start to its first row
_SLICES = 12
_EXPLAINED = 40
_BEFORE_MS, _AFTER_MS = 1_000, 30_000  # where rows that say "no reply" stand, around the last good one


class GapFields(BaseModel):
    """A stretch without rows (UTC ms) and why; `unstated` where nothing says."""

    from_: int = Field(alias="from")
    to: int
    reason: str


class LateFields(BaseModel):
    """Rows of a stretch that arrived more than a minute after the newest of their frame, and when the last of them did."""

    from_: int = Field(alias="from")
    to: int
    arrival_ms: int


@dataclass(frozen=True, slots=True)
class Missing:
    """What is missing of a machine in a stretch, and what came late."""

    gaps: list[dict[str, Any]]
    late: list[dict[str, Any]]


async def missing(house: Services, one: Carried, ground: Ground, tag: str) -> Missing:
    """Gaps and late stretches of a machine. `tag`: the one whose rows are asked why a gap began."""
    from_ms, to_ms = ground.span

    def stated() -> tuple[list[GapEntry], list[dict[str, Any]]]:
        gaps = [gap for address in one.edges for gap in house.catalogue.gaps(address, from_ms, to_ms)]
        return gaps, late(house, one, from_ms, to_ms)

    said, came_late = await asyncio.to_thread(stated)
    first, last = await _present(house, ground)
    least = max(LEAST_MS, 3 * min((spec.period_ms for spec in one.spec.tags), default=0))
    holes = holes_between(first, last, end_ms=min(to_ms, clock.now_ms()), least_ms=least)
    told = [(max(gap.from_ms, from_ms), min(gap.to_ms, to_ms), gap.reason) for gap in said]
    out = [*told, *(await _explained(house, ground, tag, unstated(holes, told, least_ms=least)))]
    return Missing([{"from": a, "to": b, "reason": why} for a, b, why in sorted(set(out))], came_late)


def late(house: Services, one: Carried, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
    """Late stretches of a machine's edges. Blocks."""
    spans = [span for address in one.edges for span in house.catalogue.late(address, from_ms, to_ms)]
    found = [{"from": span.from_ms, "to": span.to_ms, "arrival_ms": span.arrival_ms} for span in spans]
    return sorted(found, key=lambda span: (span["from"], span["to"]))


def holes_between(first: Int64s, last: Int64s, *, end_ms: int, least_ms: int) -> list[Span]:
    """Stretches of at least `least_ms` between the last row of one stretch with rows and the first of the next, and to the
    end; `first` and `last` of stretches that do not overlap, by time."""
    if not len(first):
        return []
    ends = np.maximum.accumulate(last)
    begins = np.append(first[1:], max(end_ms, int(ends[-1])))
    wide = begins - ends >= least_ms
    return list(zip(ends[wide].tolist(), begins[wide].tolist(), strict=True))


def unstated(holes: Sequence[Span], told: Sequence[tuple[int, int, str]], *, least_ms: int) -> list[Span]:
    """What is left of holes when stated stretches are taken out of them, some seconds around each included."""
    out: list[Span] = []
    for low, high in holes:
        for start, end, _ in sorted(told):
            if end + _SLACK_MS <= low or start - _SLACK_MS >= high:
                continue
            if start - low >= least_ms:
                out.append((low, start))
            low = max(low, end + _SLACK_MS if high - end <= _SLACK_MS else end)
        if high - low >= least_ms:
            out.append((low, high))
    return out


async def _present(house: Services, ground: Ground) -> tuple[Int64s, Int64s]:
    """First and last times of stretches with rows, by time."""
    spans: list[Span] = []
    slices = 0
    for low, high in ground.rest:
        cuts = [low, *range((low // MINUTE_MS + 1) * MINUTE_MS, min(high, low + 2 * _SLICES * MINUTE_MS), MINUTE_MS)]
        slices += len(cuts)
        if slices > _SLICES or high - low > _SLICES * MINUTE_MS:
            if len(ground.presence.minute):  # not told yet; nothing is said of it until its rollups are made
                spans.append((low, high))
            continue
        for a, b in zip(cuts, [*cuts[1:], high], strict=True):
            tags = await house.historian.coverage(*ground.device, a, b)
            if tags:
                spans.append((min(s.first for s in tags.values()), max(s.last for s in tags.values())))
    first = np.concatenate([ground.presence.first, np.array([a for a, _ in spans], dtype=np.int64)])
    last = np.concatenate([ground.presence.last, np.array([b for _, b in spans], dtype=np.int64)])
    order = np.argsort(first, kind="stable")
    return first[order], last[order]


async def _explained(house: Services, ground: Ground, tag: str, holes: list[Span]) -> list[tuple[int, int, str]]:
    """Holes with what the last rows before each say, for the longest."""
    longest = set(sorted(holes, key=lambda hole: hole[0] - hole[1])[:_EXPLAINED])
    out: list[tuple[int, int, str]] = []
    for low, high in holes:
        why = UNSTATED
        if (low, high) in longest:
            until = min(high, low + _AFTER_MS)
            rows = await house.historian.range(*ground.device, tag, low - _BEFORE_MS, until, 1000)
            code = int(rows.quality[-1]) if len(rows) else 0
            if code & Quality.BAD and code & Quality.NO_VALUE:
                why = reason_name(code)
        out.append((low, high, why))
    return out
