"""Signed heads: one over all shards, whenever the ledger grew."""

from pathlib import Path

from ingest.ledger.heads import HeadLog
from ingest.shards import Shards
from telemetry import clock, head
from telemetry.keys import SigningKey


class HeadKeeper:
    """Signs with the ledger's key. A head may be taken only of what is committed, and the reader sees no more."""

    def __init__(self, ledger: Path, shards: Shards, signer: SigningKey) -> None:
        self._log = HeadLog(ledger)
        self._shards = shards
        self._signer = signer
        self._last: dict[int, int] = {}

    def keep(self) -> bool:
        """Add a head if any shard grew since the last; returns whether one was added."""
        reader = self._shards.reader
        sizes = {shard: size for shard in reader.shards() if (size := reader.size(shard))}
        if not sizes or sizes == self._last:
            return False

        def make(before: bytes | None) -> bytes:
            known = {shard: (size, reader.root(shard, size)) for shard, size in sizes.items()}
            prev = b"" if before is None else head.digest(before)
            return head.sign(head.make(clock.now_ms(), known, prev), self._signer)

        self._log.append(make)
        self._last = sizes
        return True
