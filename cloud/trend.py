"""Curves of several tags over any range, with features, gaps and what came late: what the trend page draws.

All rows where they are few; else buckets, from rows over some hours and from rollups over more. The answer names the query
by its hash, so that a picture can be held against what was asked.
"""

import asyncio
import hashlib
import json
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from pydantic import BaseModel

from cloud import gaps, reduce, summary
from cloud.answers import Answer, answer
from cloud.asking import From, Series, To, check_order, check_tag, series_of, spec_of
from cloud.auth import Caller, House
from cloud.errors import Json
from cloud.features import FeatureFields, Number, described
from cloud.fleet import Carried
from cloud.gaps import GapFields, LateFields
from cloud.services import Services
from cloud.summary import Ground
from ingest.historian import moments
from ingest.historian.moments import MINUTE_MS
from telemetry.equipment import equipment_types
from telemetry.samples import Int64s, Samples, severity_name

router = APIRouter()

MAX_POINTS = 2000
FEW_ROWS = 25_000  # so many are read rather than their rollups


class Buckets(BaseModel):
    """Equal stretches as columns; null where there are no usable rows. `start` in UTC ms."""

    start: list[int]
    count: list[int]
    mean: list[float | None]
    min: list[Number | None]
    max: list[Number | None]


class Curve(BaseModel):
    """One series. `raw`: the points are all its rows; a point without a value breaks the line. Else they are the least and
    greatest row of every bucket and the first and last of all. `quality`: rows by severity, where all were read."""

    device: str
    tag: str
    unit: str
    kind: str
    zh: str
    en: str
    simulated: bool
    period_ms: int | None
    raw: bool
    points: list[tuple[int, Number | None]]
    buckets: Buckets | None
    features: FeatureFields
    quality: dict[str, int] | None
    gaps: list[GapFields]
    late: list[LateFields]


class TrendAnswer(Answer):
    """Curves in the order in which they were asked for. `query`: SHA-256 of the canonical JSON of what was asked."""

    query: str
    series: list[Curve]


@router.get("/trend", response_model=TrendAnswer)
async def trend(
    series: Series,
    from_ms: From,
    to_ms: To,
    caller: Caller,
    house: House,
    points: Annotated[int, Query(ge=1, le=MAX_POINTS)] = 1000,
) -> Json:
    """Curves of up to 16 tags."""
    check_order(from_ms, to_ms)
    wanted = await series_of(house, caller.enterprise, series)
    uids = {one.spec.uid: (one, tag) for one, tag in reversed(wanted)}
    grounds = dict(
        zip(
            uids,
            await asyncio.gather(*(summary.ground(house, caller.enterprise, u, from_ms, to_ms) for u in uids)),
            strict=True,
        )
    )
    curves, missing = await asyncio.gather(
        asyncio.gather(*(_curve(house, one, tag, grounds[one.spec.uid], points) for one, tag in wanted)),
        asyncio.gather(*(gaps.missing(house, one, grounds[u], tag) for u, (one, tag) in uids.items())),
    )
    by_device = dict(zip(uids, missing, strict=True))
    for curve in curves:
        curve |= {"gaps": by_device[curve["device"]].gaps, "late": by_device[curve["device"]].late}
    return answer(query=query_hash(caller.enterprise, series, from_ms, to_ms, points), series=curves)


def query_hash(enterprise: str, series: list[str], from_ms: int, to_ms: int, points: int) -> str:
    """SHA-256 over the canonical JSON (sorted keys, no blanks, UTF-8) of a query."""
    asked = {"enterprise": enterprise, "series": series, "from": from_ms, "to": to_ms, "points": points}
    text = json.dumps(asked, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()


async def _curve(house: Services, one: Carried, tag: str, ground: Ground, points: int) -> dict[str, Any]:
    from_ms, to_ms = ground.span
    device = (*ground.device, tag)
    buckets = max(2, points // 2)
    rows: Samples | None = None
    rolled = 0
    groups = moments.no_moments()
    long = to_ms - from_ms >= buckets * MINUTE_MS
    if long:
        groups, rolled = await summary.read(house, ground, tag)
    if not long or int(groups.count.sum()) <= FEW_ROWS:
        rows = await summary.rows(house, *device, from_ms, to_ms)
    if rows is None:
        how = reduce.minute_grid(from_ms, to_ms, buckets)
        number, joined = await asyncio.to_thread(reduce.joined, groups, how)
        drawn = _reduced(number, joined, await _ends(house, device, joined), how)
        found = {**drawn, "features": described(joined, rolled), "quality": None}
    else:
        if not len(rows):
            check_tag(one, tag)
        found = await asyncio.to_thread(of_rows, rows, from_ms, to_ms, points, buckets)
    return {**_names(one, tag), **found}


def of_rows(rows: Samples, from_ms: int, to_ms: int, points: int, buckets: int) -> dict[str, Any]:
    qualities: dict[str, int] = {}
    for code, count in zip(*_counts(rows), strict=True):
        name = severity_name(code)
        qualities[name] = qualities.get(name, 0) + count
    rows = reduce.numeric(rows)
    how = reduce.grid(from_ms, to_ms, buckets)
    _, groups = moments.roll(rows, origin=how.origin, width=how.width)
    also = {"features": described(groups, 0), "quality": qualities}
    if int(groups.count.sum()) <= points:
        return {"raw": True, "points": reduce.raw_points(rows), "buckets": None, **also}
    good = rows.where(reduce.usable(rows))
    ends = reduce.raw_points(good.where(_first_and_last(len(good))))
    return {**_reduced(*reduce.joined(groups, how), ends, how), **also}


def _reduced(number: Int64s, buckets: moments.Moments, ends: list[reduce.Point], how: reduce.Grid) -> dict[str, Any]:
    return {"raw": False, "points": reduce.points(buckets, ends), "buckets": reduce.columns(number, buckets, how)}


async def _ends(house: Services, device: tuple[str, str, str], groups: moments.Moments) -> list[reduce.Point]:
    """The first and last usable row."""
    out: list[reduce.Point] = []
    some = groups.where(groups.count > 0)
    if len(some):
        for time in (int(some.first_t.min()), int(some.last_t.max())):
            rows = reduce.numeric(await house.historian.range(*device, time, time + 1, 8))
            out += reduce.raw_points(rows.where(reduce.usable(rows)))
    return out


def _first_and_last(count: int) -> Any:
    return np.array([0, count - 1] if count > 1 else [0] * count, dtype=np.int64)


def _counts(rows: Samples) -> tuple[list[int], list[int]]:
    codes, counts = np.unique(rows.quality, return_counts=True)
    return codes.tolist(), counts.tolist()


def _names(one: Carried, tag: str) -> dict[str, Any]:
    spec = spec_of(one, tag)
    kind = equipment_types().get(one.spec.type)
    known = next((t for t in kind.tags if t.id == tag), None) if kind is not None else None
    return {
        "device": one.spec.uid,
        "tag": tag,
        "unit": spec.unit if spec is not None else "",
        "kind": spec.kind.name.lower() if spec is not None else "float",
        "zh": known.zh if known is not None else tag,
        "en": tag.replace("_", " "),
        "simulated": one.spec.simulated,
        "period_ms": spec.period_ms if spec is not None else None,
    }
