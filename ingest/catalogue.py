"""What the cloud's pages and the verifier may ask of ingest's tables. Reading only; every method blocks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, Select, and_, func, or_, select

from ingest import tables
from ingest.index import epoch_place
from telemetry import clock, dictionary
from telemetry.dictionary import Dictionary
from telemetry.messages import BIRTH_EVERY_MS
from telemetry.seal import ItemKind
from telemetry.streams import Progress
from telemetry.topics import Address

_LONGEST_FRAME_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class EdgeEntry:
    """An edge of the register. `online`: it said so itself lately. `refused`: refused messages on its topics, by reason."""

    address: Address
    public_key: bytes
    approved_ms: int
    revoked_ms: int | None
    online: bool
    seen_ms: int
    refused: dict[str, int]


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """A stream and which of its items are committed."""

    stream: bytes
    address: Address
    progress: Progress
    parent: bytes | None
    forked_at: int | None


@dataclass(frozen=True, slots=True)
class ForkEntry:
    """A quarantined item: its number came with another hash than the committed one."""

    stream: bytes
    sequence: int
    hash: bytes
    found_ms: int


@dataclass(frozen=True, slots=True)
class GapEntry:
    """A stated gap: nothing was acquired, or what was acquired was given up."""

    address: Address
    from_ms: int
    to_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item is in the ledger, and its hash."""

    shard: int
    leaf: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class LateSpan:
    """Frames that arrived late and lie close together: the samples' times, and when the last of them arrived."""

    address: Address
    from_ms: int
    to_ms: int
    arrival_ms: int


@dataclass(frozen=True, slots=True)
class ItemEntry:
    """A committed item by its header. Times are those of its samples, 0 where it has none."""

    stream: bytes
    sequence: int
    hash: bytes
    kind: ItemKind
    shard: int
    leaf: int
    arrival_ms: int
    first_ms: int
    last_ms: int
    dictionary: bytes


class Catalogue:
    """Answers for one enterprise at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._decoded: dict[bytes, Dictionary] = {}

    def edges(self, enterprise: str) -> list[EdgeEntry]:
        """The enterprise's edges."""
        table, counts = tables.edges, tables.refusals
        with self._engine.connect() as db:
            refused: dict[str, dict[str, int]] = {}
            for row in db.execute(select(counts).where(counts.c.topic.like(f"%/{enterprise}/%"))):
                refused.setdefault(row.topic.split("/")[-2], {})[row.reason] = int(row[2])
            return [
                EdgeEntry(
                    Address(row.enterprise, row.edge),
                    row.public_key,
                    row.approved_ms,
                    row.revoked_ms,
                    row.online and row.seen_ms > clock.now_ms() - 3 * BIRTH_EVERY_MS,
                    row.seen_ms,
                    refused.get(row.edge, {}),
                )
                for row in db.execute(select(table).where(table.c.enterprise == enterprise).order_by(table.c.edge))
            ]

    def streams(self, address: Address) -> list[StreamEntry]:
        """An edge's streams."""
        table = tables.streams
        query = select(table).where(table.c.enterprise == address.enterprise, table.c.edge == address.edge)
        with self._engine.connect() as db:
            return [
                StreamEntry(
                    row.stream,
                    address,
                    Progress(row.contiguous, tuple((low, high) for low, high in json.loads(row.islands))),
                    row.parent,
                    row.forked_at,
                )
                for row in db.execute(query)
            ]

    def forks(self, address: Address) -> list[ForkEntry]:
        """An edge's quarantined items."""
        table = tables.forks
        query = (
            select(table.c.stream, table.c.sequence, table.c.hash, table.c.found_ms)
            .where(table.c.enterprise == address.enterprise, table.c.edge == address.edge)
            .order_by(table.c.found_ms)
        )
        with self._engine.connect() as db:
            return [ForkEntry(row.stream, row.sequence, row.hash, row.found_ms) for row in db.execute(query)]

    def gaps(self, address: Address, from_ms: int, to_ms: int) -> list[GapEntry]:
        """Stated gaps of an edge that touch from..to."""
        table = tables.gaps
        query = (
            select(table)
            .where(
                table.c.enterprise == address.enterprise,
                table.c.edge == address.edge,
                table.c.to_ms > from_ms,
                table.c.from_ms < to_ms,
            )
            .order_by(table.c.from_ms)
        )
        with self._engine.connect() as db:
            return [GapEntry(address, row.from_ms, row.to_ms, row.reason) for row in db.execute(query)]

    def late(self, address: Address, from_ms: int, to_ms: int) -> list[LateSpan]:
        """Where an edge's frames that touch from..to arrived more than a minute after their newest sample."""
        items = tables.items
        query = (
            select(items.c.first_ms, items.c.last_ms, items.c.arrival_ms)
            .where(
                items.c.stream.in_(_streams_of(address)),
                tables.came_late,
                items.c.kind == int(ItemKind.DATA),
                items.c.last_ms >= from_ms,
                items.c.first_ms < to_ms,
            )
            .order_by(items.c.first_ms)
        )
        out: list[LateSpan] = []
        with self._engine.connect() as db:
            for first, last, arrival in db.execute(query):
                if out and first - out[-1].to_ms <= tables.LATE_MS:
                    one = out[-1]
                    out[-1] = LateSpan(address, one.from_ms, max(one.to_ms, last), max(one.arrival_ms, arrival))
                else:
                    out.append(LateSpan(address, first, last, arrival))
        return out

    def due_minutes(self, enterprise: str, device: str, from_ms: int, to_ms: int) -> list[int]:
        """Minutes (starts, ms) of from..to of a device whose rollups may lack rows."""
        table = tables.rollup_due
        query = select(table.c.minute).where(
            table.c.enterprise == enterprise,
            table.c.device == device,
            table.c.minute >= from_ms,
            table.c.minute < to_ms,
        )
        with self._engine.connect() as db:
            return list(db.execute(query).scalars())

    def items(
        self,
        address: Address,
        from_ms: int,
        to_ms: int,
        *,
        kinds: Sequence[ItemKind],
        after: int,
        limit: int,
    ) -> list[ItemEntry]:
        """An edge's items that touch from..to, by leaf, those after a leaf."""
        items = tables.items
        data = [int(kind) for kind in kinds if kind is ItemKind.DATA]
        rest = [int(kind) for kind in kinds if kind is not ItemKind.DATA]
        query = (
            select(items)
            .where(
                items.c.stream.in_(_streams_of(address)),
                items.c.last_ms >= from_ms,
                items.c.first_ms < to_ms,
                items.c.leaf > after,
                or_(
                    items.c.kind.in_(rest),
                    # the upper bound lets the index end the search: no frame is that long
                    and_(items.c.kind.in_(data), items.c.last_ms < to_ms + _LONGEST_FRAME_MS),
                ),
            )
            .order_by(items.c.leaf)
            .limit(limit)
        )
        with self._engine.connect() as db:
            return [
                ItemEntry(
                    row.stream,
                    row.sequence,
                    row.hash,
                    ItemKind(row.kind),
                    row.shard,
                    row.leaf,
                    row.arrival_ms,
                    row.first_ms,
                    row.last_ms,
                    row.dictionary,
                )
                for row in db.execute(query)
            ]

    def dictionary(self, enterprise: str, digest: bytes) -> bytes | None:
        """The bytes of an enterprise's dictionary by its hash."""
        table = tables.dictionaries
        query = select(table.c.body).where(table.c.hash == digest, table.c.enterprise == enterprise)
        with self._engine.connect() as db:
            return db.execute(query).scalar()

    def epoch(self, address: Address, epoch: bytes) -> tuple[int, int] | None:
        """(shard, leaf) of the item that opened an edge's epoch."""
        return epoch_place(self._engine, address, epoch)

    def dictionaries(self, enterprise: str) -> list[Dictionary]:
        """The newest dictionary of each of the enterprise's edges, the newest of all last."""
        table = tables.dictionaries
        newest = (
            select(table.c.edge, func.max(table.c.order).label("order"))
            .where(table.c.enterprise == enterprise)
            .group_by(table.c.edge)
            .subquery()
        )
        query = select(table.c.hash, table.c.body).join(
            newest, (table.c.edge == newest.c.edge) & (table.c.order == newest.c.order)
        )
        with self._engine.connect() as db:
            rows = db.execute(query.where(table.c.enterprise == enterprise).order_by(table.c.arrival_ms)).all()
        for row in rows:
            if row.hash not in self._decoded:
                self._decoded[row.hash] = dictionary.decode(row.body)
        return [self._decoded[row.hash] for row in rows]

    def place(self, address: Address, stream: bytes, sequence: int) -> Place | None:
        """Where an edge's item is in the ledger; None if it is not there or is another edge's."""
        items, streams = tables.items, tables.streams
        query = (
            select(items.c.shard, items.c.leaf, items.c.hash)
            .join(streams, streams.c.stream == items.c.stream)
            .where(
                items.c.stream == stream,
                items.c.sequence == sequence,
                streams.c.enterprise == address.enterprise,
                streams.c.edge == address.edge,
            )
        )
        with self._engine.connect() as db:
            row = db.execute(query).first()
        return None if row is None else Place(row.shard, row.leaf, row.hash)

    def queryable_to_ms(self, address: Address, consumer: str = "historian") -> int:
        """Arrival time up to which a consumer has brought the edge's shard; 0 if nothing yet."""
        table = tables.cursors
        query = select(table.c.to_ms).where(table.c.consumer == consumer, table.c.shard == address.shard)
        with self._engine.connect() as db:
            return int(db.execute(query).scalar() or 0)


def _streams_of(address: Address) -> Select[tuple[bytes]]:
    table = tables.streams
    return select(table.c.stream).where(table.c.enterprise == address.enterprise, table.c.edge == address.edge)
