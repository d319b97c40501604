"""How much of a stretch of a machine is there, which of its gaps are stated, what came late, how far back it reaches."""

import asyncio
import datetime as dt
from typing import Any

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, Field

from cloud import fleet, gaps, summary
from cloud.answers import Answer, DeviceInPath, answer
from cloud.asking import From, To, check_order
from cloud.auth import Caller, House
from cloud.errors import Json
from cloud.gaps import GapFields, LateFields
from cloud.services import Services
from cloud.summary import Ground

router = APIRouter()

_DAY_MS = 86_400_000
_MINUTES_A_DAY = 1440
_MOST_DAYS = 400  # that are counted from rows


class Extent(BaseModel):
    """Rows with a value, and the times of the first and last (UTC ms)."""

    count: int
    first: int
    last: int


class StatedGap(GapFields):
    """A gap that an edge stated."""

    edge: str


class Day(BaseModel):
    """A day (UTC) and in how many of its minutes there are rows, as far as rollups tell; else at most so many."""

    day: str
    count: int = Field(ge=1, le=_MINUTES_A_DAY)


class CoverageAnswer(Answer):
    """`oldest_ms`: of all there is of the machine; `queryable_to_ms`: arrival time up to which rows are here."""

    device: str
    tags: dict[str, Extent]
    gaps: list[StatedGap]
    late: list[LateFields]
    oldest_ms: int | None
    days: list[Day] | None
    queryable_to_ms: int


@router.get("/devices/{uid}/coverage", response_model=CoverageAnswer)
async def coverage(
    uid: DeviceInPath, from_ms: From, to_ms: To, caller: Caller, house: House, days: bool = False
) -> Json:
    """How much of a stretch is there. `days` lists the days with rows, too."""
    check_order(from_ms, to_ms)
    one = await fleet.device(house.catalogue, caller.enterprise, uid)

    def stated() -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
        found = [
            {"from": gap.from_ms, "to": gap.to_ms, "reason": gap.reason, "edge": gap.address.edge}
            for address in one.edges
            for gap in house.catalogue.gaps(address, from_ms, to_ms)
        ]
        queryable = min(house.catalogue.queryable_to_ms(address) for address in one.edges)
        return found, gaps.late(house, one, from_ms, to_ms), queryable

    (found, late, queryable_to_ms), spans, oldest = await asyncio.gather(
        asyncio.to_thread(stated),
        house.historian.coverage(caller.enterprise, uid, from_ms, to_ms),
        house.historian.oldest(caller.enterprise, uid),
    )
    listed = None
    if days:
        low = from_ms if oldest is None else max(from_ms, oldest)
        listed = await _days(house, caller.enterprise, uid, low, to_ms) if low < to_ms and oldest is not None else []
    return answer(
        device=uid,
        tags={tag: {"count": s.count, "first": s.first, "last": s.last} for tag, s in spans.items()},
        gaps=sorted(found, key=lambda gap: gap["from"]),
        late=late,
        oldest_ms=oldest,
        days=listed,
        queryable_to_ms=queryable_to_ms,
    )


async def _days(house: Services, enterprise: str, uid: str, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
    ground = await summary.ground(house, enterprise, uid, from_ms, to_ms)
    number, count = np.unique(ground.presence.minute // _DAY_MS, return_counts=True)
    found = dict(zip(number.tolist(), count.tolist(), strict=True))
    for day, minutes in (await _unrolled(house, ground)).items():
        found[day] = min(_MINUTES_A_DAY, found.get(day, 0) + minutes)
    first = dt.date(1970, 1, 1)
    return [{"day": (first + dt.timedelta(days=day)).isoformat(), "count": found[day]} for day in sorted(found)]


async def _unrolled(house: Services, ground: Ground) -> dict[int, int]:
    """Days with rows in the stretches without rollups: at most in so many minutes."""
    out: dict[int, int] = {}
    newest = max(
        (s.last for s in (await house.historian.coverage(*ground.device, *ground.rest[-1])).values()), default=0
    )
    for low, high in summary.bridged(ground.rest):
        days = range(low // _DAY_MS, (min(high, max(newest + 1, low + 1)) - 1) // _DAY_MS + 1)
        for day in days[-_MOST_DAYS:]:
            a, b = max(low, day * _DAY_MS), min(high, (day + 1) * _DAY_MS)
            tags = await house.historian.coverage(*ground.device, a, b) if a < b else {}
            if tags:
                most = max(span.count for span in tags.values())
                out[day] = out.get(day, 0) + min(most, -(-(b - a) // 60_000))
    return out
