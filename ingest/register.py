"""The register of edge keys: who may speak for which edge."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, select, update

from ingest import tables
from ingest.sql import insert_for
from telemetry import clock, enrolment, keys
from telemetry.enrolment import EnrolmentError, Grant, Request
from telemetry.keys import VerifyingKey
from telemetry.topics import Address, Channel


@dataclass(frozen=True, slots=True)
class Registered:
    """An edge's key as the register has it; `revoked_ms` None while it is good."""

    address: Address
    public_key: bytes
    approved_ms: int
    revoked_ms: int | None


def find(engine: Engine, address: Address) -> Registered | None:
    """The register's entry for an edge."""
    table = tables.edges
    query = select(table.c.public_key, table.c.approved_ms, table.c.revoked_ms).where(
        table.c.enterprise == address.enterprise, table.c.edge == address.edge
    )
    with engine.connect() as db:
        row = db.execute(query).first()
    return None if row is None else Registered(address, row.public_key, row.approved_ms, row.revoked_ms)


def approve(engine: Engine, request: Request, code: str) -> None:
    """Enter an edge's key. Raises EnrolmentError if the code does not fit, the request was approved before, the key was ever
    revoked, or the edge is there with another key that has not been revoked."""
    with engine.begin() as db:
        approve_in(db, request, code)


def approve_in(db: Connection, request: Request, code: str) -> None:
    """`approve` within the caller's transaction."""
    enrolment.check(request, code)
    address = Address(request.enterprise, request.edge)
    address.topic(Channel.UP)  # an edge whose name cannot stand in a topic could never speak
    public = keys.from_text(request.public_key)
    table = tables.edges
    of_edge = (table.c.enterprise == address.enterprise) & (table.c.edge == address.edge)
    known = db.execute(select(table.c.public_key, table.c.revoked_ms).where(of_edge)).first()
    if known is not None and known.public_key != public and known.revoked_ms is None:
        raise EnrolmentError(f"{request.edge} is enrolled with another key; revoke that one first")
    row = {"public_key": public, "approved_ms": clock.now_ms(), "revoked_ms": None}
    if db.execute(select(tables.revoked_keys).where(tables.revoked_keys.c.public_key == public)).first():
        raise EnrolmentError("this key was revoked and stays so: remove the edge's key file and run `edge init` again")
    used = insert_for(db, tables.used_requests).values(mac=request.mac, approved_ms=clock.now_ms())
    if db.execute(used.on_conflict_do_nothing().returning(tables.used_requests.c.mac)).first() is None:
        raise EnrolmentError("this request was approved before; its code is used up: run `edge init` again")
    db.execute(
        insert_for(db, table)
        .values(enterprise=address.enterprise, edge=address.edge, online=False, seen_ms=0, **row)
        .on_conflict_do_update(index_elements=["enterprise", "edge"], set_=row)
    )


def revoke(engine: Engine, address: Address) -> bool:
    """End an edge's key now and for ever. False if there is no such edge."""
    with engine.begin() as db:
        return revoke_in(db, address)


def revoke_in(db: Connection, address: Address) -> bool:
    """`revoke` within the caller's transaction."""
    table, now = tables.edges, clock.now_ms()
    of_edge = (table.c.enterprise == address.enterprise) & (table.c.edge == address.edge)
    public = db.execute(select(table.c.public_key).where(of_edge)).scalar()
    if public is None:
        return False
    db.execute(update(table).where(of_edge).values(revoked_ms=now, online=False))
    gone = insert_for(db, tables.revoked_keys).values(public_key=public, revoked_ms=now)
    db.execute(gone.on_conflict_do_nothing())
    return True


def grant(request: Request, code: str, *, receipt: bytes, command: bytes, exchange: bytes) -> Grant:
    """The cloud's keys for an approved edge, under its one-time code."""
    return enrolment.with_mac(
        Grant(
            enterprise=request.enterprise,
            edge=request.edge,
            receipt_key=keys.to_text(receipt),
            command_key=keys.to_text(command),
            exchange_key=keys.to_text(exchange),
        ),
        code,
    )


class KeyRing:
    """Keys of the register, cached for a few seconds so that a revocation acts soon and a frame costs no query."""

    _FRESH_MS = 2_000

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cache: dict[Address, tuple[int, VerifyingKey | None, str]] = {}

    def key(self, address: Address) -> VerifyingKey | str:
        """The key of an edge, or why there is none: unknown_edge, revoked."""
        now = clock.mono_ms()
        cached = self._cache.get(address)
        if cached is None or cached[0] < now:
            entry = find(self._engine, address)
            if len(self._cache) > 10_000:
                self._cache.clear()  # somebody invents edges
            reason = "unknown_edge" if entry is None else "revoked" if entry.revoked_ms is not None else ""
            key = keys.verifying_key(entry.public_key) if entry is not None and not reason else None
            cached = self._cache[address] = (now + self._FRESH_MS, key, reason)
        return cached[1] if cached[1] is not None else cached[2]


def ensure_keys(folder: Path) -> None:
    """Make the cloud's keys that are not there yet: receipt, command and ledger (Ed25519), exchange (X25519), live."""
    for name in ("receipt", "command", "ledger"):
        if not (folder / f"{name}.pem").exists():
            keys.create_signing_key(folder / f"{name}.pem")
    if not (folder / "exchange.pem").exists():
        keys.create_exchange_key(folder / "exchange.pem")
    if not (folder / "live.key").exists():
        keys.create_secret(folder / "live.key")
