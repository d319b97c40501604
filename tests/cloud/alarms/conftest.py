"""A real edge's items in a real ledger, and an alarm engine over them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from cloud.alarms import rules, store, tables
from cloud.alarms.engine import AlarmEngine
from cloud.alarms.rules import Rule, RuleBody
from cloud.schema import open_database
from ingest.index import Committed
from telemetry import clock
from tests.ingest.edge_kit import ENTERPRISE, Cloud, Edge


@dataclass
class Alarming:
    """`now` is the time that samples begin at."""

    cloud: Cloud
    edge: Edge
    database: Engine
    now: int

    @property
    def device(self) -> str:
        return f"{self.edge.name}-boiler"

    def rule(self, **fields: Any) -> Rule:
        body = RuleBody.model_validate({"device": self.device, "tag": "p", "zh": "压力过高", "high": 10.0, **fields})
        with self.database.begin() as db:
            made = rules.create(db, ENTERPRISE, body, source="user", by="me", now_ms=clock.now_ms())
        assert made is not None
        return made

    def change(self, rule: Rule, **fields: Any) -> Rule:
        body = RuleBody.model_validate({**rule.model_dump(include=set(RuleBody.model_fields)), **fields})
        with self.database.begin() as db:
            return rules.change(db, ENTERPRISE, rule.id, body, by="me", now_ms=clock.now_ms())[1]

    def commit(self, *values: float, at_ms: int | None = None, every_ms: int = 1000) -> None:
        """Values of p, a frame each."""
        start = self.now if at_ms is None else at_ms
        for i, value in enumerate(values):
            self.edge.sample(value, start + every_ms * i)
        self.cloud.send(*self.edge.messages())

    def items(self) -> list[Committed]:
        """Everything that is committed, in ledger order."""
        shard = self.edge.address.shard
        size = self.cloud.shards.reader.size(shard)
        return [one for one in self.cloud.committer.committed_from(shard, 0, size) if one.opened is not None]

    def alarms(self) -> list[dict[str, Any]]:
        with self.database.connect() as db:
            found = store.listed(db, ENTERPRISE, now_ms=clock.now_ms(), only_open=False)
        return sorted(found, key=lambda alarm: (alarm["raised_ms"], alarm["rule"]))

    def told(self) -> list[tuple[Any, ...]]:
        """What matters of every alarm, its log and its notices, without random ids and clocks."""
        out: list[tuple[Any, ...]] = []
        for alarm in self.alarms():
            with self.database.connect() as db:
                log = [(line["what"], line["note"]) for line in store.log(db, alarm["id"])]
            same = ("rule", "rule_version", "level", "state", "trigger", "t_sample", "raised_ms", "late")
            notices = sorted((one["what"], one["t_sample"]) for one in alarm["notices"])
            out.append((*(alarm[name] for name in same), alarm["cleared_ms"], log, notices))
        return out

    def channel(self) -> str:
        with self.database.begin() as db:
            db.execute(
                tables.channels.insert().values(
                    channel="c-1", enterprise=ENTERPRISE, name="x", url="json://127.0.0.1:1/", owner="me", enabled=True
                )
            )
        return "c-1"

    def states(self) -> dict[str, bytes]:
        with self.database.connect() as db:
            return {row.device: bytes(row.body) for row in db.execute(select(tables.states))}

    async def take(self, engine: AlarmEngine | None = None, items: list[Committed] | None = None) -> AlarmEngine:
        engine = engine or AlarmEngine(self.database)
        await engine.take(self.items() if items is None else items)
        return engine


@contextmanager
def made(folder: Path, url: str | None = None) -> Iterator[Alarming]:
    """An edge, its ledger, and the cloud's database: beside ingest's own, or elsewhere."""
    cloud = Cloud(folder / "cloud")
    (folder / "edge").mkdir()
    edge = Edge(folder / "edge", cloud)
    cloud.enrol(edge)
    database = open_database(url or f"sqlite:///{folder / 'cloud' / 'ingest.db'}")
    yield Alarming(cloud, edge, database, clock.now_ms())
    database.dispose()
    cloud.shards.close()


@pytest.fixture
def alarming(tmp_path: Path) -> Iterator[Alarming]:
    with made(tmp_path) as one:
        yield one
