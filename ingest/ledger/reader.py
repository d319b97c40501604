"""Reading the ledger: from a folder or any fsspec URL (s3://…), while a writer is at work or long after.

Needs no lock: what the index names is complete (invariant 5) and never changes, so nodes are cached without a thought. A
reader never sees half a batch as more than the index says.
"""

import threading
from pathlib import Path
from typing import Any

import fsspec

from ingest.ledger import LedgerCorrupt, LedgerError, LedgerMissing, layout, records, tree
from ingest.ledger.layout import INDEX
from telemetry import proof

_CACHED_NODES = 100_000
_RUN_BYTES = 8 << 20


class Reader:
    """A ledger's reader. `place` is a folder or an fsspec URL; `options` go to that file system (endpoint, credentials).

    Every method blocks and may be called from several threads. Raises LedgerMissing for what is not (yet) there,
    LedgerCorrupt for an entry that does not fit its CRC, LedgerError if the store cannot be reached.
    """

    def __init__(self, place: str | Path, **options: Any) -> None:
        self._fs, self._base = fsspec.core.url_to_fs(str(place), use_listings_cache=False, **options)
        self._nodes: dict[tuple[int, int, int], bytes] = {}
        self._heads_lock = threading.Lock()
        self._heads_read = 0
        self._newest_head: bytes | None = None

    def shards(self) -> list[int]:
        """Numbers of the shards that have a folder."""
        try:
            names = self._fs.ls(self._base, detail=False)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LedgerError(f"the ledger cannot be read: {error}") from error
        numbers = (layout.shard_number(name.rstrip("/").rsplit("/", 1)[-1]) for name in names)
        return sorted(n for n in numbers if n is not None)

    def size(self, shard: int) -> int:
        """Committed leaves that the index names."""
        return self._length(shard, layout.INDEX_FILE) // INDEX.size

    def entry(self, shard: int, leaf: int) -> bytes:
        """The bytes of one entry."""
        return self.entries(shard, leaf, 1)[0]

    def entries(self, shard: int, leaf: int, count: int) -> list[bytes]:
        """The entries from `leaf` on, at most `count`, fewer where the index ends or some 8 MiB are full; at least one."""
        if leaf < 0 or count < 1:
            raise LedgerMissing(f"shard {shard} has no leaf {leaf}")
        raw = self._read(shard, layout.INDEX_FILE, INDEX.size * leaf, INDEX.size * (leaf + count))
        lines = list(INDEX.iter_unpack(raw[: len(raw) // INDEX.size * INDEX.size]))
        if not lines:
            raise LedgerMissing(f"shard {shard} has no leaf {leaf} yet")
        segment, start, _ = lines[0]
        run = [
            (offset, length)
            for number, offset, length in lines
            if number == segment and (offset == start or offset - start < _RUN_BYTES)
        ]
        end = run[-1][0] + records.HEADER.size + run[-1][1]
        data = self._read(shard, layout.segment_file(segment), start, end)
        out: list[bytes] = []
        for offset, length in run:
            entry = records.at(data, offset - start)
            if entry is None or len(entry) != length:
                place = f"{layout.shard_folder(shard)}/{layout.segment_file(segment)} at offset {offset}"
                raise LedgerCorrupt(f"{place} (leaf {leaf + len(out)}): the entry does not fit its CRC")
            out.append(entry)
        return out

    def root(self, shard: int, size: int) -> bytes:
        """Root of the first `size` leaves."""
        self._check_size(shard, size)
        return proof.root(size, self._nodes_of(shard))

    def inclusion(self, shard: int, leaf: int, size: int) -> list[bytes]:
        """Audit path of a leaf in the tree of the first `size`. Raises ProofError too."""
        self._check_size(shard, size)
        return proof.inclusion(leaf, size, self._nodes_of(shard))

    def consistency(self, shard: int, old: int, new: int) -> list[bytes]:
        """Proof that the first `old` leaves begin the first `new`. Raises ProofError too."""
        self._check_size(shard, new)
        return proof.consistency(old, new, self._nodes_of(shard))

    def latest_head(self) -> bytes | None:
        """The newest signed head, as it was signed; None before the first. Costs what is new since it was last asked."""
        with self._heads_lock:
            good = 0
            for offset, entry in records.scan(self._heads_from(self._heads_read)):
                self._newest_head = entry
                good = offset + records.HEADER.size + len(entry)
            self._heads_read += good
            return self._newest_head

    def heads(self) -> list[bytes]:
        """All signed heads, oldest first. A record still being written is not there yet."""
        return [entry for _, entry in records.scan(self._heads_from(0))]

    def _heads_from(self, start: int) -> bytes:
        path = f"{self._base}/{layout.HEADS_FOLDER}/{layout.HEADS_FILE}"
        try:
            held = int(self._fs.size(path) or 0)
            return bytes(self._fs.cat_file(path, start=start, end=held)) if start < held else b""
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise LedgerError(f"the ledger's heads cannot be read: {error}") from error

    def _check_size(self, shard: int, size: int) -> None:
        held = self.size(shard)
        if not 0 <= size <= held:
            raise LedgerMissing(f"shard {shard} has {held} leaves, not {size}")

    def _nodes_of(self, shard: int) -> proof.Nodes:
        fetch = tree.nodes(lambda name, start, end: self._read(shard, name, start, end))

        def node(level: int, index: int) -> bytes:
            key = (shard, level, index)
            digest = self._nodes.get(key)
            if digest is None:
                digest = fetch(level, index)
                if len(self._nodes) >= _CACHED_NODES:
                    self._nodes.clear()
                self._nodes[key] = digest
            return digest

        return node

    def _path(self, shard: int, name: str) -> str:
        return f"{self._base}/{layout.shard_folder(shard)}/{name}"

    def _length(self, shard: int, name: str) -> int:
        try:
            return int(self._fs.size(self._path(shard, name)) or 0)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise LedgerError(f"the ledger cannot be read: {error}") from error

    def _read(self, shard: int, name: str, start: int, end: int) -> bytes:
        held = self._length(shard, name)
        if start >= held:
            return b""
        try:
            return bytes(self._fs.cat_file(self._path(shard, name), start=start, end=min(end, held)))
        except FileNotFoundError as error:
            raise LedgerMissing(f"{layout.shard_folder(shard)}/{name}") from error
        except OSError as error:
            raise LedgerError(f"the ledger cannot be read: {error}") from error
