"""Edges: their keys, streams, forks, refused messages."""

import asyncio
import base64
from typing import Any

from fastapi import APIRouter

from cloud.auth import Caller, House
from cloud.errors import Json
from ingest.catalogue import Catalogue, EdgeEntry, StreamEntry
from telemetry import clock, keys
from telemetry.topics import Channel

router = APIRouter()


@router.get("/edges")
async def edges(caller: Caller, house: House) -> Json:
    """All edges of the caller's enterprise."""
    listed = await asyncio.to_thread(_edges, house.catalogue, caller.enterprise)
    return Json({"server_ms": clock.now_ms(), "edges": listed})


def _edges(catalogue: Catalogue, enterprise: str) -> list[dict[str, Any]]:
    return [_edge(catalogue, entry) for entry in catalogue.edges(enterprise)]


def _edge(catalogue: Catalogue, entry: EdgeEntry) -> dict[str, Any]:
    address = entry.address
    return {
        "edge": address.edge,
        "enterprise": address.enterprise,
        "shard": address.shard,
        "public_key": base64.b64encode(entry.public_key).decode(),
        "fingerprint": keys.fingerprint(entry.public_key),
        "topic": address.topic(Channel.UP),
        "approved_ms": entry.approved_ms,
        "revoked_ms": entry.revoked_ms,
        "online": entry.online,
        "seen_ms": entry.seen_ms,
        "streams": [_stream(one) for one in catalogue.streams(address)],
        "forks": [
            {"stream": f.stream.hex(), "sequence": f.sequence, "hash": f.hash.hex(), "found_ms": f.found_ms}
            for f in catalogue.forks(address)
        ],
        "refused": entry.refused,
    }


def _stream(one: StreamEntry) -> dict[str, Any]:
    return {
        "stream": one.stream.hex(),
        "contiguous": one.progress.contiguous,
        "highest": one.progress.highest,
        "missing": [list(gap) for gap in one.progress.missing()],
        "parent": one.parent.hex() if one.parent is not None else None,
        "forked_at": one.forked_at,
    }
