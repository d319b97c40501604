"""Names of the ledger's files and shapes of their records."""

import re
import struct

INDEX = struct.Struct("<IQI")  # segment, offset of the record, length of the entry
SEGMENT_BYTES = 64 << 20
INDEX_FILE = "index.bin"
LOCK_FILE = "lock"
HEADS_FOLDER = "heads"
HEADS_FILE = "heads.bin"

_SEGMENT = re.compile(r"segment-(\d{8})\.bin")
_SHARD = re.compile(r"shard-(\d{2,4})")


def shard_folder(shard: int) -> str:
    """Folder of a shard."""
    return f"shard-{shard:02d}"


def shard_number(name: str) -> int | None:
    """Inverse of `shard_folder`; None for another name."""
    found = _SHARD.fullmatch(name)
    return int(found[1]) if found else None


def segment_file(number: int) -> str:
    """File of a segment."""
    return f"segment-{number:08d}.bin"


def segment_number(name: str) -> int | None:
    """Inverse of `segment_file`; None for another name."""
    found = _SEGMENT.fullmatch(name)
    return int(found[1]) if found else None


def level_file(level: int) -> str:
    """File of a level."""
    return f"level-{level:02d}.bin"
