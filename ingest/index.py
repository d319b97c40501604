"""The index of committed items: headers, streams, epochs, dictionaries, stated gaps. Made from the ledger, and made again
from it wherever a crash left it behind.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select, update

from ingest import tables
from ingest.checking import Neighbours
from ingest.opening import Opened
from ingest.sql import insert_for
from telemetry.seal import Item, ItemKind
from telemetry.streams import Progress, Range, add
from telemetry.topics import Address


@dataclass(frozen=True, slots=True)
class Committed:
    """An item in the ledger. `opened` is None where it cannot be opened yet."""

    address: Address
    item: Item
    shard: int
    leaf: int
    arrival_ms: int
    opened: Opened | None


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream as the index has it."""

    stream: bytes
    address: Address
    progress: Progress
    parent: bytes | None = None
    forked_at: int | None = None


def neighbours(db: Connection, stream: bytes, sequence: int) -> Neighbours:
    """What is committed around a place of a stream."""
    items, streams = tables.items, tables.streams
    rows = db.execute(
        select(items.c.sequence, items.c.hash, items.c.previous).where(
            items.c.stream == stream, items.c.sequence.in_([sequence - 1, sequence, sequence + 1])
        )
    )
    found = {row.sequence: row for row in rows}
    owner = db.execute(
        select(streams.c.enterprise, streams.c.edge, streams.c.forked_at).where(streams.c.stream == stream)
    ).first()
    return Neighbours(
        held=found[sequence].hash if sequence in found else None,
        before=found[sequence - 1].hash if sequence - 1 in found else None,
        after_previous=found[sequence + 1].previous if sequence + 1 in found else None,
        forked=owner is not None and owner.forked_at is not None,
        owner=Address(owner.enterprise, owner.edge) if owner is not None else None,
    )


def stream_state(db: Connection, stream: bytes) -> StreamState | None:
    """A stream's state; None if nothing of it was ever committed."""
    table = tables.streams
    row = db.execute(select(table).where(table.c.stream == stream)).first()
    if row is None:
        return None
    islands = tuple((low, high) for low, high in json.loads(row.islands))
    return StreamState(
        stream, Address(row.enterprise, row.edge), Progress(row.contiguous, islands), row.parent, row.forked_at
    )


def record(db: Connection, committed: Iterable[Committed]) -> None:
    """Enter items. Doing it twice changes nothing."""
    for one in committed:
        header = one.item.header
        db.execute(
            insert_for(db, tables.items)
            .values(
                stream=header.stream,
                sequence=header.sequence,
                hash=one.item.hash,
                previous=header.previous,
                kind=int(header.kind),
                dictionary=header.dictionary,
                first_ms=header.span[0],
                last_ms=header.span[1],
                arrival_ms=one.arrival_ms,
                shard=one.shard,
                leaf=one.leaf,
            )
            .on_conflict_do_nothing()
        )
        if header.kind is ItemKind.OPEN:
            values = {
                "enterprise": one.address.enterprise,
                "edge": one.address.edge,
                "epoch": header.epoch,
                "shard": one.shard,
                "leaf": one.leaf,
            }
            db.execute(insert_for(db, tables.epochs).values(**values).on_conflict_do_nothing())
        _advance(db, header.stream, one.address, (header.sequence, header.sequence))
        if one.opened is not None:
            record_content(db, one, one.opened)
        elif header.kind in (ItemKind.DICTIONARY, ItemKind.LOSS):
            values = {"consumer": CONTENT, "shard": one.shard, "leaf": one.leaf}
            db.execute(insert_for(db, tables.deferred).values(**values).on_conflict_do_nothing())


CONTENT = "index"  # its deferred items are those whose content the index could not enter yet


def record_content(db: Connection, one: Committed, opened: Opened) -> None:
    """Enter what an opened item says: a dictionary, a gap, a loss, a parent stream."""
    header = one.item.header
    if header.kind is ItemKind.DICTIONARY and opened.dictionary is not None:
        values = {
            "hash": opened.dictionary.hash,
            "enterprise": one.address.enterprise,
            "edge": one.address.edge,
            "body": opened.dictionary.encode(),
            "arrival_ms": one.arrival_ms,
            "order": one.leaf,
        }
        statement = insert_for(db, tables.dictionaries).values(**values)
        newest = {"arrival_ms": one.arrival_ms, "order": one.leaf}
        db.execute(statement.on_conflict_do_update(index_elements=["hash"], set_=newest))
    elif opened.opening is not None:
        opening = opened.opening
        if opening.parent is not None:
            of_this = tables.streams.c.stream == header.stream
            db.execute(update(tables.streams).where(of_this).values(parent=opening.parent[0]))
        if opening.idle_since_ms > 0:
            _gap(db, one, 0, (opening.idle_since_ms, opening.wall_ms), "agent_stopped")
    for part, lost in enumerate(opened.losses):
        _gap(db, one, part, (lost.first_ms, lost.last_ms), "outbox_full")
        state = stream_state(db, lost.stream)
        if state is None or state.address == one.address:  # nobody declares another edge's items lost
            _advance(db, lost.stream, one.address, (lost.low, lost.high))


def _gap(db: Connection, one: Committed, part: int, span: Range, reason: str) -> None:
    values = {
        "stream": one.item.header.stream,
        "sequence": one.item.header.sequence,
        "part": part,
        "enterprise": one.address.enterprise,
        "edge": one.address.edge,
        "from_ms": span[0],
        "to_ms": span[1],
        "reason": reason,
    }
    db.execute(insert_for(db, tables.gaps).values(**values).on_conflict_do_nothing())


def _advance(db: Connection, stream: bytes, address: Address, held: Range) -> None:
    state = stream_state(db, stream)
    progress = add(state.progress if state else Progress(), *held)
    values = {"contiguous": progress.contiguous, "islands": json.dumps(progress.islands)}
    if state is None:
        row = {"stream": stream, "enterprise": address.enterprise, "edge": address.edge, **values}
        db.execute(insert_for(db, tables.streams).values(**row))
    elif progress != state.progress:
        db.execute(update(tables.streams).where(tables.streams.c.stream == stream).values(**values))


def quarantine(db: Connection, address: Address, item: Item, sealed: bytes, found_ms: int) -> bool:
    """Keep a forked item apart and mark its stream. True the first time this fork is seen."""
    header = item.header
    values = {
        "stream": header.stream,
        "sequence": header.sequence,
        "hash": item.hash,
        "enterprise": address.enterprise,
        "edge": address.edge,
        "found_ms": found_ms,
        "sealed": sealed,
    }
    entered = insert_for(db, tables.forks).values(**values).on_conflict_do_nothing().returning(tables.forks.c.stream)
    new = db.execute(entered).first() is not None
    table = tables.streams
    db.execute(
        update(table)
        .where(table.c.stream == header.stream, table.c.forked_at.is_(None))
        .values(forked_at=header.sequence)
    )
    return new


def count_refusals(db: Connection, counts: dict[tuple[str, str], int], now_ms: int) -> None:
    """Add to the counters of refused messages, by (topic, reason)."""
    table = tables.refusals
    for (topic, reason), count in counts.items():
        statement = insert_for(db, table).values(topic=topic[:255], reason=reason, count=count, last_ms=now_ms)
        db.execute(
            statement.on_conflict_do_update(
                index_elements=["topic", "reason"], set_={"count": table.c.count + count, "last_ms": now_ms}
            )
        )


def indexed_to(engine: Engine, shard: int) -> int:
    """Up to which leaf of a shard the index is complete."""
    table = tables.indexed
    with engine.connect() as db:
        return int(db.execute(select(table.c.leaf).where(table.c.shard == shard)).scalar() or 0)


def mark_indexed(db: Connection, shard: int, leaf: int) -> None:
    """Every leaf below `leaf` is dealt with."""
    statement = insert_for(db, tables.indexed).values(shard=shard, leaf=leaf)
    db.execute(statement.on_conflict_do_update(index_elements=["shard"], set_={"leaf": leaf}))


def hash_at(db: Connection, stream: bytes, sequence: int) -> bytes | None:
    """Hash of a committed item."""
    items = tables.items
    return db.execute(select(items.c.hash).where(items.c.stream == stream, items.c.sequence == sequence)).scalar()


def epoch_place(engine: Engine, address: Address, epoch: bytes) -> tuple[int, int] | None:
    """(shard, leaf) of the first OPEN item of an edge's epoch."""
    table = tables.epochs
    query = select(table.c.shard, table.c.leaf).where(
        table.c.enterprise == address.enterprise, table.c.edge == address.edge, table.c.epoch == epoch
    )
    with engine.connect() as db:
        row = db.execute(query).first()
    return None if row is None else (row.shard, row.leaf)


def dictionary_bytes(engine: Engine, digest: bytes) -> bytes | None:
    """A dictionary by its hash."""
    table = tables.dictionaries
    with engine.connect() as db:
        row = db.execute(select(table.c.body).where(table.c.hash == digest)).first()
    return None if row is None else bytes(row.body)
