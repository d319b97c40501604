"""An enrolled edge, a real broker, a disk that fills up, and what stands at the other end: something that takes items as
ingest does, and can be told what to refuse."""

import asyncio
import contextlib
import os
import resource
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edge_agent.enrol import KEY_FILE
from edge_agent.settings import AgentSettings
from telemetry import clock, enrolment, keys, seal
from telemetry.enrolment import Grant
from telemetry.keys import SigningKey
from telemetry.messages import Receipt
from telemetry.mqtt import BrokerSettings, Incoming, Session
from telemetry.seal import Item
from telemetry.streams import FIRST_PREVIOUS, Place, Progress, add, place
from telemetry.topics import Address, Channel
from tests.edge_agent.harness import free_port, until

ENTERPRISE = "91350100M000100Y43"
ADDRESS = Address(ENTERPRISE, "edge-1")


def signing_key() -> SigningKey:
    return keys.signing_key(Ed25519PrivateKey.generate())


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[int]:
    """A broker in a process of its own; its port."""
    port = free_port()
    file = folder / "broker.yaml"
    file.write_text(f"port: {port}\n", encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-m", "starproof", "broker", str(file)
    )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        writer.close()
        yield port
    finally:
        process.kill()
        await process.wait()


@contextmanager
def full_disk(outbox: Path) -> Iterator[None]:
    """The outbox's files cannot grow, as on a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(f"{outbox}-wal").st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@dataclass
class Cloud:
    """Takes items as ingest does and receipts them. `refuses` says of which items it takes no notice."""

    port: int
    edge_key: keys.VerifyingKey
    receipt_key: SigningKey = field(default_factory=signing_key)
    refuses: Callable[[Item], bool] = lambda _: False
    committed: dict[tuple[bytes, int], Item] = field(default_factory=dict[tuple[bytes, int], Item])
    came: list[Item] = field(default_factory=list[Item])
    progress: dict[bytes, Progress] = field(default_factory=dict[bytes, Progress])
    forked: set[bytes] = field(default_factory=set[bytes])

    async def __aenter__(self) -> "Cloud":
        self.session = Session(
            BrokerSettings(port=self.port),
            "cloud",
            subscriptions=((ADDRESS.topic(Channel.UP), 1),),
            on_message=self._received,
        )
        await self.session.__aenter__()
        await asyncio.wait_for(self.session.connected.wait(), 20)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.session.__aexit__(*error)

    def _received(self, message: Incoming) -> None:
        item = seal.check(message.payload, key=self.edge_key, topic=message.topic)
        self.came.append(item)
        if not self.refuses(item):
            self.take(item)

    def take(self, item: Item) -> None:
        """Commit an item unless it has no place in its stream, and receipt it."""
        stream, sequence = item.header.stream, item.header.sequence
        held, before, after = (self.committed.get((stream, sequence + step)) for step in (0, -1, 1))
        where = place(
            sequence=sequence,
            hash=item.hash,
            previous=item.header.previous,
            held=held.hash if held else None,
            before=before.hash if before else None,
            after_previous=after.header.previous if after else None,
            forked=stream in self.forked,
        )
        if where is Place.NEW:
            self.committed[stream, sequence] = item
            self.progress[stream] = add(self.progress.get(stream, Progress()), sequence, sequence)
        elif where is Place.FORK:
            self.forked.add(stream)
        if where is not Place.DETACHED:
            fork = where is Place.FORK
            self.receipt(stream, taken=() if fork else (item.hash,), forked=(sequence, item.hash) if fork else None)

    def receipt(self, stream: bytes, *, taken: tuple[bytes, ...] = (), forked: tuple[int, bytes] | None = None) -> None:
        progress = self.progress.get(stream, Progress())
        at = self.committed.get((stream, progress.contiguous))
        topic = ADDRESS.topic(Channel.RECEIPT)
        said = Receipt(
            edge=ADDRESS.edge,
            stream=stream,
            contiguous=progress.contiguous,
            hash=at.hash if at else FIRST_PREVIOUS,
            highest=progress.highest,
            missing=progress.missing(),
            taken=taken,
            forked=forked,
            time_ms=clock.now_ms(),
        )
        self.session.publish(topic, said.sign(self.receipt_key, topic))


@dataclass
class Enrolled:
    """Folder, keys and settings of an edge that was let in."""

    folder: Path
    receipt_key: SigningKey = field(default_factory=signing_key)
    command_key: SigningKey = field(default_factory=signing_key)
    exchange: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    def __post_init__(self) -> None:
        self.signer = keys.create_signing_key(self.folder / "keys" / KEY_FILE)
        grant = Grant(
            enterprise=ENTERPRISE,
            edge=ADDRESS.edge,
            receipt_key=keys.to_text(self.receipt_key.public),
            command_key=keys.to_text(self.command_key.public),
            exchange_key=keys.to_text(keys.exchange_public(self.exchange)),
        )
        enrolment.write(grant, self.folder / "cloud.json")

    @property
    def outbox(self) -> Path:
        return self.folder / "state" / "outbox.db"

    def settings(self, *, port: int = 9, **changes: Any) -> AgentSettings:
        """Settings with one motor that nobody can reach."""
        motor = {
            "uid": "motor-1",
            "type": "large_motor",
            "connection": {"protocol": "modbus_tcp", "host": "127.0.0.1", "port": 9},
            "points": [{"tag": "speed", "address": 0, "type": "int32", "scale": 0.1}],
        }
        return AgentSettings.model_validate(
            {
                "enterprise": ENTERPRISE,
                "edge": ADDRESS.edge,
                "state_dir": self.folder / "state",
                "broker": {"port": port},
                "keys": self.folder / "keys",
                "cloud_keys": self.folder / "cloud.json",
                "frame": {"period_s": 0.1},
                "devices": [motor],
                **changes,
            }
        )


@asynccontextmanager
async def task(coroutine: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """A running task; cancelled at the end. What it raised is raised."""
    running = asyncio.create_task(coroutine, name="under test")
    try:
        yield running
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


__all__ = ["ADDRESS", "ENTERPRISE", "Cloud", "Enrolled", "broker", "full_disk", "signing_key", "task", "until"]
