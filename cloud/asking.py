"""How a stretch of a machine's tags is asked for, by whichever route."""

from typing import Annotated

from fastapi import Query

from cloud import fleet
from cloud.errors import ApiError, invalid
from cloud.fleet import Carried
from cloud.services import Services
from telemetry.dictionary import TagSpec

_FAR = 1 << 53
MAX_SERIES = 16

From = Annotated[int, Query(alias="from", ge=-_FAR, le=_FAR, description="UTC ms, inclusive")]
To = Annotated[int, Query(alias="to", ge=-_FAR, le=_FAR, description="UTC ms, exclusive")]
Tag = Annotated[str, Query(min_length=1, max_length=256)]
Series = Annotated[
    list[Annotated[str, Query(min_length=3, max_length=512)]],
    Query(min_length=1, max_length=MAX_SERIES, description="device:tag, up to 16 times"),
]


def check_order(from_ms: int, to_ms: int) -> None:
    """Raises ApiError for a stretch that ends before it begins."""
    if from_ms >= to_ms:
        raise invalid("from", "必须早于 to", "must be earlier than to")


def spec_of(one: Carried, tag: str) -> TagSpec | None:
    """The tag as it is declared now; None for one that is not (but may have been)."""
    return next((spec for spec in one.spec.tags if spec.id == tag), None)


def check_tag(one: Carried, tag: str) -> None:
    """A tag that is neither declared now nor has any rows is a mistake, not an empty history. Raises ApiError."""
    if spec_of(one, tag) is None:
        raise ApiError(404, "unknown_tag", f"设备没有测点 {tag}", f"the device has no tag {tag}")


async def series_of(house: Services, enterprise: str, series: list[str]) -> list[tuple[Carried, str]]:
    """Machine and tag of each `device:tag`. Raises ApiError for a machine that the enterprise does not have."""
    known = await fleet.devices(house.catalogue, enterprise)
    out: list[tuple[Carried, str]] = []
    for one in series:
        uid = max((u for u in known if one.startswith(f"{u}:")), key=len, default=None)
        if uid is None:
            raise ApiError(404, "unknown_device", f"没有设备 {one}", f"there is no device {one}")
        out.append((known[uid], one[len(uid) + 1 :]))
    return out
