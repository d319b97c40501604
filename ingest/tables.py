"""Ingest's own few tables: the register of edge keys, streams, an index of headers, and who has come how far.

The ledger is the truth. Everything here about items can be made again from it (`Committer.catch_up` does so after a crash);
only the register of keys, revocations and cursors are kept here alone.
"""

import contextlib
from collections.abc import Generator

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    select,
    text,
)

metadata = MetaData()

_LOCK = 0x5354_4152  # of PostgreSQL's advisory locks, ours

edges = Table(
    "ingest_edges",
    metadata,
    Column("enterprise", String(64), primary_key=True),
    Column("edge", String(64), primary_key=True),
    Column("public_key", LargeBinary(32), nullable=False),
    Column("approved_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    Column("online", Boolean, nullable=False, default=False),
    Column("seen_ms", BigInteger, nullable=False, default=0),
    Column("birth_boot", LargeBinary(16)),  # of the last birth, so that an old one is not taken for news
    Column("birth_wall_ms", BigInteger),
    Column("birth_mono_ms", BigInteger),
)

revoked_keys = Table(
    "ingest_revoked_keys",
    metadata,
    Column("public_key", LargeBinary(32), primary_key=True),
    Column("revoked_ms", BigInteger, nullable=False),
)

used_requests = Table(
    "ingest_used_requests",
    metadata,
    Column("mac", String(64), primary_key=True),  # one request, one approval
    Column("approved_ms", BigInteger, nullable=False),
)

indexed = Table(
    "ingest_indexed",
    metadata,
    Column("shard", Integer, primary_key=True),
    Column("leaf", BigInteger, nullable=False),  # every leaf below it is in the index, or was found not to belong there
)

streams = Table(
    "ingest_streams",
    metadata,
    Column("stream", LargeBinary(16), primary_key=True),
    Column("enterprise", String(64), nullable=False),
    Column("edge", String(64), nullable=False),
    Column("contiguous", BigInteger, nullable=False),
    Column("islands", Text, nullable=False),  # JSON [[low, high], …] above contiguous
    Column("parent", LargeBinary(16)),
    Column("forked_at", BigInteger),
    Index("ingest_streams_edge", "enterprise", "edge"),
)

items = Table(
    "ingest_items",
    metadata,
    Column("stream", LargeBinary(16), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(16), nullable=False),
    Column("previous", LargeBinary(16), nullable=False),
    Column("kind", Integer, nullable=False),
    Column("dictionary", LargeBinary(16), nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("arrival_ms", BigInteger, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("leaf", BigInteger, nullable=False),
    Index("ingest_items_leaf", "shard", "leaf", unique=True),
    Index("ingest_items_time", "stream", "kind", "last_ms", "first_ms", "leaf"),
)
LATE_MS = 60_000  # what arrives so long after its newest sample is late
came_late = text(f"arrival_ms - last_ms > {LATE_MS} AND last_ms > 0")
Index("ingest_items_late", items.c.stream, items.c.last_ms, sqlite_where=came_late, postgresql_where=came_late)

epochs = Table(
    "ingest_epochs",
    metadata,
    Column("enterprise", String(64), primary_key=True),
    Column("edge", String(64), primary_key=True),
    Column("epoch", LargeBinary(8), primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("leaf", BigInteger, nullable=False),
)

dictionaries = Table(
    "ingest_dictionaries",
    metadata,
    Column("hash", LargeBinary(16), primary_key=True),
    Column("enterprise", String(64), nullable=False),
    Column("edge", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("arrival_ms", BigInteger, nullable=False),
    Column("order", BigInteger, nullable=False),  # leaf: the edge's newest dictionary has the highest
)

gaps = Table(
    "ingest_gaps",
    metadata,
    Column("stream", LargeBinary(16), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True),
    Column("enterprise", String(64), nullable=False),
    Column("edge", String(64), nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Column("reason", String(32), nullable=False),
    Index("ingest_gaps_edge", "enterprise", "edge", "to_ms"),
)

forks = Table(
    "ingest_forks",
    metadata,
    Column("stream", LargeBinary(16), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(16), primary_key=True),
    Column("enterprise", String(64), nullable=False),
    Column("edge", String(64), nullable=False),
    Column("found_ms", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # quarantined: kept as it came, never in the ledger
)

refusals = Table(
    "ingest_refusals",
    metadata,
    Column("topic", String(255), primary_key=True),
    Column("reason", String(32), primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
)

cursors = Table(
    "ingest_cursors",
    metadata,
    Column("consumer", String(64), primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("leaf", BigInteger, nullable=False),  # the next leaf to be consumed
    Column("to_ms", BigInteger, nullable=False, default=0),  # arrival time of the last one consumed
)

deferred = Table(
    "ingest_deferred",
    metadata,
    Column("consumer", String(64), primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("leaf", BigInteger, primary_key=True, autoincrement=False),
)

rollup_due = Table(
    "ingest_rollup_due",
    metadata,
    Column("enterprise", String(64), primary_key=True),
    Column("device", String(255), primary_key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),  # ms
    Column("shard", Integer, nullable=False),
    Column("token", BigInteger, nullable=False),  # of whoever marked it last: what was marked again is not done yet
    Column("settled", Boolean, nullable=False),  # its rows are written; until then nobody makes its rollup
    Column("marked_ms", BigInteger, nullable=False),
    Index("ingest_rollup_due_marked", "shard", "settled", "marked_ms"),
)

leases = Table(
    "ingest_leases",
    metadata,
    Column("shard", Integer, primary_key=True),
    Column("worker", String(64), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)


def connect(url: str) -> Engine:
    """An engine with our tables present. SQLite is opened for several processes: WAL, and writers wait for each other."""
    engine = create_engine(url, hide_parameters=True)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _prepare(connection: object, _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
            cursor = connection.cursor()  # type: ignore[attr-defined]  # a DBAPI connection
            for pragma in ("busy_timeout=10000", "journal_mode=WAL", "synchronous=NORMAL"):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

    with alone(engine) as db:
        metadata.create_all(db)
    return engine


@contextlib.contextmanager
def alone(engine: Engine) -> Generator[Connection]:
    """A transaction that no other process runs beside this one's: for making and changing tables."""
    with engine.connect() as db:
        if engine.dialect.name == "sqlite":
            db.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            db.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        yield db
        db.commit()
