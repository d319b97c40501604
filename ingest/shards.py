"""The shards this worker holds: a lease in SQL, a ledger writer, and the reader over all of them.

A lease carries a fencing number that rises with every change of hands, and a writer locks its folder as well, so two workers
on one machine never write one tree. A worker takes its own lease up again at once after a crash, so every worker needs a name
of its own. The fencing number is kept but not yet checked by the store: workers on several machines must share a file system
that honours locks.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Engine, select, update

from ingest import tables
from ingest.ledger.reader import Reader
from ingest.ledger.writer import Writer
from ingest.sql import insert_for
from telemetry import clock, head

LEASE_MS = 15_000


class LeaseHeld(RuntimeError):
    """Another worker holds this shard."""


class Shards:
    """Writers open at the first item of a shard."""

    def __init__(self, engine: Engine, folder: Path, *, worker: str, numbers: Iterable[int]) -> None:
        self._engine = engine
        self._folder = folder
        self._worker = worker
        self._numbers = frozenset(numbers)
        self._writers: dict[int, Writer] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.reader = Reader(folder)

    def acquire(self) -> None:
        """Take or renew the leases of all our shards. Raises LeaseHeld where another worker's is still good."""
        table, now = tables.leases, clock.now_ms()
        with self._engine.begin() as db:
            held = {row.shard: row for row in db.execute(select(table).where(table.c.shard.in_(self._numbers)))}
            for shard in sorted(self._numbers):
                row = held.get(shard)
                mine = {"worker": self._worker, "until_ms": now + LEASE_MS}
                if row is None:
                    db.execute(insert_for(db, table).values(shard=shard, fence=1, **mine))
                elif row.worker == self._worker:
                    db.execute(update(table).where(table.c.shard == shard).values(**mine))
                elif row.until_ms < now:
                    db.execute(update(table).where(table.c.shard == shard).values(fence=row.fence + 1, **mine))
                else:
                    raise LeaseHeld(f"shard {shard} is held by worker {row.worker}")

    def writer(self, shard: int) -> Writer:
        """The writer of a shard that this worker holds. Raises LeaseHeld for any other."""
        if shard not in self._numbers:
            raise LeaseHeld(f"shard {shard} is not this worker's")
        if shard not in self._writers:
            newest = self.reader.latest_head()
            covered = head.read_unverified(newest).sizes.get(shard, 0) if newest is not None else 0
            self._writers[shard] = Writer(self._folder, shard, at_least=covered)
        return self._writers[shard]

    def reopen(self) -> None:
        """Close the writers, so that each is opened, and recovered, anew: after a write or an fsync failed."""
        for writer in self._writers.values():
            with contextlib.suppress(OSError):
                writer.close()
        self._writers.clear()

    def present(self) -> list[int]:
        """Our shards that have a ledger. Opens nothing: followers ask this while the committer writes."""
        return [shard for shard in self.reader.shards() if shard in self._numbers]

    def numbers(self) -> frozenset[int]:
        """The shards this worker holds."""
        return self._numbers

    def close(self) -> None:
        """Close the writers and give the leases back."""
        self.reopen()
        table = tables.leases
        with self._engine.begin() as db:
            db.execute(update(table).where(table.c.worker == self._worker).values(until_ms=0))
