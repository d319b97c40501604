"""Asking edges for the raw values around an alarm, until they come or it is too late; then the package is made of them.

The engine notes each part that comes through the ledger (`arrived`, in its own transaction). Making the package takes time,
so it is done here, from the ledger, after that.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, Row, delete, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from cloud.alarms import counting, packaging, raising, tables
from ingest.index import Committed
from ingest.ledger import LedgerError
from ingest.sql import insert_for
from telemetry import clock
from telemetry.keys import SigningKey
from telemetry.topics import Address, Channel
from telemetry.windows import WindowRequest

_log = structlog.get_logger(__name__)

_AGAIN_MS = 10_000
_LOOK_S = 0.5

Publish = Callable[[str, bytes], bool]
Reopen = Callable[[int, int], Committed | None]


def arrived(db: Connection, one: Committed) -> None:
    """Note a part of a window that has come; one that nobody asked this edge for is left alone."""
    window = None if one.opened is None else one.opened.window
    if window is None:
        return
    table, alarm = tables.requests, window.id.hex()
    asked = db.execute(select(table).where(table.c.alarm == alarm)).first()
    owner = (one.address.enterprise, one.address.edge, window.device)
    if asked is None or (asked.enterprise, asked.edge, asked.device) != owner:
        _log.warning("a window that was not asked for", edge=one.address.edge, device=window.device)
        return
    values = {"alarm": alarm, "part": window.part, "parts": window.parts, "shard": one.shard, "leaf": one.leaf}
    db.execute(insert_for(db, tables.window_parts).values(**values).on_conflict_do_nothing())


class WindowKeeper:
    """`publish` hands a message to the broker, `reopen` reads a committed item again, `signer` is the cloud's command key."""

    def __init__(self, engine: Engine, *, publish: Publish, reopen: Reopen, signer: SigningKey) -> None:
        self._engine = engine
        self._publish = publish
        self._reopen = reopen
        self._signer = signer

    async def run(self) -> None:
        """Ask, and make packages, until cancelled."""
        failing = False
        while True:
            try:
                await asyncio.to_thread(self.look)
                failing = False
            except SQLAlchemyError as error:
                if not failing:
                    _log.warning("windows wait", why=type(error).__name__)
                failing = True
            await asyncio.sleep(_LOOK_S)

    def look(self) -> None:
        """Once: what is complete becomes a package, what is too late is said so, for the rest the edge is asked (again)."""
        table, parts, now = tables.requests, tables.window_parts, clock.now_ms()
        with self._engine.connect() as db:
            waiting = db.execute(select(table).where(table.c.done.is_(False))).all()
            if not waiting:
                return
            counted = (
                select(parts.c.alarm, func.count().label("have"), func.max(parts.c.parts).label("parts"))
                .where(parts.c.alarm.in_([row.alarm for row in waiting]))
                .group_by(parts.c.alarm)
            )
            come = {row.alarm: row.have >= row.parts for row in db.execute(counted)}
        for row in waiting:
            try:
                self._look_at(row, whole=come.get(row.alarm, False), now=now)
            except (
                LedgerError,
                OSError,
            ) as error:  # the ledger cannot be read now: the others need not wait for this one
                _log.warning("an alarm's package waits", alarm=row.alarm, why=str(error))

    def _look_at(self, row: Row[Any], *, whole: bool, now: int) -> None:
        if whole or now > row.until_ms:
            self._finish(row.enterprise, row.alarm, whole=whole)
        elif row.asked_ms is None or now - row.asked_ms >= _AGAIN_MS:
            self._ask(row.alarm, Address(row.enterprise, row.edge), row.device, (row.from_ms, row.to_ms))

    def _ask(self, alarm: str, address: Address, device: str, span: tuple[int, int]) -> None:
        now, topic = clock.now_ms(), address.topic(Channel.WINDOW)
        request = WindowRequest(
            id=bytes.fromhex(alarm), device=device, tags=(), from_ms=span[0], to_ms=span[1], sent_ms=now
        )
        if self._publish(topic, request.sign(self._signer, topic)):
            with self._engine.begin() as db:
                db.execute(update(tables.requests).where(tables.requests.c.alarm == alarm).values(asked_ms=now))

    def _finish(self, enterprise: str, alarm: str, *, whole: bool) -> None:
        table = tables.window_parts
        with self._engine.connect() as db:
            places = db.execute(select(table).where(table.c.alarm == alarm).order_by(table.c.part)).all()
        items = [one for place in places if (one := self._reopen(place.shard, place.leaf)) is not None]
        made, state = None, "incomplete"
        if items:
            with self._engine.connect() as db:
                made = packaging.make(db, enterprise, alarm, items)
            state = "failed" if made is None else "ready" if whole else "incomplete"
        now = clock.now_ms()
        with self._engine.begin() as db:
            requests = tables.requests
            mine = (requests.c.alarm == alarm) & requests.c.done.is_(False)
            if db.execute(update(requests).where(mine).values(done=True)).rowcount == 0:
                return
            if made is not None:
                digest = hashlib.sha256(made).hexdigest()
                db.execute(
                    insert_for(db, tables.packages)
                    .values(alarm=alarm, bytes=made, sha256=digest, made_ms=now)
                    .on_conflict_do_nothing()
                )
            db.execute(delete(table).where(table.c.alarm == alarm))
            changed = counting.bump(db, enterprise, "alarms")
            db.execute(
                update(tables.alarms).where(tables.alarms.c.alarm == alarm).values(package=state, changed=changed)
            )
            raising.log(db, alarm, now, f"package {state}")
        _log.info("alarm package", alarm=alarm, state=state)
