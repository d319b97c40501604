"""Edges: their keys, streams, forks, refused messages; and who may be one: an administrator approves a request with the
one-time code that the edge's screen showed, and ends an edge's key."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from cloud import audit, people
from cloud.answers import Answer, Body, answer, writing
from cloud.auth import Caller, House, Principal, needs
from cloud.errors import ApiError, Json
from ingest import register
from ingest.catalogue import Catalogue, EdgeEntry, StreamEntry
from telemetry import keys
from telemetry.enrolment import EnrolmentError, Request
from telemetry.keys import KeyFileError
from telemetry.topics import Address, Channel, TopicError

router = APIRouter()

EdgesAdmin = Annotated[Principal, needs("edges.admin")]
EdgeName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")]
Key = Annotated[str, Field(max_length=64)]


class Stream(BaseModel):
    """A stream: which of its items are committed. `missing`: [first, last] of each hole."""

    stream: str
    contiguous: int
    highest: int
    missing: list[list[int]]
    parent: str | None
    forked_at: int | None


class Fork(BaseModel):
    """A quarantined item: its number came with another hash than the committed one."""

    stream: str
    sequence: int
    hash: str
    found_ms: int


class Edge(BaseModel):
    """An edge. `online`: it said so itself lately; `refused`: refused messages on its topics, by reason."""

    edge: str
    enterprise: str
    shard: int
    public_key: str
    fingerprint: str
    topic: str
    approved_ms: int
    revoked_ms: int | None
    online: bool
    seen_ms: int
    streams: list[Stream]
    forks: list[Fork]
    refused: dict[str, int]


class EdgesAnswer(Answer):
    """Edges."""

    edges: list[Edge]


class EdgeAnswer(Answer):
    """One edge."""

    edge: Edge


class EdgeRequest(Body):
    """The file that `starproof edge init` wrote."""

    enterprise: Annotated[str, Field(min_length=1, max_length=64)]
    edge: Annotated[str, Field(min_length=1, max_length=64)]
    public_key: Key
    mac: Key


class Approval(Body):
    """A request, and the one-time code from the edge's screen."""

    request: EdgeRequest
    code: Annotated[str, Field(min_length=1, max_length=64)]


class Grant(BaseModel):
    """What the edge pins with `starproof edge pin`: the cloud's keys, under the code."""

    mac: str
    enterprise: str
    edge: str
    receipt_key: str
    command_key: str
    exchange_key: str


class GrantAnswer(Answer):
    """The approved edge's fingerprint, to be compared with the one on its screen, and its grant."""

    fingerprint: str
    grant: Grant


@router.get("/edges", response_model=EdgesAnswer)
def edges(caller: Caller, house: House) -> Json:
    """All edges of the caller's enterprise."""
    return answer(edges=_edges(house.catalogue, caller.enterprise))


@router.post("/edges/requests", status_code=201, response_model=GrantAnswer)
def approve(body: Approval, caller: EdgesAdmin, house: House) -> Json:
    """Approve an edge: its key enters the register, and the answer holds the grant for it."""
    given = house.grant_keys
    if given is None:
        raise ApiError(
            409,
            "keys_not_here",
            "本服务未配置网关授权公钥",
            "this service has no keys to grant: use `starproof ingest approve`",
        )
    asked = Request(**body.request.model_dump())
    if asked.enterprise != caller.enterprise:
        raise ApiError(404, "unknown_enterprise", "申请不属于本企业", "the request is not of this enterprise")
    try:
        public = keys.from_text(asked.public_key)
        keys.verifying_key(public)

        def work(db: Any) -> None:
            audit.lock(db, caller.enterprise)
            people.ensure_enterprise(db, caller.enterprise)
            register.approve_in(db, asked, body.code)
            entered = {"public_key": asked.public_key, "fingerprint": keys.fingerprint(public)}
            audit.record(db, caller, "edge.approve", asked.edge, None, entered)

        writing(house, work)
    except (EnrolmentError, KeyFileError, TopicError) as error:
        raise ApiError(400, "enrolment_refused", f"注册申请未通过：{error}", str(error)) from error
    granted = register.grant(
        asked,
        body.code,
        receipt=keys.from_text(given.receipt),
        command=keys.from_text(given.command),
        exchange=keys.from_text(given.exchange),
    )
    return answer(201, fingerprint=keys.fingerprint(public), grant=granted.model_dump())


@router.post("/edges/{edge}/revoke", response_model=EdgeAnswer)
def revoke(edge: EdgeName, caller: EdgesAdmin, house: House) -> Json:
    """End an edge's key now and for ever: nothing that it signs is taken any more."""
    address = Address(caller.enterprise, edge)

    def work(db: Any) -> None:
        audit.lock(db, caller.enterprise)
        known = next((one for one in house.catalogue.edges(caller.enterprise) if one.address == address), None)
        if known is None:
            raise ApiError(404, "unknown_edge", f"没有网关 {edge}", f"there is no edge {edge}")
        if known.revoked_ms is None:
            register.revoke_in(db, address)
            ended = {"fingerprint": keys.fingerprint(known.public_key)}
            audit.record(db, caller, "edge.revoke", edge, ended, None)

    writing(house, work)
    found = next(one for one in house.catalogue.edges(caller.enterprise) if one.address == address)
    return answer(edge=_edge(house.catalogue, found))


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
