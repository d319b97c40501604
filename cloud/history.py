"""What was: rows, aggregates, coverage."""

import asyncio
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query

from cloud import fleet
from cloud.auth import Caller, House
from cloud.errors import ApiError, Json, invalid
from telemetry import clock, plain

router = APIRouter()

MAX_ROWS = 100_000
MAX_BUCKETS = 10_000
_FAR = 1 << 53

From = Annotated[int, Query(alias="from", ge=-_FAR, le=_FAR, description="UTC ms, inclusive")]
To = Annotated[int, Query(alias="to", ge=-_FAR, le=_FAR, description="UTC ms, exclusive")]
Tag = Annotated[str, Query(min_length=1, max_length=256)]


@router.get("/devices/{uid}/history")
async def history(
    uid: str,
    tag: Tag,
    from_ms: From,
    to_ms: To,
    caller: Caller,
    house: House,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 10_000,
) -> Json:
    """Raw rows of one tag by time; `more` if the limit cut them."""
    _check(from_ms, to_ms)
    one = await fleet.device(house.catalogue, caller.enterprise, uid)
    samples = await house.historian.range(caller.enterprise, uid, tag, from_ms, to_ms, limit + 1)
    if not len(samples):
        _check_tag(one, tag)
    more = len(samples) > limit
    samples = samples.where(np.arange(min(limit, len(samples))))
    rows = list(zip(samples.time.tolist(), plain.values(samples), samples.quality.tolist(), strict=True))
    return Json({"server_ms": clock.now_ms(), "device": uid, "tag": tag, "rows": rows, "more": more})


@router.get("/devices/{uid}/aggregate")
async def aggregate(
    uid: str,
    tag: Tag,
    from_ms: From,
    to_ms: To,
    caller: Caller,
    house: House,
    buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS)] = 500,
) -> Json:
    """Count, mean, least and greatest of one tag in equal stretches; null where there is nothing."""
    _check(from_ms, to_ms)
    one = await fleet.device(house.catalogue, caller.enterprise, uid)
    found = await house.historian.aggregate(caller.enterprise, uid, tag, from_ms, to_ms, buckets)
    if not found.count.any():
        _check_tag(one, tag)
    return Json(
        {
            "server_ms": clock.now_ms(),
            "device": uid,
            "tag": tag,
            "start": found.start.tolist(),
            "count": found.count.tolist(),
            "mean": found.mean.tolist(),
            "min": found.minimum.tolist(),
            "max": found.maximum.tolist(),
        }
    )


@router.get("/devices/{uid}/coverage")
async def coverage(uid: str, from_ms: From, to_ms: To, caller: Caller, house: House) -> Json:
    """How much of a stretch is there, and which of its gaps are stated."""
    _check(from_ms, to_ms)
    one = await fleet.device(house.catalogue, caller.enterprise, uid)
    spans = await house.historian.coverage(caller.enterprise, uid, from_ms, to_ms)

    def stated() -> tuple[list[dict[str, Any]], int]:
        gaps = [
            {"from": gap.from_ms, "to": gap.to_ms, "reason": gap.reason, "edge": gap.address.edge}
            for address in one.edges
            for gap in house.catalogue.gaps(address, from_ms, to_ms)
        ]
        return gaps, min(house.catalogue.queryable_to_ms(address) for address in one.edges)

    gaps, queryable_to_ms = await asyncio.to_thread(stated)
    return Json(
        {
            "server_ms": clock.now_ms(),
            "device": uid,
            "tags": {tag: {"count": s.count, "first": s.first, "last": s.last} for tag, s in spans.items()},
            "gaps": sorted(gaps, key=lambda gap: gap["from"]),
            "queryable_to_ms": queryable_to_ms,
        }
    )


def _check(from_ms: int, to_ms: int) -> None:
    if from_ms >= to_ms:
        raise invalid("from", "必须早于 to", "must be earlier than to")


def _check_tag(one: fleet.Carried, tag: str) -> None:
    """A tag that is neither declared now nor has any rows is a mistake, not an empty history."""
    if all(spec.id != tag for spec in one.spec.tags):
        raise ApiError(404, "unknown_tag", f"设备没有测点 {tag}", f"the device has no tag {tag}")
