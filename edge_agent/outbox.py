"""The outbox: sealed items on their way to the cloud, on disk.

Invariants
    1. An item is on disk (synchronous=FULL) before it is first published.
    2. Stream, next sequence and last hash move in the transaction that stores the item: no number is used twice, none
       is skipped, whatever moment the process dies at.
    3. An item leaves by a receipt that proves it committed, by being re-sealed into another stream after a fork, or,
       where the outbox is full, by a numbered LOSS item that names the missing range and is stored in the same transaction.
    4. It never holds more than `max_bytes` of items; only DATA and WINDOW items are ever given up, oldest first.
    5. An epoch's key is kept as long as an item sealed under it is here, so that a fork can be re-sealed; never longer.

    6. A call that raises has changed nothing, and the next may succeed: a disk that was full is no reason to end.

Layout: one SQLite file in WAL mode, mode 0600 because epoch keys are in it. Tables: position (one row), epochs, items.
Readers have a connection of their own: on the writer's they would see what is not on disk yet.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from telemetry.seal import ItemKind, item_hash
from telemetry.streams import FIRST_PREVIOUS

_SCHEMA = """
CREATE TABLE IF NOT EXISTS position(
    one INTEGER PRIMARY KEY CHECK(one = 1), stream BLOB NOT NULL, sequence INTEGER NOT NULL, previous BLOB NOT NULL,
    closed_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS epochs(epoch BLOB PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items(
    n INTEGER PRIMARY KEY AUTOINCREMENT, stream BLOB NOT NULL, sequence INTEGER NOT NULL, kind INTEGER NOT NULL,
    epoch BLOB NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, idle_since_ms INTEGER NOT NULL,
    hash BLOB NOT NULL, sealed BLOB NOT NULL, UNIQUE(stream, sequence));
CREATE INDEX IF NOT EXISTS items_by_hash ON items(hash);
"""
_COLUMNS = "n, stream, sequence, kind, epoch, first_ms, last_ms, idle_since_ms, hash, sealed"
_CHUNK = 64  # items held in memory at a time while re-sealing


class OutboxError(RuntimeError):
    """The outbox file cannot be written or read: full or failing disk. Nothing of the failed call is stored."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where the next item goes: its stream, number, and the hash it names as previous."""

    stream: bytes
    sequence: int = 0
    previous: bytes = FIRST_PREVIOUS


@dataclass(frozen=True, slots=True)
class Draft:
    """An item to be sealed. `span` is the first and last sample time in ms; `idle_since_ms` what an OPEN item states (only
    ingest can open one, so it is kept beside it)."""

    kind: ItemKind
    plaintext: bytes
    dictionary: bytes
    span: tuple[int, int] = (0, 0)
    nonces: tuple[bytes, ...] = ()
    idle_since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Loss:
    """Items given up because the outbox was full: numbers `low`..`high` of `stream`, sample times `span`."""

    stream: bytes
    low: int
    high: int
    span: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored item; `n` is its order in the outbox."""

    n: int
    stream: bytes
    sequence: int
    kind: ItemKind
    epoch: bytes
    span: tuple[int, int]
    idle_since_ms: int
    hash: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Released:
    """What a receipt let go: the `n` of each item. `foreign`: it speaks of items that this outbox did not seal."""

    items: tuple[int, ...] = ()
    foreign: bool = False


Seal = Callable[[Draft, Position], bytes]
LossDraft = Callable[[list[Loss]], Draft]


class Outbox:
    """Thread-safe; every method may block on the disk. `epoch` is the epoch that `seal` seals under."""

    def __init__(self, path: Path, *, max_bytes: int = 256 << 20) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # of the writer; taken before the readers', where both are
        self._read_lock = threading.Lock()
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA auto_vacuum=INCREMENTAL;")
            self._db.executescript(_SCHEMA)
            self._bytes: int = self._db.execute("SELECT coalesce(sum(length(sealed)), 0) FROM items").fetchone()[0]
            if self._db.execute("SELECT count(*) FROM position").fetchone()[0] == 0:
                self._db.execute("INSERT INTO position VALUES(1, ?, 0, ?, 0)", (os.urandom(16), FIRST_PREVIOUS))
            self._reader = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._reader.execute("PRAGMA query_only = ON")
        except (sqlite3.Error, OSError) as error:
            raise OutboxError(f"{path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock, self._read_lock:
            self._reader.close()
            self._db.close()

    @property
    def bytes_held(self) -> int:
        """Bytes of sealed items held."""
        return self._bytes

    def position(self) -> Position:
        """Where the next item goes."""
        with self._read_lock:
            return _position(self._reader)

    def closed_ms(self) -> int:
        """Wall time at which the last item was stored; 0 if none ever was."""
        return int(self._rows("SELECT closed_ms FROM position")[0][0])

    def add_epoch(self, epoch: bytes, key: bytes) -> None:
        """Keep the key of this process's epoch, and forget those that no item needs any more. Raises OutboxError."""
        with self._lock, self._transaction():
            self._db.execute("DELETE FROM epochs WHERE epoch NOT IN (SELECT epoch FROM items)")
            self._db.execute("INSERT INTO epochs VALUES(?, ?)", (epoch, key))

    def epoch_key(self, epoch: bytes) -> bytes:
        """Key of an epoch. Raises KeyError."""
        rows = self._rows("SELECT key FROM epochs WHERE epoch = ?", epoch)
        if not rows:
            raise KeyError(epoch.hex())
        return rows[0][0]

    def append(self, drafts: Iterable[Draft], *, seal: Seal, epoch: bytes, now_ms: int, loss: LossDraft) -> list[Loss]:
        """Seal and store items, in order, in one transaction; returns what had to be given up for them. Raises
        OutboxError, and then nothing was stored and no number used."""
        with self._lock, self._transaction():
            lost: list[Loss] = []
            position = _position(self._db)
            for draft in drafts:
                dropped = self._make_room(len(draft.plaintext) + 1024)
                if dropped:
                    lost.extend(dropped)
                    position = self._store(loss(dropped), position, seal, epoch)
                position = self._store(draft, position, seal, epoch)
            self._move(position)
            self._db.execute("UPDATE position SET closed_ms = ?", (now_ms,))
            return lost

    def pending(self, *, after: int = 0, limit: int = 64) -> list[Stored]:
        """Items with n above `after`, in order."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM items WHERE n > ? ORDER BY n LIMIT ?", after, limit)
        return [_stored(row) for row in rows]

    def items(self, numbers: Sequence[int]) -> list[Stored]:
        """Those of the items `numbers` (their n) that are still held, in order."""
        marks = ",".join("?" * len(numbers))
        return [
            _stored(row)
            for row in self._rows(f"SELECT {_COLUMNS} FROM items WHERE n IN ({marks}) ORDER BY n", *numbers)
        ]

    def release(self, stream: bytes, *, contiguous: int, hash: bytes, taken: Iterable[bytes] = ()) -> Released:
        """A receipt: let go of what is proven to be committed. That is each item whose hash is in `taken`, and, where this
        outbox holds item `contiguous` with that very `hash`, all items before it too: they are chained into it.
        Numbers prove nothing: another branch of the stream, committed before this state was restored from a copy, has
        the same ones. Raises OutboxError."""
        with self._lock, self._transaction():
            held = self._db.execute(
                "SELECT hash FROM items WHERE stream = ? AND sequence = ?", (stream, contiguous)
            ).fetchone()
            position = _position(self._db)
            ahead = stream == position.stream and contiguous >= position.sequence
            gone: list[int] = []
            if held and held[0] == hash:
                gone += self._delete("stream = ? AND sequence <= ?", stream, contiguous)
            for one in taken:
                gone += self._delete("hash = ? AND +stream = ?", one, stream)  # + : by the index on hash
            return Released(tuple(gone), foreign=ahead or (held is not None and held[0] != hash))

    def holds(self, stream: bytes, sequence: int, hash: bytes) -> bool:
        """Whether this very item is here."""
        query = "SELECT 1 FROM items WHERE stream = ? AND sequence = ? AND hash = ?"
        return bool(self._rows(query, stream, sequence, hash))

    def reseal(
        self,
        stream: bytes,
        *,
        since: int,
        opening: Callable[[Stored | None], Draft],
        reopen: Callable[[Stored], Draft | None],
        seal: Seal,
        epoch: bytes,
    ) -> Position | None:
        """After a fork of `stream` at `since`: what is still held of it from there on is sealed again, in order, into the
        stream that items go to now. If that is the forked one, a new stream takes its place and begins with
        `opening(item)`, where `item` is the OPEN item that it stands for, if one is first among what is held. Returns the
        new position; None if there was nothing to do. Raises OutboxError."""
        where = "stream = ? AND sequence >= ?"
        with self._lock, self._transaction():
            position = _position(self._db)
            held = self._select(where, stream, since, limit=_CHUNK)
            if stream != position.stream and not held:
                return None
            if stream == position.stream:
                replaced = held[0] if held and held[0].kind is ItemKind.OPEN else None
                position = self._store(opening(replaced), Position(os.urandom(16)), seal, epoch)
                if replaced is not None:
                    self._delete("n = ?", replaced.n)
                    held = held[1:]
            while held:
                for item in held:
                    draft = reopen(item)
                    self._delete("n = ?", item.n)
                    if draft is not None:
                        position = self._store(draft, position, seal, epoch)
                held = self._select(where, stream, since, limit=_CHUNK)
            self._move(position)
            return position

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._read_lock:
            try:
                return self._reader.execute(statement, values).fetchall()
            except sqlite3.OperationalError as error:
                raise OutboxError(str(error)) from error

    # ---- inside a transaction

    @contextlib.contextmanager
    def _transaction(self) -> Generator[None]:
        """BEGIN IMMEDIATE … COMMIT. On every other way out, a COMMIT that failed among them, all is as it was before."""
        before = self._bytes
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            self._bytes = before
            if self._db.in_transaction:  # SQLite itself rolls some failures back
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise OutboxError(str(error)) from error
            raise

    def _move(self, position: Position) -> None:
        self._db.execute(
            "UPDATE position SET stream = ?, sequence = ?, previous = ?",
            (position.stream, position.sequence, position.previous),
        )

    def _select(self, where: str, *values: object, limit: int) -> list[Stored]:
        statement = f"SELECT {_COLUMNS} FROM items WHERE {where} ORDER BY n LIMIT {limit}"
        return [_stored(row) for row in self._db.execute(statement, values)]

    def _store(self, draft: Draft, position: Position, seal: Seal, epoch: bytes) -> Position:
        sealed = seal(draft, position)
        digest = item_hash(sealed)
        place = (position.stream, position.sequence, int(draft.kind), epoch)
        self._db.execute(
            f"INSERT INTO items({_COLUMNS}) VALUES(NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*place, *draft.span, draft.idle_since_ms, digest, sealed),
        )
        self._bytes += len(sealed)
        return Position(position.stream, position.sequence + 1, digest)

    def _make_room(self, size: int) -> list[Loss]:
        """Give up the oldest DATA and WINDOW items until `size` more bytes fit."""
        dropped: list[Loss] = []
        while self._bytes + size > self._max_bytes:
            rows = self._db.execute(
                # A window that is given up takes no data with it: of its time only the end is said to be lost.
                "SELECT n, stream, sequence, iif(kind = ?, last_ms, first_ms), last_ms, length(sealed) FROM items "
                "WHERE kind IN (?, ?) ORDER BY n LIMIT 16",
                (int(ItemKind.WINDOW), int(ItemKind.DATA), int(ItemKind.WINDOW)),
            ).fetchall()
            if not rows:
                raise OutboxError(f"max_bytes {self._max_bytes} is too small for a single item")
            for n, stream, sequence, first, last, length in rows:
                self._db.execute("DELETE FROM items WHERE n = ?", (n,))
                self._bytes -= length
                end = dropped[-1] if dropped else None
                if end and end.stream == stream and end.high == sequence - 1:
                    dropped[-1] = Loss(stream, end.low, sequence, (min(end.span[0], first), max(end.span[1], last)))
                else:
                    dropped.append(Loss(stream, sequence, sequence, (first, last)))
        return dropped

    def _delete(self, where: str, *values: object) -> list[int]:
        gone = self._db.execute(f"DELETE FROM items WHERE {where} RETURNING n, length(sealed)", values).fetchall()
        self._bytes -= sum(length for _, length in gone)
        return [n for n, _ in gone]


def _position(db: sqlite3.Connection) -> Position:
    stream, sequence, previous = db.execute("SELECT stream, sequence, previous FROM position").fetchone()
    return Position(stream, sequence, previous)


def _stored(row: tuple[Any, ...]) -> Stored:
    n, stream, sequence, kind, epoch, first_ms, last_ms, idle_since_ms, digest, sealed = row
    return Stored(n, stream, sequence, ItemKind(kind), epoch, (first_ms, last_ms), idle_since_ms, digest, sealed)
