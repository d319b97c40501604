"""Consumers of the ledger: each reads committed items in order, with a cursor of its own.

The cursor moves after the consumer has taken a batch, so after a crash it sees that batch again; a consumer therefore
takes things idempotently. An item that cannot be opened yet (its key or dictionary has not come) is put aside and does
not hold up what follows; it is tried again whenever a key or dictionary has passed.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

import structlog
from sqlalchemy import Engine, delete, select
from sqlalchemy.exc import SQLAlchemyError

from ingest import tables
from ingest.committer import Committer
from ingest.index import Committed
from ingest.ledger import LedgerError
from ingest.shards import Shards
from ingest.sql import insert_for
from telemetry.seal import ItemKind

_log = structlog.get_logger(__name__)

_BATCH = 64
_BACKOFF_S = (0.5, 15.0)


class Unavailable(ConnectionError):
    """What a consumer writes to is away. It is tried again; nothing is lost meanwhile, the ledger has it."""


class Consumer(Protocol):
    """`durable`: whether its cursor is kept. One that is not begins at the ledger's end."""

    name: str
    durable: bool

    async def take(self, batch: list[Committed]) -> list[Committed]:
        """Take opened items; returns those to be put aside and tried again later. Raises Unavailable."""
        ...


@dataclass
class Cursor:
    """The next leaf of a shard, and the arrival time of the last one consumed."""

    leaf: int
    to_ms: int


class Follower:
    """Brings one consumer up to date, for ever."""

    def __init__(self, consumer: Consumer, engine: Engine, committer: Committer, shards: Shards) -> None:
        self._consumer = consumer
        self._engine = engine
        self._committer = committer
        self._shards = shards
        self._cursors: dict[int, Cursor] = {}
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something was committed."""
        self._wake.set()

    async def run(self) -> None:
        """Follow the ledger until cancelled."""
        loaded = False
        backoff, said = _BACKOFF_S[0], False
        while True:
            self._wake.clear()
            try:
                if not loaded:
                    self._cursors = await asyncio.to_thread(self._load)
                    loaded = True
                moved = await self._advance()
                if said:
                    _log.info("consumer is back", consumer=self._consumer.name)
                backoff, said = _BACKOFF_S[0], False
            except (Unavailable, SQLAlchemyError, OSError, LedgerError) as error:
                if not said:
                    _log.warning(
                        "consumer waits, the ledger keeps everything", consumer=self._consumer.name, why=str(error)
                    )
                said = True
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, _BACKOFF_S[1])
                continue
            if not moved:
                await self._wake.wait()

    async def _advance(self) -> bool:
        moved = False
        for shard in await asyncio.to_thread(self._shards.present):
            cursor = self._cursors.setdefault(shard, Cursor(0, 0))
            batch, aside, end = await asyncio.to_thread(self._read, shard, cursor.leaf)
            if end == cursor.leaf:
                continue
            if any(one.item.header.kind in (ItemKind.OPEN, ItemKind.DICTIONARY) for one in batch):
                batch = await asyncio.to_thread(self._put_aside_before) + batch
            if batch:
                refused = await self._consumer.take(batch)
                batch = [one for one in batch if one not in refused]
                aside += [one.leaf for one in refused if one.shard == shard]
            to_ms = max([cursor.to_ms, *(one.arrival_ms for one in batch)])
            self._cursors[shard] = Cursor(end, to_ms)
            await asyncio.to_thread(self._save, shard, self._cursors[shard], batch, aside)
            moved = True
        return moved

    def _read(self, shard: int, first: int) -> tuple[list[Committed], list[int], int]:
        """Opened items from a leaf on, the leaves put aside, and the next leaf."""
        end = min(self._shards.reader.size(shard), first + _BATCH)
        opened: list[Committed] = []
        aside: list[int] = []
        for one in self._committer.committed_from(shard, first, end - first):
            if one.opened is not None:
                opened.append(one)
            else:
                aside.append(one.leaf)
        return opened, aside, end

    def _put_aside_before(self) -> list[Committed]:
        """Items put aside earlier that can be opened now."""
        if not self._consumer.durable:
            return []
        table = tables.deferred
        with self._engine.connect() as db:
            rows = db.execute(select(table).where(table.c.consumer == self._consumer.name)).all()
        found = [one for row in rows for one in self._committer.committed_from(row.shard, row.leaf, 1)]
        return [one for one in found if one.opened is not None]

    def _load(self) -> dict[int, Cursor]:
        if not self._consumer.durable:
            return {shard: Cursor(self._shards.reader.size(shard), 0) for shard in self._shards.present()}
        table = tables.cursors
        with self._engine.connect() as db:
            rows = db.execute(select(table).where(table.c.consumer == self._consumer.name)).all()
        return {row.shard: Cursor(row.leaf, row.to_ms) for row in rows}

    def _save(self, shard: int, cursor: Cursor, taken: list[Committed], aside: list[int]) -> None:
        if not self._consumer.durable:
            return
        name = self._consumer.name
        with self._engine.begin() as db:
            values = {"leaf": cursor.leaf, "to_ms": cursor.to_ms}
            statement = insert_for(db, tables.cursors).values(consumer=name, shard=shard, **values)
            db.execute(statement.on_conflict_do_update(index_elements=["consumer", "shard"], set_=values))
            table = tables.deferred
            for leaf in aside:
                db.execute(insert_for(db, table).values(consumer=name, shard=shard, leaf=leaf).on_conflict_do_nothing())
            for one in taken:
                db.execute(
                    delete(table).where(table.c.consumer == name, table.c.shard == one.shard, table.c.leaf == one.leaf)
                )
