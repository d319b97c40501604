"""The ledger: sealed frames as they came, append-only, in one Merkle tree a shard.

Invariants
    1. An entry is *committed* when the fsync of its segment has returned. `Writer.append` returns only then.
    2. A committed entry never moves and never changes. Leaf numbers of a shard count from 0 without holes.
    3. The segments alone are the ledger. index.bin and the level files are made from them and can be made again.
    4. One writer a shard: it holds an exclusive lock on the file `lock` as long as it lives. Readers take no lock.
    5. index.bin never names an entry that is not committed, and when it names n entries the level files are complete for n.

Layout of <ledger>/
    shard-07/segment-00000000.bin   records, one after the other: u32 length, u32 CRC-32 of the entry, entry (never empty)
    shard-07/index.bin              16 bytes a leaf: u32 segment, u64 offset of the record, u32 length of the entry
    shard-07/level-00.bin           leaf hashes, 32 bytes each
    shard-07/level-01.bin …         roots of the complete subtrees of 2^level leaves: number i stands at 32·i
    shard-07/lock
    heads/heads.bin                 signed heads, as records like those of a segment
All integers little-endian. A segment holds at most 64 MiB, or one batch if that is larger; a batch lies in one segment.

Commit
    append the batch to the last segment → fsync the segment (the commit) → append to the level files, then to index.bin.
    Before a new segment is begun, levels and index are fsynced: whatever lies before the last segment is safe in both.
    If a write fails the batch is taken back; if an fsync fails nobody knows what is on disk, and the writer refuses all
    further work until it is opened again.

Recovery, at every opening
    The last segment is read from its beginning and its part of index and levels is written again. If index or levels
    do not cover everything before it, or the nodes on which later ones build do not fit their children, the same is done
    from the first segment.
    A torn tail is one batch that was never committed: it is cut off. It is told from damage thus: the index does not name
    it, it is in the last segment, and no good record follows it. Anything else that does not fit its CRC raises
    LedgerCorrupt with its place; nothing is ever repaired by guessing.
"""


class LedgerError(Exception):
    """The ledger cannot do this."""


class LedgerCorrupt(LedgerError):
    """Bytes that were committed are gone or changed. Names file, offset and leaf."""


class LedgerBusy(LedgerError):
    """Another writer has this shard."""


class LedgerBroken(LedgerError):
    """An fsync or a write failed: the writer must be opened again."""


class LedgerMissing(LedgerError):
    """A leaf, node or shard that is not (or not yet) there was asked for."""
