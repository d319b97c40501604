"""The log of signed heads: opaque signed bytes, one record each, in one file for the whole ledger.

Several workers may add heads: each holds an exclusive lock while it reads the last head, makes the next (which names the
last by hash) and has it on disk. A torn tail, which nobody can have seen, is cut off under that lock; damage before it
raises LedgerCorrupt. What a head says is `telemetry.head`; signing is the caller's.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from ingest.ledger import LedgerCorrupt, layout, records, tree

Make = Callable[[bytes | None], bytes]


class HeadLog:
    """The log in a ledger's folder. Remembers how far it has read, so the latest head costs what is new since."""

    def __init__(self, ledger: Path) -> None:
        self._folder = ledger / layout.HEADS_FOLDER
        self._path = self._folder / layout.HEADS_FILE
        self._read_to = 0
        self._last: bytes | None = None

    def append(self, make: Make) -> bytes:
        """Add a head and return it. `make` gets the signed head before it (None for the first) and returns the new signed
        one. Blocks. Raises LedgerCorrupt; OSError if it cannot be stored (then the log is as before)."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._catch_up(file)
            signed = make(self._last)
            record, _ = records.pack([signed])
            os.ftruncate(file, self._read_to)
            try:
                tree.write_at(file, record, self._read_to)
                os.fsync(file)
            except OSError:
                os.ftruncate(file, self._read_to)
                raise
            if self._read_to == 0:
                _sync_folders(self._folder, self._folder.parent)
            self._read_to += len(record)
            self._last = signed
            return signed
        finally:
            os.close(file)

    def latest(self) -> bytes | None:
        """The newest signed head; None before the first. Raises LedgerCorrupt."""
        if self._path.exists():
            file = os.open(self._path, os.O_RDONLY)
            try:
                self._catch_up(file)
            finally:
                os.close(file)
        return self._last

    def all(self) -> list[bytes]:
        """All signed heads, oldest first. Raises LedgerCorrupt."""
        data = self._path.read_bytes() if self._path.exists() else b""
        heads = [entry for _, entry in records.scan(data)]
        self._check(data, sum(records.HEADER.size + len(head) for head in heads), 0)
        return heads

    def _catch_up(self, file: int) -> None:
        size = os.fstat(file).st_size
        if size < self._read_to:
            raise LedgerCorrupt(f"{self._path}: shrank from {self._read_to} to {size} bytes")
        data = os.pread(file, size - self._read_to, self._read_to)
        good = 0
        for offset, entry in records.scan(data):
            good, self._last = offset + records.HEADER.size + len(entry), entry
        self._check(data, good, self._read_to)
        self._read_to += good

    def _check(self, data: bytes, good: int, base: int) -> None:
        following = records.good_after(data, good) if good < len(data) else None
        if following is not None:
            place = f"{self._path}: damage at offset {base + good}"
            raise LedgerCorrupt(f"{place}, a good record follows at {base + following}")


def _sync_folders(*folders: Path) -> None:
    for folder in folders:
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
