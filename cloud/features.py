"""What a stretch of a tag was like: count, least, greatest, mean, spread, slope. The same as computed from its rows."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from cloud import fleet, summary
from cloud.answers import Answer, DeviceInPath, answer
from cloud.asking import From, Tag, To, check_order, check_tag
from cloud.auth import Caller, House
from cloud.errors import Json
from ingest.historian import moments
from ingest.historian.moments import Features, Moments

router = APIRouter()

Number = int | float


class FeatureFields(BaseModel):
    """Over rows with a finite number that are not bad; null where there is none. `std` is the population's, `trend_per_h`
    the least squares slope, `from_rollups` how many minutes were answered from rollups. Times are UTC ms."""

    count: int
    min: Number | None
    min_t: int | None
    max: Number | None
    max_t: int | None
    mean: float | None
    std: float | None
    trend_per_h: float | None
    first_t: int | None
    last_t: int | None
    from_rollups: int


class FeaturesAnswer(Answer, FeatureFields):
    """Features of one tag."""

    device: str
    tag: str


@router.get("/devices/{uid}/features", response_model=FeaturesAnswer)
async def features(uid: DeviceInPath, tag: Tag, from_ms: From, to_ms: To, caller: Caller, house: House) -> Json:
    """Features of one tag over any range: whole minutes from rollups, the rest from rows."""
    check_order(from_ms, to_ms)
    one = await fleet.device(house.catalogue, caller.enterprise, uid)
    how = await summary.ground(house, caller.enterprise, uid, from_ms, to_ms)
    found, rolled = await summary.read(house, how, tag)
    if not len(found):
        check_tag(one, tag)
    return answer(device=uid, tag=tag, **described(found, rolled))


def described(groups: Moments, rolled: int) -> dict[str, Any]:
    """Features of some groups, for an answer."""
    found: Features = moments.features(groups)
    return {**asdict(found), "from_rollups": rolled}
