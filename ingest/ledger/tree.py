"""The level files of one shard: every complete subtree's node, each level append-only.

What a node is never changes, so writing the same nodes again over what is there (recovery does) disturbs no reader.
"""

import errno
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ingest.ledger import LedgerMissing, layout
from telemetry import proof
from telemetry.proof import HASH_BYTES

_KEPT_OPEN = 4

ReadAt = Callable[[str, int, int], bytes]  # file name, start, end → bytes


def nodes(read: ReadAt) -> proof.Nodes:
    """Nodes out of level files. Raises LedgerMissing for a node that is not there."""

    def node(level: int, index: int) -> bytes:
        digest = read(layout.level_file(level), HASH_BYTES * index, HASH_BYTES * (index + 1))
        if len(digest) != HASH_BYTES:
            raise LedgerMissing(f"node {index} of level {level}")
        return digest

    return node


class TreeWriter:
    """Appends leaf hashes. `size` leaves are written; open at a size whose nodes are all on disk."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._kept: list[int] = []
        self.size = size
        self.nodes = nodes(self._read)
        # The last node of every level with an odd number of them: what the next node there will be paired with.
        self._waiting = [self.nodes(level, (size >> level) - 1) if size >> level & 1 else b"" for level in range(64)]

    def append(self, digests: Sequence[bytes]) -> None:
        """Write leaf hashes and every node that they complete. Raises OSError."""
        out: list[list[bytes]] = []
        starts = [self.size >> level for level in range(64)]
        leaf = self.size
        for digest in digests:
            level, number = 0, leaf
            while True:
                if level == len(out):
                    out.append([])
                out[level].append(digest)
                if not number & 1:
                    self._waiting[level] = digest
                    break
                digest = proof.node_hash(self._waiting[level], digest)
                level, number = level + 1, number >> 1
            leaf += 1
        for level, new in enumerate(out):
            with self._file(level) as file:
                write_at(file, b"".join(new), HASH_BYTES * starts[level])
        self.size = leaf

    def trim(self) -> None:
        """Cut off whatever lies beyond the nodes of `size` leaves."""
        for level in self._present():
            with self._file(level) as file:
                os.ftruncate(file, HASH_BYTES * (self.size >> level))

    def sync(self) -> None:
        """fsync of every level."""
        for level in self._present():
            with self._file(level) as file:
                os.fsync(file)

    def close(self) -> None:
        """Close the files."""
        for file in self._kept:
            os.close(file)
        self._kept = []

    def _present(self) -> Iterator[int]:
        level = 0
        while (self._folder / layout.level_file(level)).exists():
            yield level
            level += 1

    @contextmanager
    def _file(self, level: int) -> Generator[int]:
        """A level's file. The low levels, written by every batch, stay open; a process with 64 shards could not keep all."""
        if level < len(self._kept):
            yield self._kept[level]
            return
        file = os.open(self._folder / layout.level_file(level), os.O_RDWR | os.O_CREAT, 0o644)
        if level == len(self._kept) < _KEPT_OPEN:
            self._kept.append(file)
            yield file
            return
        try:
            yield file
        finally:
            os.close(file)

    def _read(self, name: str, start: int, end: int) -> bytes:
        with open(self._folder / name, "rb") as file:
            file.seek(start)
            return file.read(end - start)


def covers(folder: Path, size: int) -> bool:
    """Whether the level files hold every node of `size` leaves."""
    level = 0
    while size >> level:
        path = folder / layout.level_file(level)
        if not path.exists() or path.stat().st_size < HASH_BYTES * (size >> level):
            return False
        level += 1
    return True


def write_at(file: int, data: bytes, offset: int) -> None:
    """All of `data` at `offset`. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        if written <= 0:
            raise OSError(errno.EIO, "the file takes no more bytes")
        view, offset = view[written:], offset + written
