"""A real ingest worker with the alarm engine beside it, over a real broker: from an edge's item to a web hook."""

import asyncio
from pathlib import Path

from ingest.settings import IngestSettings
from ingest.worker import Worker
from starproof.alarm_wiring import wire
from telemetry.mqtt import BrokerSettings, Session
from telemetry.topics import Channel
from tests.cloud.alarms.conftest import Alarming
from tests.cloud.alarms.test_notices import enter, hook
from tests.edge_agent.agent_kit import broker
from tests.plant import eventually


async def test_from_an_item_to_a_web_hook(alarming: Alarming, tmp_path: Path) -> None:
    alarming.rule()
    alarming.edge.sample(11.0, alarming.now)
    items = alarming.edge.messages()
    alarming.cloud.shards.close()
    asked: list[bytes] = []
    async with broker(tmp_path) as port, hook(200) as (hook_port, heard):
        enter(alarming, hook_port)
        settings = IngestSettings.model_validate(
            {
                "ledger": alarming.cloud.folder / "ledger",
                "database": str(alarming.database.url),
                "keys": alarming.cloud.folder / "keys",
                "broker": {"port": port},
                "historian": {"kind": "sqlite", "path": str(tmp_path / "historian.db")},
            }
        )
        topic = alarming.edge.address.topic(Channel.WINDOW)
        edge = Session(
            BrokerSettings(port=port), "edge", ((topic, 1),), on_message=lambda message: asked.append(message.payload)
        )
        with wire(settings) as (consumers, companions):
            worker = asyncio.create_task(Worker(settings, consumers, companions).run(), name="worker")
            try:
                async with edge:
                    await asyncio.wait_for(edge.connected.wait(), 10)
                    while not heard:
                        for item in items:
                            edge.publish(item.topic, item.payload)
                        await asyncio.sleep(0.3)
                    await eventually(lambda: bool(asked), what="the edge to be asked for the window")
            finally:
                worker.cancel()
                await asyncio.gather(worker, return_exceptions=True)
    [alarm] = alarming.alarms()
    assert alarm["state"] == "active" and len(heard) == 1
    assert alarm["package"]["state"] == "asked"
