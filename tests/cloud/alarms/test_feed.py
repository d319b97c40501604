"""Changes of alarms reach every live client of the enterprise, and nobody else's."""

import asyncio
from typing import Any

from cloud.alarms import store
from cloud.alarms.feed import AlarmFeed
from cloud.live import Client, LiveHub
from telemetry import clock
from tests.cloud.alarms.conftest import Alarming
from tests.ingest.edge_kit import ENTERPRISE


async def test_alarms_are_pushed(alarming: Alarming) -> None:
    alarming.rule()
    alarming.commit(11.0)
    engine = await alarming.take()  # before anybody listens: asked for, not pushed

    async def latest(_enterprise: str, _device: str) -> list[list[Any]]:
        return []

    hub = LiveHub(latest)
    ours, theirs = Client(ENTERPRISE), Client("E2")
    hub.join(ours)
    hub.join(theirs)
    async with AlarmFeed(alarming.database, hub).running():
        alarming.commit(9.0, 12.0, at_ms=alarming.now + 1000)
        await alarming.take(engine)
        first = await asyncio.wait_for(ours.next(), 5)
        second = await asyncio.wait_for(ours.next(), 5)
        assert [(one["type"], one["state"]) for one in (first, second)] == [("alarm", "cleared"), ("alarm", "active")]
        with alarming.database.begin() as db:
            store.acknowledge(db, ENTERPRISE, second["id"], by="op", note="", now_ms=clock.now_ms())
        third = await asyncio.wait_for(ours.next(), 5)
        assert third["id"] == second["id"] and third["acknowledged"]["by"] == "op"
        hub.leave(ours)
    assert theirs._queue.empty()
