"""Due marks: a rollup is never taken for true while it may lack rows, whatever dies when."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update

from ingest import tables
from ingest.catalogue import Catalogue
from ingest.historian import moments
from ingest.historian.base import HistorianBatch, HistorianUnavailable
from ingest.historian.moments import MINUTE_MS
from ingest.historian.sqlite import SqliteHistorian
from ingest.historian_writer import HistorianWriter
from ingest.rolling import DueMarks, Roller
from tests.ingest.edge_kit import ENTERPRISE, WALL, Cloud, Edge

MINUTE = WALL // MINUTE_MS * MINUTE_MS


class Chain:
    """Committed values → historian, with marks."""

    def __init__(self, folder: Path) -> None:
        (folder / "edge").mkdir()
        self.cloud = Cloud(folder / "cloud")
        self.edge = Edge(folder / "edge", self.cloud)
        self.cloud.enrol(self.edge)
        self.historian = SqliteHistorian(folder / "historian.db")
        self.device = f"{self.edge.name}-boiler"
        self.catalogue = Catalogue(self.cloud.engine)
        self.restart()

    def restart(self) -> None:
        self.marks = DueMarks(self.cloud.engine)
        self.writer = HistorianWriter(self.historian, self.marks)
        self.roller = Roller(self.historian, self.marks, lambda: range(64))

    async def commit(self, *rows: tuple[int, float]) -> None:
        for at_ms, value in rows:
            self.edge.sample(value, at_ms)
        outcome = await asyncio.to_thread(self.cloud.send, *self.edge.messages())
        await self.writer.take(list(outcome.committed))

    def due(self) -> list[int]:
        return self.catalogue.due_minutes(ENTERPRISE, self.device, 0, 1 << 50)

    async def count(self) -> int:
        return moments.features(await self.historian.rollups(ENTERPRISE, self.device, "p", 0, 1 << 50)).count


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[Chain]:
    made = Chain(tmp_path)
    yield made
    await made.historian.close()
    made.cloud.shards.close()


async def test_a_minute_is_due_until_its_rollup_is_made_and_again_when_rows_come_late(chain: Chain) -> None:
    await chain.commit((WALL, 1.0), (WALL + 1000, 2.0))
    assert chain.due() == [MINUTE]
    assert await chain.roller.step() == 0  # its rows may still be coming
    assert await chain.roller.step(idle_ms=0) == 1
    assert (chain.due(), await chain.count()) == ([], 2)
    await chain.commit((WALL + 120_000, 3.0), (WALL + 500, 9.0))
    assert sorted(chain.due()) == [MINUTE, MINUTE + 2 * MINUTE_MS]
    assert await chain.roller.step(idle_ms=0) == 2
    assert (chain.due(), await chain.count()) == ([], 4)


async def test_what_is_marked_while_its_rollup_is_made_stays_due(chain: Chain) -> None:
    await chain.commit((WALL, 1.0))
    chain.marks.settle(idle_ms=0)
    due = chain.marks.due(range(64))
    await chain.historian.roll(ENTERPRISE, chain.device, np.array([MINUTE]))
    await chain.commit((WALL + 1000, 2.0))
    assert chain.marks.done(due) == 0
    assert chain.due() == [MINUTE]
    await chain.roller.step(idle_ms=0)
    assert (chain.due(), await chain.count()) == ([], 2)


async def test_who_comes_second_makes_it_once_more(chain: Chain) -> None:
    """Two rollers at once: the slower one may have written a rollup from before."""
    await chain.commit((WALL, 1.0))
    chain.marks.settle(idle_ms=0)
    due = chain.marks.due(range(64))
    assert chain.marks.done(due) == 1
    assert chain.marks.done(due) == 0
    assert chain.due() == [MINUTE]


async def test_a_writer_that_dies_between_mark_and_rows_leaves_the_mark(chain: Chain) -> None:
    class Dies(SqliteHistorian):
        async def write(self, *batches: HistorianBatch) -> None:
            raise HistorianUnavailable("gone")

    real = chain.historian
    chain.writer = HistorianWriter(Dies(Path("nowhere")), chain.marks)
    with pytest.raises(ConnectionError):
        await chain.commit((WALL, 1.0))
    assert chain.due() == [MINUTE]
    chain.restart()  # a new process knows nothing of the old one's marks
    assert await chain.roller.step(idle_ms=0) == 0
    shard = chain.edge.address.shard
    batch = chain.cloud.committer.committed_from(shard, 0, chain.cloud.shards.reader.size(shard))
    await HistorianWriter(real, chain.marks).take([one for one in batch if one.opened is not None])
    await chain.roller.step(idle_ms=0)
    assert (chain.due(), await chain.count()) == ([], 1)


async def test_a_mark_that_nobody_settles_is_taken_over(chain: Chain) -> None:
    await chain.commit((WALL, 1.0))
    chain.restart()
    assert await chain.roller.step(idle_ms=0) == 0
    with chain.cloud.engine.begin() as db:
        db.execute(update(tables.rollup_due).values(marked_ms=0))
    assert await chain.roller.step(idle_ms=0) == 1
    assert (chain.due(), await chain.count()) == ([], 1)


async def test_a_mark_taken_away_under_a_slow_writer_comes_back(chain: Chain) -> None:
    key = {(chain.edge.address.shard, ENTERPRISE, chain.device, MINUTE)}
    chain.marks.mark(key)
    with chain.cloud.engine.begin() as db:
        db.execute(tables.rollup_due.delete())
    chain.marks.written(key)
    chain.marks.settle(idle_ms=0)
    assert chain.due() == [MINUTE]


async def test_only_own_shards_are_rolled(chain: Chain) -> None:
    await chain.commit((WALL, 1.0))
    other = Roller(chain.historian, chain.marks, lambda: {(chain.edge.address.shard + 1) % 64})
    assert await other.step(idle_ms=0) == 0
    with chain.cloud.engine.connect() as db:
        assert db.execute(select(tables.rollup_due.c.settled)).scalars().all() == [True]
