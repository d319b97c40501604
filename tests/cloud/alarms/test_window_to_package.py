"""From an alarm to its package: the cloud asks, the edge's own code answers out of its ring, and the package is what was
acquired."""

from typing import Any

import pytest
from sqlalchemy import select

from cloud.alarms import package, tables
from cloud.alarms.engine import AlarmEngine
from cloud.alarms.requests import WindowKeeper, arrived
from edge_agent import windows
from edge_agent.ring import Ring
from edge_agent.windows import Windows
from ingest.index import Committed
from telemetry import clock, keys, samples
from telemetry.keys import SigningKey
from telemetry.mqtt import Incoming
from telemetry.samples import Kind
from telemetry.topics import Channel
from tests.cloud.alarms.conftest import Alarming
from tests.edge_agent.agent_kit import signing_key
from verifier.judging import packages

STEP_MS = 200


class House:
    """The cloud's keeper of windows, and an edge that acquires p and n each 0.2 s and sends every fifth p."""

    def __init__(self, alarming: Alarming, command: SigningKey, ring: Ring) -> None:
        topic = alarming.edge.address.topic(Channel.WINDOW)
        self.alarming, self.ring = alarming, ring
        self.taker = Windows(keys.verifying_key(command.public), topic, alarming.edge.words)
        self.keeper = WindowKeeper(alarming.database, publish=self.ask, reopen=self.reopen, signer=command)

    def ask(self, topic: str, payload: bytes) -> bool:
        return self.taker.take(Incoming(topic, payload, retained=False)) or True

    def reopen(self, shard: int, leaf: int) -> Committed | None:
        return next(iter(self.alarming.cloud.committer.committed_from(shard, leaf, 1)), None)

    def answer(self) -> int:
        due = self.taker.due(self.ring)
        for request in due:
            self.alarming.edge.put(*windows.answer(request, self.ring, self.alarming.edge.words))
        self.taker.answered(due)
        return len(due)

    def kept(self) -> Any:
        with self.alarming.database.connect() as db:
            return db.execute(select(tables.packages)).first()


def acquired(alarming: Alarming, ring: Ring) -> list[tuple[str, int, float, int]]:
    """From 70 s before the trigger to 20 s after it."""
    out: list[tuple[str, int, float, int]] = []
    for k in range(-350, 100):
        t, p = alarming.now + STEP_MS * k, 9.0 + k % 7 / 10 if k < 0 else 11.0 + k / 100
        ring.add(samples.from_rows([(0, t, p, 0, Kind.FLOAT), (1, t, k, 0, Kind.INT)]))
        out += [("p", t, round(p, 2), 0), ("n", t, k, 0)]
        if k % 5 == 0 and k <= 0:
            alarming.edge.sample(p, t)
    return out


async def test_a_package_is_what_the_edge_acquired(alarming: Alarming, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_ms", lambda: alarming.now - 100_000)
    ring = Ring(alarming.edge.words)
    monkeypatch.undo()
    house = House(alarming, signing_key(), ring)
    alarming.rule(related=["n"])
    rows = acquired(alarming, ring)
    alarming.cloud.send(*alarming.edge.messages())
    engine = await alarming.take(AlarmEngine(alarming.database, arrived=arrived))
    house.keeper.look()
    assert house.answer() == 1 and house.answer() == 0
    alarming.cloud.send(*alarming.edge.messages())
    await alarming.take(engine)
    house.keeper.look()
    data = bytes(house.kept().bytes)
    told, read = package.manifest(data), packages.open_package(data)
    assert package.check(data) == [] and read.faults == []
    [alarm] = alarming.alarms()
    assert told["alarm"]["id"] == alarm["id"] and alarm["package"]["state"] == "ready" and told["window"]["complete"]
    span = (alarming.now - 60_000, alarming.now + 10_000)
    assert read.span == span and told["trigger"]["t"] == alarming.now
    found = {(tag, t, float(v), q) for tag, some in read.rows.items() for t, v, q in some}
    assert found == {(tag, t, float(v), q) for tag, t, v, q in rows if span[0] <= t <= span[1]}
    assert told["first_out"]["tag"] in ("p", "n") and set(told["features"]) == {"p", "n"}
