"""The uplink on a real broker, with something at the other end that refuses, forgets or speaks of another branch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent import sealing
from edge_agent.flights import WINDOW, Flights
from edge_agent.outbox import Draft, Outbox
from edge_agent.sealing import Sealer
from edge_agent.uplink import Uplink
from telemetry import keys
from telemetry.mqtt import BrokerSettings, Incoming, Session
from telemetry.seal import ItemKind
from telemetry.topics import Channel
from tests.edge_agent import agent_kit
from tests.edge_agent.agent_kit import ADDRESS, Cloud, Enrolled, full_disk, task, until


class Edge:
    """Outbox and uplink of an enrolled edge, without machines."""

    def __init__(self, enrolled: Enrolled) -> None:
        self.outbox = Outbox(enrolled.outbox)
        topic = ADDRESS.topic(Channel.UP)
        self.sealer = Sealer(enrolled.signer, topic, keys.exchange_public(enrolled.exchange), bytes(16))
        self.outbox.add_epoch(self.sealer.epoch, self.sealer.key)
        self.forks: list[tuple[bytes, int]] = []
        self.uplink = Uplink(
            self.outbox,
            ADDRESS,
            keys.verifying_key(enrolled.receipt_key.public),
            on_fork=lambda stream, sequence: self.forks.append((stream, sequence)),
            flights=Flights(wait_ms=100),
        )

    def put(self, count: int) -> None:
        drafts = [Draft(ItemKind.DATA, b"x", bytes(16), (1, 1)) for _ in range(count)]
        by = self.sealer
        self.outbox.append(drafts, seal=by.seal, epoch=by.epoch, now_ms=1, loss=sealing.loss_draft)
        self.uplink.wake()

    @asynccontextmanager
    async def running(self, port: int) -> AsyncIterator[None]:
        receipts: asyncio.Queue[Incoming] = asyncio.Queue()

        async def take() -> None:
            while True:
                await self.uplink.receipt(await receipts.get())

        session = Session(
            BrokerSettings(port=port),
            "edge",
            subscriptions=((ADDRESS.topic(Channel.RECEIPT), 1),),
            on_message=receipts.put_nowait,
            on_connect=self.uplink.restart,
        )
        async with session, task(self.uplink.run(session)), task(take()):
            yield


@pytest.fixture
def enrolled(tmp_path: Path) -> Enrolled:
    return Enrolled(tmp_path)


@asynccontextmanager
async def other_end(enrolled: Enrolled) -> AsyncIterator[Cloud]:
    async with (
        agent_kit.broker(enrolled.folder) as port,
        Cloud(port, keys.verifying_key(enrolled.signer.public), enrolled.receipt_key) as cloud,
    ):
        yield cloud


async def test_items_that_are_never_receipted_hold_up_nothing(enrolled: Enrolled) -> None:
    edge = Edge(enrolled)
    edge.put(WINDOW + 100)
    refused = set(range(WINDOW + 5))
    async with other_end(enrolled) as cloud:
        cloud.refuses = lambda item: item.header.sequence in refused
        async with edge.running(cloud.port):
            await until(lambda: len(edge.outbox.pending(limit=1000)) == len(refused), seconds=20)
            assert [item.sequence for item in edge.outbox.pending(limit=1000)] == sorted(refused)
            edge.put(50)  # and what comes later goes at once
            await until(lambda: len(edge.outbox.pending(limit=1000)) == len(refused))
            refused.clear()  # they were never given up
            await until(lambda: not edge.outbox.pending(), seconds=20)
    assert len(cloud.committed) == WINDOW + 150
    assert edge.outbox.bytes_held == 0


async def test_lost_receipts_and_messages_are_made_good(enrolled: Enrolled) -> None:
    edge = Edge(enrolled)
    async with other_end(enrolled) as cloud:
        seen: set[int] = set()

        def lost(item: agent_kit.Item) -> bool:
            first = item.header.sequence not in seen
            seen.add(item.header.sequence)
            return first and item.header.sequence % 3 == 0

        cloud.refuses = lost
        async with edge.running(cloud.port):
            edge.put(300)
            await until(lambda: not edge.outbox.pending(), seconds=20)
    assert len(cloud.committed) == 300


async def test_a_full_disk_delays_receipts_and_ends_nothing(
    enrolled: Enrolled, capsys: pytest.CaptureFixture[str]
) -> None:
    edge = Edge(enrolled)
    edge.put(20)
    async with other_end(enrolled) as cloud:
        with full_disk(enrolled.outbox):
            async with edge.running(cloud.port):
                await until(lambda: len(cloud.came) > 40)  # sent again and again
                assert len(edge.outbox.pending()) == 20
        async with edge.running(cloud.port):
            await until(lambda: not edge.outbox.pending())
    said = [line for line in capsys.readouterr().out.splitlines() if "cannot be written" in line]
    assert len(said) == 1


async def test_receipts_for_another_branch_release_nothing_and_the_fork_is_told(enrolled: Enrolled) -> None:
    copy, original = Edge(enrolled), Enrolled(enrolled.folder / "original")
    original.signer = enrolled.signer
    other = Edge(original)
    with other.outbox._transaction():  # the same stream, as in a copy of the state
        other.outbox._move(copy.outbox.position())
    async with other_end(enrolled) as cloud:
        other.put(30)
        for item in other.outbox.pending():
            cloud.take(agent_kit.seal.peek(item.sealed))
        copy.put(10)
        stream = copy.outbox.position().stream
        async with copy.running(cloud.port):
            await until(lambda: (stream, 0) in copy.forks)
            assert len(copy.outbox.pending()) == 10
    assert all(cloud.committed[stream, n].hash != copy.outbox.pending()[n].hash for n in range(10))
