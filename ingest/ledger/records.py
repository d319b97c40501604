"""Records in a file: u32 length, u32 CRC-32, bytes. Pure functions over bytes."""

import struct
import zlib
from collections.abc import Iterable, Iterator

HEADER = struct.Struct("<II")
MAX_RECORD = 16 << 20


def pack(entries: Iterable[bytes]) -> tuple[bytes, list[int]]:
    """Records of some entries, and the length of each entry. Raises ValueError for an empty or too large entry."""
    parts: list[bytes] = []
    lengths: list[int] = []
    for entry in entries:
        if not 0 < len(entry) <= MAX_RECORD:
            raise ValueError(f"an entry has 1 to {MAX_RECORD} bytes, not {len(entry)}")
        parts += (HEADER.pack(len(entry), zlib.crc32(entry)), entry)
        lengths.append(len(entry))
    return b"".join(parts), lengths


def at(data: bytes | memoryview, offset: int) -> bytes | None:
    """The entry of the record at `offset`; None if there is no good record. An empty record is never good, so a file's
    tail of zeros does not look like records."""
    if offset + HEADER.size > len(data):
        return None
    length, crc = HEADER.unpack_from(data, offset)
    end = offset + HEADER.size + length
    if not 0 < length <= MAX_RECORD or end > len(data):
        return None
    entry = bytes(data[offset + HEADER.size : end])
    return entry if zlib.crc32(entry) == crc else None


def scan(data: bytes | memoryview, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset, entry) of each record up to the first that is not good."""
    while (entry := at(data, offset)) is not None:
        yield offset, entry
        offset += HEADER.size + len(entry)


def good_after(data: bytes | memoryview, bad: int) -> int | None:
    """Where a good record follows the bad one at `bad`, going by the length that the bad one announces; None if none does.

    If one does, the bad record is damage in the middle and not the torn end of what was being written.
    """
    offset = bad
    while offset + HEADER.size <= len(data):
        length = HEADER.unpack_from(data, offset)[0]
        offset += HEADER.size + length
        if not 0 < length <= MAX_RECORD:
            return None
        if at(data, offset) is not None:
            return offset
    return None
