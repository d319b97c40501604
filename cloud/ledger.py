"""Proofs out of the ledger, for someone who trusts none of this house: everything can be checked with `telemetry.proof`."""

import asyncio
import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from cloud.answers import Answer
from cloud.auth import Caller, House
from cloud.errors import ApiError, Json
from ingest.ledger.reader import Reader
from telemetry import clock
from telemetry import head as heads
from telemetry.head import Head, HeadError
from telemetry.proof import ProofError
from telemetry.topics import SHARDS, Address

router = APIRouter()


class HeadAnswer(Answer):
    """The newest signed head (COSE_Sign1, base64) and what it covers: [shard, size, root in hex]."""

    head: str
    time_ms: int
    shards: list[list[int | str]]


class ProofAnswer(Answer):
    """A ledger entry with its audit path (RFC 6962) up to the signed head. Bytes are base64."""

    shard: int
    leaf: int
    size: int
    entry: str
    path: list[str]
    root: str
    head: str
    shards: list[list[int | str]]


class ConsistencyAnswer(BaseModel):
    """A consistency proof (RFC 6962). Bytes are base64."""

    path: list[str]


_LARGE = 1 << 53

Shard = Annotated[int, Query(ge=0, lt=SHARDS)]
Size = Annotated[int, Query(ge=0, le=_LARGE)]


@router.get("/ledger/head", response_model=HeadAnswer)
async def head(_: Caller, house: House) -> Json:
    """The newest signed head. It covers all shards and tells nothing of anybody's content."""
    signed, newest = await asyncio.to_thread(_newest, house.ledger)
    return Json({"server_ms": clock.now_ms(), **_describe(signed, newest), "time_ms": newest.time_ms})


@router.get("/ledger/proof", response_model=ProofAnswer)
async def proof(
    edge: Annotated[str, Query(max_length=64)],
    stream: Annotated[str, Query(pattern="^[0-9a-f]{32}$")],
    sequence: Annotated[int, Query(ge=0, le=_LARGE)],
    caller: Caller,
    house: House,
) -> Json:
    """One committed item with the path that leads from it to a signed head."""

    def work() -> dict[str, Any]:
        place = house.catalogue.place(Address(caller.enterprise, edge), bytes.fromhex(stream), sequence)
        if place is None:
            raise ApiError(404, "not_committed", "该条目尚未入账", "no such item is committed")
        signed, newest = _newest(house.ledger)
        covered = {shard: (size, root) for shard, size, root in newest.shards}
        size, root = covered.get(place.shard, (0, b""))
        if size <= place.leaf:
            raise ApiError(
                409, "not_yet_covered", "签名树头尚未覆盖该条目，请稍后再试", "no signed head covers it yet: ask again"
            )
        return {
            "shard": place.shard,
            "leaf": place.leaf,
            "size": size,
            "entry": _text(house.ledger.entry(place.shard, place.leaf)),
            "path": [_text(step) for step in house.ledger.inclusion(place.shard, place.leaf, size)],
            "root": _text(root),
            **_describe(signed, newest),
        }

    return Json({"server_ms": clock.now_ms(), **await asyncio.to_thread(work)})


@router.get("/ledger/consistency", response_model=ConsistencyAnswer)
async def consistency(shard: Shard, old: Size, new: Size, _: Caller, house: House) -> Json:
    """Proof that a shard's first `new` leaves continue its first `old`."""
    try:
        path = await asyncio.to_thread(house.ledger.consistency, shard, old, new)
    except ProofError as error:
        raise ApiError(
            400, "invalid_parameter", "参数 old：不得大于 new", "parameter old: must not exceed new"
        ) from error
    return Json({"path": [_text(step) for step in path]})


def _newest(ledger: Reader) -> tuple[bytes, Head]:
    signed = ledger.latest_head()
    if signed is None:
        raise ApiError(404, "no_head", "账本尚无签名树头", "the ledger has no signed head yet")
    try:
        return signed, heads.read_unverified(signed)
    except HeadError as error:
        raise ApiError(503, "ledger_unavailable", "账本树头不可读", "the ledger's head cannot be read") from error


def _describe(signed: bytes, newest: Head) -> dict[str, Any]:
    return {"head": _text(signed), "shards": [[shard, size, root.hex()] for shard, size, root in newest.shards]}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
