"""What was: rows and aggregates."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query

from cloud import fleet
from cloud.answers import Answer, DeviceInPath, answer
from cloud.asking import From, Tag, To, check_order, check_tag
from cloud.auth import Caller, House
from cloud.errors import Json
from telemetry import plain

router = APIRouter()

MAX_ROWS = 100_000
MAX_BUCKETS = 10_000


class HistoryAnswer(Answer):
    """Rows [t, v, q] by time: UTC ms, a value of the tag's kind (null where there is none), the quality's code."""

    device: str
    tag: str
    rows: list[tuple[int, Any, int]]
    more: bool


class AggregateAnswer(Answer):
    """Equal stretches as columns; null where there is nothing."""

    device: str
    tag: str
    start: list[int]
    count: list[int]
    mean: list[float | None]
    min: list[float | None]
    max: list[float | None]


@router.get("/devices/{uid}/history", response_model=HistoryAnswer)
async def history(
    uid: DeviceInPath,
    tag: Tag,
    from_ms: From,
    to_ms: To,
    caller: Caller,
    house: House,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 10_000,
) -> Json:
    """Raw rows of one tag by time; `more` if the limit cut them."""
    check_order(from_ms, to_ms)
    one = await fleet.device(house.catalogue, caller.enterprise, uid)
    samples = await house.historian.range(caller.enterprise, uid, tag, from_ms, to_ms, limit + 1)
    if not len(samples):
        check_tag(one, tag)
    more = len(samples) > limit
    samples = samples.where(np.arange(min(limit, len(samples))))
    rows = list(zip(samples.time.tolist(), plain.values(samples), samples.quality.tolist(), strict=True))
    return answer(device=uid, tag=tag, rows=rows, more=more)


@router.get("/devices/{uid}/aggregate", response_model=AggregateAnswer)
async def aggregate(
    uid: DeviceInPath,
    tag: Tag,
    from_ms: From,
    to_ms: To,
    caller: Caller,
    house: House,
    buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS)] = 500,
) -> Json:
    """Count, mean, least and greatest of one tag in equal stretches; null where there is nothing."""
    check_order(from_ms, to_ms)
    one = await fleet.device(house.catalogue, caller.enterprise, uid)
    found = await house.historian.aggregate(caller.enterprise, uid, tag, from_ms, to_ms, buckets)
    if not found.count.any():
        check_tag(one, tag)
    return answer(
        device=uid,
        tag=tag,
        start=found.start.tolist(),
        count=found.count.tolist(),
        mean=found.mean.tolist(),
        min=found.minimum.tolist(),
        max=found.maximum.tolist(),
    )
