"""The will is made anew for each connection."""

import asyncio
import itertools
import socket
from pathlib import Path

from telemetry.mqtt import BrokerSettings, Incoming, LastWill, Session
from tests.edge_agent import agent_kit
from tests.edge_agent.agent_kit import until


async def test_each_connection_has_a_will_of_its_own(tmp_path: Path) -> None:
    count = itertools.count(1)
    wills: list[bytes] = []

    def heard(message: Incoming) -> None:
        wills.append(message.payload)

    async with agent_kit.broker(tmp_path) as port:
        broker = BrokerSettings(port=port)
        watcher = Session(broker, "watcher", subscriptions=(("will", 1),), on_message=heard)
        connected: list[bool] = []
        dying = Session(
            broker,
            "dying",
            will=lambda: LastWill("will", b"%d" % next(count)),
            on_connect=lambda: connected.append(True),
        )
        async with watcher, dying:
            await asyncio.wait_for(watcher.connected.wait(), 20)
            for number in (1, 2, 3):
                await until(lambda number=number: len(connected) == number, seconds=20)
                connection = dying._client.socket()
                assert connection is not None
                connection.shutdown(socket.SHUT_RDWR)  # the cable comes out: nothing is said
                await until(lambda number=number: len(wills) == number, seconds=20)
    assert wills == [b"1", b"2", b"3"]
