"""The sealed items as an edge sent them, and for an inspector the keys of exactly those items.

With the edge's public key anyone checks who spoke and in what order; with an item's key its content is read and held against
the history. An epoch's key never leaves this house: only keys of single items do, and each time that is in the audit log.
"""

import asyncio
import base64
from collections.abc import Sequence
from typing import Annotated, Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from fastapi import APIRouter, Query
from pydantic import BaseModel

from cloud import audit
from cloud.answers import Answer, answer
from cloud.asking import From, To, check_order
from cloud.auth import Caller, House, Principal
from cloud.errors import ApiError, Json, invalid
from cloud.services import Services
from ingest import register
from ingest.catalogue import ItemEntry
from telemetry import entry, seal
from telemetry.items import ItemError, Opening
from telemetry.seal import ItemKind, SealError
from telemetry.topics import Address

router = APIRouter()

MAX_ITEMS = 500
_MOST_BYTES = 8 << 20
_LARGE = 1 << 53


class FrameItem(BaseModel):
    """An item of a stream: its header's place, where it lies in the ledger, and its bytes (base64). Times are those of its
    samples, 0 where it has none. `key` (base64, where asked for): opens this item alone; null for one that has none."""

    stream: str
    sequence: int
    hash: str
    kind: str
    shard: int
    leaf: int
    arrival_ms: int
    sealed: str
    first_ms: int
    last_ms: int
    dictionary: str
    key: str | None = None


class FramesAnswer(Answer):
    """Items by leaf, and the dictionaries that they name (hash → base64). `next`: what to ask `after` for the rest."""

    items: list[FrameItem]
    dictionaries: dict[str, str]
    more: bool
    next: int | None


@router.get("/frames", response_model=FramesAnswer)
async def frames(
    edge: Annotated[str, Query(min_length=1, max_length=64)],
    from_ms: From,
    to_ms: To,
    caller: Caller,
    house: House,
    kinds: Annotated[str | None, Query(max_length=100, description="data,loss,window,open,dictionary")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = 100,
    after: Annotated[int, Query(ge=-1, le=_LARGE, description="the leaf after which to go on")] = -1,
    keys: bool = False,
) -> Json:
    """An edge's sealed items whose samples touch a stretch. `keys` is for inspectors."""
    check_order(from_ms, to_ms)
    wanted = _kinds(kinds)
    if keys and not caller.may("frames.keys"):
        raise ApiError(403, "not_allowed", "您的角色没有该权限", f"the role {caller.role} may not have keys")
    if keys and house.exchange_key is None:
        raise ApiError(409, "keys_not_here", "密钥不在本机", "the exchange key does not lie on this computer")

    def work() -> dict[str, Any]:
        address = Address(caller.enterprise, edge)
        if register.find(house.database, address) is None:
            raise ApiError(404, "unknown_edge", f"没有边缘 {edge}", f"there is no edge {edge}")
        found = house.catalogue.items(address, from_ms, to_ms, kinds=wanted, after=after, limit=limit + 1)
        more = len(found) > limit
        items, cut = _described(house, address, found[:limit], house.exchange_key if keys else None)
        if keys:
            _recorded(house, caller, edge, from_ms, to_ms, items)
        return {
            "items": items,
            "dictionaries": _dictionaries(house, caller.enterprise, found[: len(items)]),
            "more": more or cut,
            "next": items[-1]["leaf"] if items else None,
        }

    return answer(**await asyncio.to_thread(work))


def _kinds(text: str | None) -> Sequence[ItemKind]:
    names = {kind.name.lower(): kind for kind in ItemKind}
    if text is None:
        return tuple(ItemKind)
    wanted = [word.strip() for word in text.split(",")]
    if any(word not in names for word in wanted):
        raise invalid("kinds", f"应为 {', '.join(names)}", f"expected some of {', '.join(names)}")
    return [names[word] for word in dict.fromkeys(wanted)]


def _described(
    house: Services, address: Address, found: Sequence[ItemEntry], private: X25519PrivateKey | None
) -> tuple[list[dict[str, Any]], bool]:
    """Items for the answer, and whether they were cut for their size."""
    out: list[dict[str, Any]] = []
    epochs: dict[bytes, bytes | None] = {}
    size = 0
    for one in found:
        sealed = entry.decode(house.ledger.entry(one.shard, one.leaf)).sealed
        size += len(sealed)
        if out and size > _MOST_BYTES:
            return out, True
        item: dict[str, Any] = {
            "stream": one.stream.hex(),
            "sequence": one.sequence,
            "hash": one.hash.hex(),
            "kind": one.kind.name.lower(),
            "shard": one.shard,
            "leaf": one.leaf,
            "arrival_ms": one.arrival_ms,
            "sealed": _text(sealed),
            "first_ms": one.first_ms,
            "last_ms": one.last_ms,
            "dictionary": one.dictionary.hex(),
        }
        if private is not None:
            key = None
            if one.kind is not ItemKind.OPEN:
                epoch = seal.peek(sealed).header.epoch
                if epoch not in epochs:
                    epochs[epoch] = _epoch_key(house, address, epoch, private)
                secret = epochs[epoch]
                key = None if secret is None else seal.frame_key(secret, one.stream, one.sequence)
            item["key"] = None if key is None else _text(key)
        out.append(item)
    return out, False


def _epoch_key(house: Services, address: Address, epoch: bytes, private: X25519PrivateKey) -> bytes | None:
    place = house.catalogue.epoch(address, epoch)
    if place is None:
        return None
    try:
        item = seal.peek(entry.decode(house.ledger.entry(*place)).sealed)
        return Opening.decode(seal.unseal_open(item, private=private)).key
    except (SealError, ItemError):  # it was made for another house's key
        return None


def _recorded(
    house: Services, caller: Principal, edge: str, from_ms: int, to_ms: int, items: list[dict[str, Any]]
) -> None:
    leaves = [item["leaf"] for item in items]
    told = {"from": from_ms, "to": to_ms, "items": len(items), "leaves": [min(leaves), max(leaves)] if leaves else []}
    with house.database.begin() as db:
        audit.record(db, caller, "frames.keys", edge, None, told)


def _dictionaries(house: Services, enterprise: str, found: Sequence[ItemEntry]) -> dict[str, str]:
    out: dict[str, str] = {}
    for digest in dict.fromkeys(one.dictionary for one in found if any(one.dictionary)):
        body = house.catalogue.dictionary(enterprise, digest)
        if body is not None:
            out[digest.hex()] = _text(body)
    return out


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
