"""The one writer of a shard. Commit and recovery rules stand in the package's docstring.

Everything here blocks (an fsync is the point of it): an asyncio process calls it in a thread, one call at a time.
"""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from ingest.ledger import LedgerBroken, LedgerBusy, LedgerCorrupt, layout, records, tree
from ingest.ledger.layout import INDEX
from ingest.ledger.recovery import recover
from telemetry import proof

_log = structlog.get_logger(__name__)


class Writer:
    """Opens a shard for writing. `at_least`: leaves that a signed head already covers.

    Raises LedgerBusy if another writer has it, LedgerCorrupt if committed entries are damaged or fewer than `at_least`.
    """

    def __init__(
        self, ledger: Path, shard: int, *, at_least: int = 0, segment_bytes: int = layout.SEGMENT_BYTES
    ) -> None:
        self._folder = ledger / layout.shard_folder(shard)
        self._segment_bytes = segment_bytes
        self._broken = False
        self.shard = shard
        if not self._folder.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(ledger)
        self._lock = _locked(self._folder / layout.LOCK_FILE)
        try:
            state = recover(self._folder)
            if state.leaves < at_least:
                raise LedgerCorrupt(f"{self._folder}: {state.leaves} leaves, but a signed head covers {at_least}")
        except BaseException:
            os.close(self._lock)
            raise
        if state.cut:
            _log.warning("torn tail cut off", shard=shard, segment=state.segment, bytes=state.cut)
        self._segment, self._offset = state.segment, state.length
        self._tree = tree.TreeWriter(self._folder, state.leaves)
        self._index = os.open(self._folder / layout.INDEX_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        self._file = self._open_segment()

    @property
    def size(self) -> int:
        """Committed leaves."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """Root of all committed leaves."""
        return proof.root(self.size, self._tree.nodes)

    def append(self, entries: Sequence[bytes]) -> int:
        """Commit a batch with one fsync; returns the leaf number of its first entry.

        Raises ValueError for an empty or too large entry (nothing is written); OSError if the disk takes no more (the batch
        is taken back, the writer stays usable); LedgerBroken if the outcome is unknown: open the shard again.
        """
        if self._broken:
            raise LedgerBroken(f"shard {self.shard}: an earlier write failed")
        first = self.size
        if not entries:
            return first
        batch, lengths = records.pack(entries)
        if self._offset and self._offset + len(batch) > self._segment_bytes:
            self._roll()
        self._commit(batch)
        self._describe([proof.leaf_hash(entry) for entry in entries], lengths)
        self._offset += len(batch)
        return first

    def close(self) -> None:
        """Make index and levels safe and let the lock go."""
        if self._lock < 0:
            return
        try:
            if not self._broken:
                self._sync_derived()
        finally:
            self._tree.close()
            for file in (self._index, self._file, self._lock):
                os.close(file)
            self._lock = -1
            self._broken = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _commit(self, batch: bytes) -> None:
        try:
            tree.write_at(self._file, batch, self._offset)
        except OSError:
            self._broken = True  # until what was half written is gone again
            os.ftruncate(self._file, self._offset)
            self._broken = False
            raise
        try:
            os.fsync(self._file)
        except OSError as error:
            self._broken = True
            raise LedgerBroken(f"shard {self.shard}: fsync failed: {error}") from error

    def _describe(self, digests: list[bytes], lengths: list[int]) -> None:
        """Levels, then index. What fails here is committed all the same, and the next opening makes these files again."""
        first, offset = self.size, self._offset
        lines: list[bytes] = []
        for length in lengths:
            lines.append(INDEX.pack(self._segment, offset, length))
            offset += records.HEADER.size + length
        try:
            self._tree.append(digests)
            tree.write_at(self._index, b"".join(lines), INDEX.size * first)
        except OSError as error:
            self._broken = True
            raise LedgerBroken(f"shard {self.shard}: committed, but not indexed: {error}") from error

    def _roll(self) -> None:
        self._broken = True
        try:
            self._sync_derived()
            self._segment, self._offset = self._segment + 1, 0
            old, self._file = self._file, self._open_segment()
        except OSError as error:
            raise LedgerBroken(f"shard {self.shard}: no new segment: {error}") from error
        os.close(old)
        self._broken = False

    def _sync_derived(self) -> None:
        self._tree.sync()
        os.fsync(self._index)

    def _open_segment(self) -> int:
        path = self._folder / layout.segment_file(self._segment)
        new = not path.exists()
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if new:
            _sync_folder(self._folder)
        return file


def _locked(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise LedgerBusy(f"{path.parent} has another writer") from error
    return file


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
