"""An edge without machines: real outbox, real seals, samples made up. And a committer to send its items to."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent import framing, sealing
from edge_agent.outbox import Draft, Outbox, Stored
from edge_agent.sealing import Sealer
from ingest import register
from ingest.committer import Committer, Outcome
from ingest.opening import Opener
from ingest.shards import Shards
from ingest.tables import connect
from telemetry import enrolment, keys, samples
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.mqtt import Incoming
from telemetry.samples import Kind
from telemetry.topics import Address, Channel

ENTERPRISE = "E1"
WALL = 1_700_000_000_000


@dataclass
class Cloud:
    """Register, ledger and committer in a folder; `restart` makes a new process of it."""

    folder: Path

    def __post_init__(self) -> None:
        register.ensure_keys(self.folder / "keys")
        self.exchange = keys.load_exchange_key(self.folder / "keys" / "exchange.pem")
        self.receipt = keys.load_signing_key(self.folder / "keys" / "receipt.pem")
        self.start()

    def start(self) -> None:
        self.engine = connect(f"sqlite:///{self.folder / 'ingest.db'}")
        self.shards = Shards(self.engine, self.folder / "ledger", worker="w", numbers=range(64))
        self.committer = Committer(
            self.engine,
            self.shards,
            lambda me: Opener(self.exchange, find_epoch=me.epoch_item, find_dictionary=me.dictionary),
        )
        self.committer.catch_up()

    def restart(self) -> None:
        self.shards.close()
        self.start()

    def enrol(self, edge: "Edge") -> None:
        code = enrolment.make_code()
        request = enrolment.Request(
            enterprise=ENTERPRISE, edge=edge.address.edge, public_key=keys.to_text(edge.signer.public)
        )
        register.approve(self.engine, enrolment.with_mac(request, code), code)

    def send(self, *messages: Incoming) -> Outcome:
        return self.committer.commit(list(messages))

    def stored(self, address: Address) -> list[bytes]:
        """Every entry of the edge's shard."""
        reader = self.shards.reader
        return [reader.entry(address.shard, leaf) for leaf in range(reader.size(address.shard))]


@dataclass
class Edge:
    """Makes items as an agent does."""

    folder: Path
    cloud: Cloud
    name: str = "edge-1"
    words: Dictionary = field(init=False)

    def __post_init__(self) -> None:
        self.address = Address(ENTERPRISE, self.name)
        self.signer = keys.signing_key(Ed25519PrivateKey.generate())
        tags = (TagSpec("p", resolution="0.01"), TagSpec("n", Kind.INT))
        self.words = Dictionary(
            ENTERPRISE, self.name, (DeviceSpec(f"{self.name}-boiler", "industrial_boiler", tags=tags),)
        )
        self.start()

    def start(self) -> None:
        """A new process: a new epoch on the same outbox."""
        self.topic = self.address.topic(Channel.UP)
        self.outbox = Outbox(self.folder / f"{self.name}.db")
        self.sealer = Sealer(self.signer, self.topic, keys.exchange_public(self.cloud.exchange), os.urandom(16))
        self.outbox.add_epoch(self.sealer.epoch, self.sealer.key)
        opening = self.sealer.opening(reason="start", parent=None, idle_since_ms=self.outbox.closed_ms())
        self.put(opening, framing.dictionary_draft(self.words))

    def put(self, *drafts: Draft) -> None:
        self.outbox.append(drafts, seal=self.sealer.seal, epoch=self.sealer.epoch, now_ms=WALL, loss=sealing.loss_draft)

    def sample(self, value: float, at_ms: int = WALL) -> None:
        """One frame with one value."""
        rows = samples.from_rows([(0, at_ms, value, 0, Kind.FLOAT)])
        self.put(*framing.frame_drafts(rows, self.words, notes={}))

    def items(self) -> list[Stored]:
        return self.outbox.pending(limit=10_000)

    def messages(self) -> list[Incoming]:
        return [self.message(item.sealed) for item in self.items()]

    def message(self, sealed: bytes) -> Incoming:
        return Incoming(self.topic, sealed, retained=False)
