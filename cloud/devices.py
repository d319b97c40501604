"""Machines and their newest values."""

import asyncio
from typing import Any

from fastapi import APIRouter

from cloud import fleet
from cloud.auth import Caller, House
from cloud.errors import Json
from cloud.fleet import Carried
from ingest.historian.base import Historian, Rows
from telemetry import clock, plain

router = APIRouter()

_AT_ONCE = 8


@router.get("/time")
async def time(_: Caller) -> Json:
    """The cloud's clock."""
    return Json({"now_ms": clock.now_ms()})


@router.get("/devices")
async def devices(caller: Caller, house: House) -> Json:
    """All machines of the caller's enterprise."""
    carried = await fleet.devices(house.catalogue, caller.enterprise)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def last(uid: str) -> int | None:
        async with gate:
            rows = await house.historian.latest(caller.enterprise, uid)
        return int(rows.samples.time.max()) if len(rows.samples) else None

    lasts = await asyncio.gather(*map(last, carried))
    listed = [_describe(caller.enterprise, one, last_ms) for one, last_ms in zip(carried.values(), lasts, strict=True)]
    return Json({"server_ms": clock.now_ms(), "devices": listed})


@router.get("/devices/{uid}/latest")
async def latest(uid: str, caller: Caller, house: House) -> Json:
    """The newest row of every tag."""
    one = await fleet.device(house.catalogue, caller.enterprise, uid)
    rows = await newest_rows(house.historian, caller.enterprise, uid)
    values = {tag: {"t": t, "v": v, "q": q} for tag, t, v, q in rows}
    return Json({"server_ms": clock.now_ms(), "device": uid, "simulated": one.spec.simulated, "values": values})


async def newest_rows(historian: Historian, enterprise: str, uid: str) -> list[list[Any]]:
    """The newest row of every tag as [tag, t, v, q]."""
    return _rows(await historian.latest(enterprise, uid))


def _rows(rows: Rows) -> list[list[Any]]:
    samples = rows.samples
    columns = (samples.tag.tolist(), samples.time.tolist(), plain.values(samples), samples.quality.tolist())
    return [[rows.tags[tag], t, v, q] for tag, t, v, q in zip(*columns, strict=True)]


def _describe(enterprise: str, one: Carried, last_ms: int | None) -> dict[str, Any]:
    spec = one.spec
    return {
        "enterprise": enterprise,
        "uid": spec.uid,
        "type": spec.type,
        "name": spec.name,
        "edge": one.edge,
        "simulated": spec.simulated,
        "nameplate": dict(spec.nameplate),
        "dictionary": one.dictionary.hash.hex(),
        "tags": [
            {
                "id": tag.id,
                "kind": tag.kind.name.lower(),
                "unit": tag.unit,
                "resolution": tag.resolution,
                "period_ms": tag.period_ms,
                "source_time": tag.source_time,
                "deadband": tag.deadband,
            }
            for tag in spec.tags
        ],
        "last_ms": last_ms,
    }
