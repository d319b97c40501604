"""Machines and their newest values."""

import asyncio
from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from cloud import fleet
from cloud.answers import Answer, DeviceInPath, answer, reading
from cloud.auth import Caller, House
from cloud.errors import Json
from cloud.fleet import Carried
from ingest.historian.base import Historian, Rows
from telemetry import clock, plain

router = APIRouter()

_AT_ONCE = 8


class TimeAnswer(BaseModel):
    """The cloud's clock, UTC ms."""

    now_ms: int


class Tag(BaseModel):
    """A tag as the machine's edge declared it."""

    id: str
    kind: Literal["float", "int", "uint", "bool", "enum", "string", "array"]
    unit: str
    resolution: str | None
    period_ms: int
    source_time: bool
    deadband: float


class Device(BaseModel):
    """A machine. `last_ms`: the time of its newest value."""

    enterprise: str
    uid: str
    type: str
    name: str
    edge: str
    simulated: bool
    nameplate: dict[str, str]
    dictionary: str
    tags: list[Tag]
    last_ms: int | None


class DevicesAnswer(Answer):
    """Machines."""

    devices: list[Device]


class Carriage(BaseModel):
    """An edge that carried a machine; `to_ms` None: it still does. Cloud times."""

    edge: str
    from_ms: int
    to_ms: int | None


class RegisteredDevice(Device):
    """A machine with its history of gateways. `first_ms`: when it was first declared."""

    first_ms: int | None
    gateways: list[Carriage]


class DeviceAnswer(Answer):
    """One machine."""

    device: RegisteredDevice


class Value(BaseModel):
    """A value at its time with its quality; `v` null where there is none."""

    t: int
    v: bool | int | float | str | list[float | None] | None
    q: int


class LatestAnswer(Answer):
    """The newest value of every tag of a machine."""

    device: str
    simulated: bool
    values: dict[str, Value]


@router.get("/time", response_model=TimeAnswer)
async def time(_: Caller) -> Json:
    """The cloud's clock."""
    return Json({"now_ms": clock.now_ms()})


@router.get("/devices", response_model=DevicesAnswer)
async def devices(caller: Caller, house: House) -> Json:
    """All machines of the caller's enterprise."""
    carried = await fleet.devices(house.catalogue, caller.enterprise)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def last(uid: str) -> int | None:
        async with gate:
            return await house.hub.last_ms(caller.enterprise, uid)

    lasts = await asyncio.gather(*map(last, carried))
    listed = [_describe(caller.enterprise, one, last_ms) for one, last_ms in zip(carried.values(), lasts, strict=True)]
    return answer(devices=listed)


@router.get("/devices/{uid}", response_model=DeviceAnswer)
async def device(uid: DeviceInPath, caller: Caller, house: House) -> Json:
    """One machine, and which gateways carried it when."""
    one = await fleet.device(house.catalogue, caller.enterprise, uid)

    def register() -> tuple[int | None, list[fleet.Gateway]]:
        fleet.sync(house.database, caller.enterprise)
        return reading(house, lambda db: fleet.registered(db, caller.enterprise, uid))

    first_ms, gateways = await asyncio.to_thread(register)
    last_ms = await house.hub.last_ms(caller.enterprise, uid)
    told = _describe(caller.enterprise, one, last_ms) | {"first_ms": first_ms}
    return answer(device=told | {"gateways": [asdict(gateway) for gateway in gateways]})


@router.get("/devices/{uid}/latest", response_model=LatestAnswer)
async def latest(uid: DeviceInPath, caller: Caller, house: House) -> Json:
    """The newest row of every tag."""
    one = await fleet.device(house.catalogue, caller.enterprise, uid)
    rows = await newest_rows(house.historian, caller.enterprise, uid)
    values = {tag: {"t": t, "v": v, "q": q} for tag, t, v, q in rows}
    return answer(device=uid, simulated=one.spec.simulated, values=values)


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
