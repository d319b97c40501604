"""Keeping the historian's 1-minute rollups true: which minutes are due, and the task that makes them anew.

A minute of a device is marked as due, in SQL, *before* rows of it are written; so whoever reads never takes a rollup that
lacks rows, whenever a process dies. The mark is settled once the rows have been written for a moment, and only then is the
rollup made. A mark carries a token: when a minute was marked again while its rollup was being made, the mark stays, and the
rollup is made once more. A mark whose writer died is taken over after a while. What is due is answered from the rows.
"""

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import structlog
from sqlalchemy import ColumnElement, Connection, Engine, and_, bindparam, delete, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from ingest import tables
from ingest.historian.base import Historian, HistorianError
from ingest.historian.moments import MINUTE_MS
from ingest.index import Committed
from ingest.sql import insert_for
from telemetry import clock

_log = structlog.get_logger(__name__)

Minute = tuple[int, str, str, int]  # shard, enterprise, device, start in ms

_IDLE_MS = 2_000  # rows of a minute come in many frames
_ANEW_MS = 120_000  # how long one mark is relied on
_ABANDONED_MS = 600_000
_AT_ONCE = 1_440
_EVERY_S = 1.0
_BACKOFF_S = (1.0, 30.0)


class Due(NamedTuple):
    """A mark."""

    shard: int
    enterprise: str
    device: str
    minute: int
    token: int


def minutes_of(batch: Iterable[Committed]) -> set[Minute]:
    """The minutes of devices that have rows in some frames."""
    out: set[Minute] = set()
    for one in batch:
        if one.opened is None or one.opened.frame is None or one.opened.dictionary is None:
            continue
        words, samples = one.opened.dictionary, one.opened.frame.samples
        minute = samples.time - samples.time % MINUTE_MS
        pairs = np.unique(np.stack([words.device_of[samples.tag].astype(np.int64), minute]), axis=1)
        for device, start in pairs.T.tolist():
            out.add((one.shard, words.enterprise, words.devices[device].uid, start))
    return out


@dataclass
class _Mark:
    token: int
    marked_ms: int  # monotonic, as the next
    touched_ms: int
    writing: int = 0


class DueMarks:
    """The marks of one process. Methods block; they may be called from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._marks: dict[Minute, _Mark] = {}
        self._lock = threading.Lock()

    def mark(self, minutes: set[Minute]) -> None:
        """Before rows are written. `written` must follow, whatever happens."""
        now = clock.mono_ms()
        with self._lock:
            new = [one for one in minutes if one not in self._marks or now - self._marks[one].marked_ms > _ANEW_MS]
            tokens = {one: secrets.randbits(62) for one in new}
            self._enter(tokens, settled=False)
            for one, token in tokens.items():
                writing = self._marks[one].writing if one in self._marks else 0
                self._marks[one] = _Mark(token, now, now, writing)
            for one in minutes:
                self._marks[one].touched_ms = now
                self._marks[one].writing += 1

    def written(self, minutes: set[Minute]) -> None:
        """The rows are in the store, or writing them failed."""
        now = clock.mono_ms()
        with self._lock:
            for one in minutes:
                self._marks[one].touched_ms = now
                self._marks[one].writing -= 1

    def settle(self, *, idle_ms: int = _IDLE_MS) -> None:
        """Let the rollups of minutes be made to which nothing was written for a moment."""
        now = clock.mono_ms()
        with self._lock:
            idle = {k: m for k, m in self._marks.items() if not m.writing and now - m.touched_ms >= idle_ms}
            if not idle:
                return
            table = tables.rollup_due
            ours = and_(_is_minute(), table.c.token == bindparam("b_token"))
            with self._engine.begin() as db:
                for one, mark in idle.items():
                    known = {**_binds(one), "b_token": mark.token}
                    if db.execute(update(table).where(ours).values(settled=True), known).rowcount == 0:
                        db.execute(self._upsert(db), [_values(one, mark.token, settled=True)])
            for one in idle:
                del self._marks[one]

    def due(self, shards: Sequence[int], limit: int = _AT_ONCE) -> list[Due]:
        """Settled or abandoned marks, the oldest first."""
        table = tables.rollup_due
        abandoned = table.c.marked_ms < clock.now_ms() - _ABANDONED_MS
        query = (
            select(table.c.shard, table.c.enterprise, table.c.device, table.c.minute, table.c.token)
            .where(table.c.shard.in_(shards), or_(table.c.settled, abandoned))
            .order_by(table.c.marked_ms)
            .limit(limit)
        )
        with self._engine.connect() as db:
            return [Due(*row) for row in db.execute(query)]

    def done(self, rows: Iterable[Due]) -> int:
        """Rollups were made: take away marks that are still the same. What was marked meanwhile stays, and what somebody
        else took away is marked again: the rollup may be of before their rows. The number of marks taken away."""
        table = tables.rollup_due
        same = and_(_is_minute(), table.c.token == bindparam("b_token"))
        gone = 0
        with self._engine.begin() as db:
            for row in rows:
                one = (row.shard, row.enterprise, row.device, row.minute)
                if db.execute(delete(table).where(same), {**_binds(one), "b_token": row.token}).rowcount:
                    gone += 1
                    continue
                again = insert_for(db, table).values(_values(one, secrets.randbits(62), settled=True))
                db.execute(again.on_conflict_do_nothing())
        return gone

    def _enter(self, tokens: dict[Minute, int], *, settled: bool) -> None:
        if tokens:
            with self._engine.begin() as db:
                rows = [_values(one, token, settled=settled) for one, token in sorted(tokens.items())]
                db.execute(self._upsert(db), rows)

    @staticmethod
    def _upsert(db: Connection) -> Any:
        statement = insert_for(db, tables.rollup_due)
        new = {name: statement.excluded[name] for name in ("shard", "token", "settled", "marked_ms")}
        return statement.on_conflict_do_update(index_elements=["enterprise", "device", "minute"], set_=new)


class Roller:
    """Makes due rollups, for ever. `shards` gives the numbers of those that this process writes."""

    def __init__(self, historian: Historian, marks: DueMarks, shards: Callable[[], Iterable[int]]) -> None:
        self._historian = historian
        self._marks = marks
        self._shards = shards

    async def run(self) -> None:
        """Until cancelled."""
        backoff, said = _BACKOFF_S[0], False
        while True:
            try:
                made = await self.step()
                if said:
                    _log.info("rollups are made again")
                backoff, said = _BACKOFF_S[0], False
            except (HistorianError, SQLAlchemyError) as error:
                if not said:
                    _log.warning("rollups wait; what is due is answered from the rows", why=str(error))
                said, made = True, 0
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, _BACKOFF_S[1])
            if made < _AT_ONCE:
                await asyncio.sleep(_EVERY_S)

    async def step(self, *, idle_ms: int = _IDLE_MS) -> int:
        """Make some of what is due; how many minutes. Raises HistorianError, SQLAlchemyError."""
        await asyncio.to_thread(self._marks.settle, idle_ms=idle_ms)
        rows = await asyncio.to_thread(self._marks.due, sorted(self._shards()))
        by_device: dict[tuple[str, str], list[Due]] = {}
        for row in rows:
            by_device.setdefault((row.enterprise, row.device), []).append(row)
        for (enterprise, device), some in by_device.items():
            await self._historian.roll(enterprise, device, np.array([row.minute for row in some], dtype=np.int64))
            await asyncio.to_thread(self._marks.done, some)
        return len(rows)


def _is_minute() -> ColumnElement[bool]:
    table = tables.rollup_due
    return and_(
        table.c.enterprise == bindparam("b_enterprise"),
        table.c.device == bindparam("b_device"),
        table.c.minute == bindparam("b_minute"),
    )


def _binds(one: Minute) -> dict[str, object]:
    return {"b_enterprise": one[1], "b_device": one[2], "b_minute": one[3]}


def _values(one: Minute, token: int, *, settled: bool) -> dict[str, object]:
    return {
        "enterprise": one[1],
        "device": one[2],
        "minute": one[3],
        "shard": one[0],
        "token": token,
        "settled": settled,
        "marked_ms": clock.now_ms(),
    }
