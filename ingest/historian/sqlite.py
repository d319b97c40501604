"""The embedded historian: one SQLite file, nothing to install.

WAL, so any number of processes read while one writes. synchronous=FULL: the consumer's cursor lies in another database, and
must never be ahead of what is here after a power cut; one fsync a batch is cheap. (With NORMAL the last transactions could
be missing while the cursor had moved on, and nothing would replay them.)

    series   (enterprise, device, tag, kind) → id
    samples  (series, time) → value, quality, origin; WITHOUT ROWID, so rows of a series lie together in time
    arrays   (series, time) → float64 little-endian, apart so that waveforms do not stretch the rows of samples

value holds REAL, INTEGER or TEXT by kind, uint64 as the int64 of the same bits, NULL where there is none or it is an array.
Floats that SQLite would change (NaN becomes NULL, -0.0 becomes 0) and infinities are kept as 8 bytes.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ingest.historian import base, columns, moments, sqlite_rollups
from ingest.historian.base import Buckets, HistorianBatch, HistorianUnavailable, Rows, Span
from ingest.historian.moments import Moments
from ingest.historian.records import Presence
from telemetry.dictionary import Dictionary
from telemetry.samples import Blob, Int64s, Kind, Quality, Samples

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, enterprise TEXT NOT NULL, device TEXT NOT NULL, tag TEXT NOT NULL, kind INTEGER NOT NULL,
    UNIQUE (enterprise, device, tag, kind));
CREATE TABLE IF NOT EXISTS samples (
    series INTEGER NOT NULL, time INTEGER NOT NULL, value, quality INTEGER NOT NULL, origin INTEGER NOT NULL,
    PRIMARY KEY (series, time)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS arrays (
    series INTEGER NOT NULL, time INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (series, time));
"""
_BUSY_S = 10.0
_READERS = 4
_CACHED_DICTIONARIES = 1000
_PAGE = 100_000


class SqliteHistorian:
    """A historian in one file. Blocking work is done in threads of its own."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="historian-write")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="historian-read")
        self._series: dict[bytes, Int64s] = {}

    async def write(self, *batches: HistorianBatch) -> None:
        """One transaction."""
        await self._run(self._writer, lambda db: self._write(db, batches))

    async def latest(self, enterprise: str, device: str) -> Rows:
        return await self._run(self._readers, lambda db: _latest(db, enterprise, device))

    async def range(self, enterprise: str, device: str, tag: str, from_ms: int, to_ms: int, limit: int) -> Samples:
        return await self._run(
            self._readers,
            lambda db: columns.by_time(
                [_range(db, s, k, from_ms, to_ms, limit) for s, k in _series_of(db, enterprise, device, tag)], limit
            ),
        )

    async def aggregate(
        self, enterprise: str, device: str, tag: str, from_ms: int, to_ms: int, buckets: int
    ) -> Buckets:
        width = base.bucket_width(from_ms, to_ms, buckets)

        def work(db: sqlite3.Connection) -> Buckets:
            out = base.no_buckets(from_ms, to_ms, width)
            for series, kind in _series_of(db, enterprise, device, tag):
                if kind is Kind.UINT:  # beyond 2^63 the stored bits are not the number
                    _add_pages(db, series, from_ms, to_ms, out, width)
                elif kind in moments.NUMERIC:
                    _add_grouped(db, series, from_ms, to_ms, out, width)
            return out

        return await self._run(self._readers, work)

    async def coverage(self, enterprise: str, device: str, from_ms: int, to_ms: int) -> Mapping[str, Span]:
        return await self._run(self._readers, lambda db: _coverage(db, enterprise, device, from_ms, to_ms))

    async def oldest(self, enterprise: str, device: str) -> int | None:
        return await self._run(self._readers, lambda db: _oldest(db, enterprise, device))

    async def roll(self, enterprise: str, device: str, minutes: Int64s) -> None:
        """One transaction."""

        def work(db: sqlite3.Connection) -> None:
            series = [(number, kind) for number, _, kind in _series_of_device(db, enterprise, device)]
            sqlite_rollups.roll(
                db, (enterprise, device), series, minutes, lambda s, k, low, high: _range(db, s, k, low, high, -1)
            )

        await self._run(self._writer, lambda db: self._transaction(db, work))

    async def rollups(self, enterprise: str, device: str, tag: str, from_ms: int, to_ms: int) -> Moments:
        return await self._run(
            self._readers,
            lambda db: sqlite_rollups.rollups(db, _series_of(db, enterprise, device, tag), from_ms, to_ms),
        )

    async def presence(self, enterprise: str, device: str, from_ms: int, to_ms: int) -> Presence:
        return await self._run(
            self._readers, lambda db: sqlite_rollups.presence(db, (enterprise, device), from_ms, to_ms)
        )

    async def close(self) -> None:
        await asyncio.to_thread(self._shut)

    def _shut(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        for db in self._open:
            db.close()
        self._open = []

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, self._guarded, work)

    def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._connection())
        except sqlite3.DatabaseError as error:
            raise HistorianUnavailable(f"{self._path}: {error}") from error

    def _connection(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=FULL")
                db.executescript(_SCHEMA + sqlite_rollups.SCHEMA)
            except sqlite3.DatabaseError:
                db.close()
                raise
            self._local.db = db
            self._open.append(db)
        return db

    # ---- writing

    def _write(self, db: sqlite3.Connection, batches: Iterable[HistorianBatch]) -> None:
        def work(db: sqlite3.Connection) -> None:
            for batch in base.joined(batches):
                series = self._series_numbers(db, batch.dictionary, batch.samples)
                _insert(db, series, batch.samples)

        self._transaction(db, work)

    def _transaction(self, db: sqlite3.Connection, work: Callable[[sqlite3.Connection], None]) -> None:
        db.execute("BEGIN IMMEDIATE")
        try:
            work(db)
            db.execute("COMMIT")
        except BaseException:
            self._series.clear()  # it may hold numbers that were never committed
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _series_numbers(self, db: sqlite3.Connection, dictionary: Dictionary, samples: Samples) -> Int64s:
        known = self._series.get(dictionary.hash)
        if known is None:
            if len(self._series) >= _CACHED_DICTIONARIES:
                self._series.clear()
            known = self._series[dictionary.hash] = np.zeros(len(dictionary.tags), np.int64)
        numbers = known[samples.tag]
        if not numbers.all():
            for number in np.unique(samples.tag[numbers == 0]).tolist():
                device, tag = dictionary.tags[number]
                key = (dictionary.enterprise, device.uid, tag.id, int(tag.kind))
                db.execute("INSERT OR IGNORE INTO series (enterprise, device, tag, kind) VALUES (?, ?, ?, ?)", key)
                query = "SELECT id FROM series WHERE enterprise = ? AND device = ? AND tag = ? AND kind = ?"
                known[number] = db.execute(query, key).fetchone()[0]
            numbers = known[samples.tag]
        return numbers


def _insert(db: sqlite3.Connection, series: Int64s, samples: Samples) -> None:
    origin = [0] * len(samples) if samples.origin is None else samples.origin.tolist()
    rows = zip(series.tolist(), samples.time.tolist(), _values(samples), samples.quality.tolist(), origin, strict=True)
    db.executemany("INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?, ?)", rows)
    has = (samples.quality & Quality.NO_VALUE) == 0
    for row in np.flatnonzero(has & (samples.kind == Kind.ARRAY)).tolist():
        data = np.asarray(samples.blobs[int(samples.value[row])], dtype="<f8").tobytes()
        key = (int(series[row]), int(samples.time[row]), data)
        db.execute("INSERT OR REPLACE INTO arrays VALUES (?, ?, ?)", key)


def _values(samples: Samples) -> list[Any]:
    """What stands in the value column."""
    out: npt.NDArray[np.object_] = np.empty(len(samples), dtype=object)
    has = (samples.quality & Quality.NO_VALUE) == 0
    floats = has & (samples.kind == Kind.FLOAT)
    out[floats] = samples.value.view(np.float64)[floats].tolist()
    real = samples.value.view(np.float64)
    odd = floats & (~np.isfinite(real) | ((real == 0) & np.signbit(real)))
    for row in np.flatnonzero(odd).tolist():
        out[row] = samples.value[row].tobytes()
    whole = has & np.isin(samples.kind, (Kind.INT, Kind.UINT, Kind.BOOL, Kind.ENUM))
    out[whole] = samples.value[whole].tolist()
    for row in np.flatnonzero(has & (samples.kind == Kind.STRING)).tolist():
        out[row] = str(samples.blobs[int(samples.value[row])]).encode(errors="replace").decode()
    return out.tolist()


# ---- reading


def _series_of(db: sqlite3.Connection, enterprise: str, device: str, tag: str) -> list[tuple[int, Kind]]:
    query = "SELECT id, kind FROM series WHERE enterprise = ? AND device = ? AND tag = ? ORDER BY id"
    return [(number, Kind(kind)) for number, kind in db.execute(query, (enterprise, device, tag))]


def _series_of_device(db: sqlite3.Connection, enterprise: str, device: str) -> list[tuple[int, str, Kind]]:
    query = "SELECT id, tag, kind FROM series WHERE enterprise = ? AND device = ? ORDER BY id"
    return [(number, tag, Kind(kind)) for number, tag, kind in db.execute(query, (enterprise, device))]


def _latest(db: sqlite3.Connection, enterprise: str, device: str) -> Rows:
    parts: list[Samples] = []
    tags: dict[str, int] = {}
    for series, tag, kind in _series_of_device(db, enterprise, device):
        query = "SELECT time, value, quality, origin FROM samples WHERE series = ? ORDER BY time DESC LIMIT 1"
        rows = db.execute(query, (series,)).fetchall()
        if rows:
            parts.append(_decode(db, series, kind, rows, tags.setdefault(tag, len(tags))))
    return Rows(tuple(tags), columns.newest(parts))


def _range(db: sqlite3.Connection, series: int, kind: Kind, from_ms: int, to_ms: int, limit: int) -> Samples:
    query = """SELECT time, value, quality, origin FROM samples
        WHERE series = ? AND time >= ? AND time < ? ORDER BY time LIMIT ?"""
    return _decode(db, series, kind, db.execute(query, (series, from_ms, to_ms, limit)).fetchall(), 0)


def _decode(db: sqlite3.Connection, series: int, kind: Kind, rows: list[tuple[Any, ...]], tag: int) -> Samples:
    if not rows:
        return columns.empty()
    time, value, quality, origin = (list(column) for column in zip(*rows, strict=True))
    blobs: list[Blob] = []
    slots = np.zeros(len(rows), dtype=np.int64)
    if kind is Kind.FLOAT:
        for row, one in enumerate(value):
            if isinstance(one, bytes):
                value[row] = np.frombuffer(one, dtype=np.float64)[0]
            elif one is None:
                value[row] = 0.0
        slots = np.array(value, dtype=np.float64).view(np.int64)
    elif kind is Kind.STRING:
        blobs = [one or "" for one in value]
        slots = np.arange(len(rows))
    elif kind is Kind.ARRAY:
        for row, code in enumerate(quality):
            if not code & Quality.NO_VALUE:
                query = "SELECT data FROM arrays WHERE series = ? AND time = ?"
                slots[row] = len(blobs)
                blobs.append(np.frombuffer(db.execute(query, (series, time[row])).fetchone()[0], dtype="<f8"))
    else:
        slots = np.array([one or 0 for one in value], dtype=np.int64)
    codes = np.array(quality, dtype=np.uint16)
    slots = np.where(codes & Quality.NO_VALUE, 0, slots)
    return columns.series(kind, time=time, value=slots, quality=codes, origin=origin, blobs=blobs, tag=tag)


def _add_grouped(db: sqlite3.Connection, series: int, from_ms: int, to_ms: int, out: Buckets, width: int) -> None:
    query = """SELECT (time - ?) / ?, count(*), avg(value), min(value), max(value) FROM samples
        WHERE series = ? AND time >= ? AND time < ? AND typeof(value) IN ('real', 'integer') AND quality < ?
        GROUP BY 1"""
    rows = db.execute(query, (from_ms, width, series, from_ms, to_ms, int(Quality.BAD))).fetchall()
    if rows:
        at, count, mean, low, high = (np.array(column) for column in zip(*rows, strict=True))
        base.merge(out, at, count, mean.astype(np.float64), low.astype(np.float64), high.astype(np.float64))


def _add_pages(db: sqlite3.Connection, series: int, from_ms: int, to_ms: int, out: Buckets, width: int) -> None:
    while len(rows := _range(db, series, Kind.UINT, from_ms, to_ms, _PAGE)):
        base.add_rows(out, width, rows)
        from_ms = int(rows.time[-1]) + 1


def _oldest(db: sqlite3.Connection, enterprise: str, device: str) -> int | None:
    firsts: list[int] = []
    for series, _, _ in _series_of_device(db, enterprise, device):
        query = "SELECT time FROM samples WHERE series = ? AND quality & ? = 0 ORDER BY time LIMIT 1"
        row = db.execute(query, (series, int(Quality.NO_VALUE))).fetchone()
        if row is not None:
            firsts.append(row[0])
    return min(firsts, default=None)


def _coverage(db: sqlite3.Connection, enterprise: str, device: str, from_ms: int, to_ms: int) -> dict[str, Span]:
    out: dict[str, Span] = {}
    query = """SELECT count(*), min(time), max(time) FROM samples
        WHERE series = ? AND time >= ? AND time < ? AND quality & ? = 0"""
    for series, tag, _ in _series_of_device(db, enterprise, device):
        count, first, last = db.execute(query, (series, from_ms, to_ms, int(Quality.NO_VALUE))).fetchone()
        if count:
            known = out.get(tag)
            if known is not None:
                count, first, last = count + known.count, min(first, known.first), max(last, known.last)
            out[tag] = Span(count, first, last)
    return out
