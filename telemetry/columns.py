"""Integer and float columns as bytes, encoded and decoded by numpy without a loop over values.

Integers are zigzag LEB128 (7 bits a byte, least significant group first, as in DWARF 4, 7.6), so a small difference is
one byte. Every value takes at least one byte: a decoder never makes more values than it was given bytes.
"""

import numpy as np
import numpy.typing as npt

from telemetry.samples import Int64s

UInt64s = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]

_MAX_GROUPS = 10  # 64 bits in groups of 7


class ColumnError(ValueError):
    """These bytes are not the column they should be."""


def zigzag(values: Int64s) -> UInt64s:
    """Signed to unsigned so that small magnitudes stay small: 0, -1, 1, -2 → 0, 1, 2, 3."""
    return ((values << 1) ^ (values >> 63)).view(np.uint64)


def unzigzag(values: UInt64s) -> Int64s:
    """Inverse of `zigzag`."""
    return (values >> np.uint64(1)).view(np.int64) ^ -(values & np.uint64(1)).view(np.int64)


def pack(values: UInt64s) -> bytes:
    """LEB128 of every value, one after the other."""
    if not len(values):
        return b""
    sizes = np.ones(len(values), dtype=np.int64)
    for group in range(1, _MAX_GROUPS):
        more = values >= np.uint64(1 << (7 * group))
        if not more.any():
            break
        sizes += more
    starts = np.cumsum(sizes) - sizes
    out = np.empty(int(starts[-1] + sizes[-1]), dtype=np.uint8)
    for group in range(int(sizes.max())):
        rows = np.flatnonzero(sizes > group)
        byte = (values[rows] >> np.uint64(7 * group)) & np.uint64(0x7F)
        out[starts[rows] + group] = byte.astype(np.uint8) | ((sizes[rows] > group + 1) << 7).astype(np.uint8)
    return out.tobytes()


def unpack(data: bytes, count: int) -> UInt64s:
    """Inverse of `pack`. Raises ColumnError unless `data` holds exactly `count` values."""
    raw = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if len(ends) != count or (len(raw) and (not count or ends[-1] != len(raw) - 1)):
        raise ColumnError(f"expected {count} integers, found {len(ends)}")
    if not count:
        return np.zeros(0, dtype=np.uint64)
    starts = np.concatenate(([0], ends[:-1] + 1))
    sizes = ends - starts + 1
    if sizes.max() > _MAX_GROUPS or (raw[ends[sizes == _MAX_GROUPS]] > 1).any():
        raise ColumnError("integer wider than 64 bits")
    out = np.zeros(count, dtype=np.uint64)
    for group in range(int(sizes.max())):
        rows = np.flatnonzero(sizes > group)
        out[rows] |= (raw[starts[rows] + group] & 0x7F).astype(np.uint64) << np.uint64(7 * group)
    return out


def planes(values: UInt64s) -> bytes:
    """64-bit words as eight planes of bytes: like bytes lie side by side and compress."""
    return np.ascontiguousarray(values.view(np.uint8).reshape(-1, 8).T).tobytes()


def unplanes(data: bytes, count: int) -> UInt64s:
    """Inverse of `planes`. Raises ColumnError."""
    if len(data) != 8 * count:
        raise ColumnError(f"expected {count} words, found {len(data)} bytes")
    return np.ascontiguousarray(np.frombuffer(data, dtype=np.uint8).reshape(8, -1).T).view(np.uint64).reshape(-1)


def differences(values: Int64s, counts: Int64s) -> Int64s:
    """Each value less the one before it in the same tag; a tag's first stands as it is. Wraps at 64 bits, as does `sums`."""
    out = np.diff(values, prepend=0)
    firsts = np.cumsum(counts) - counts
    out[firsts] = values[firsts]
    return out


def sums(differences: Int64s, counts: Int64s) -> Int64s:
    """Inverse of `differences`."""
    if not len(differences):
        return differences
    total = np.cumsum(differences)
    firsts = np.cumsum(counts) - counts
    before = np.where(firsts > 0, total[np.maximum(firsts, 1) - 1], 0)
    return total - np.repeat(before, counts)


def ranges(starts: Int64s, counts: Int64s) -> Int64s:
    """start, start+1, … of each tag, concatenated."""
    if not len(starts):
        return np.zeros(0, dtype=np.int64)
    return np.arange(int(counts.sum())) + np.repeat(starts - (np.cumsum(counts) - counts), counts)


class Writer:
    """Collects byte columns, each with its length before it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def number(self, value: int) -> None:
        """One unsigned integer below 2^64."""
        out = bytearray()
        while value >= 0x80:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
        self._parts.append(bytes(out))

    def raw(self, data: bytes) -> None:
        """Bytes with their length before them."""
        self.number(len(data))
        self._parts.append(data)

    def signed(self, values: Int64s) -> None:
        """A column of signed integers; the reader must know how many."""
        self.raw(pack(zigzag(values)))

    def bytes(self) -> bytes:
        """All that was written."""
        return b"".join(self._parts)


class Reader:
    """Reads what Writer wrote. Every method raises ColumnError where the bytes end or do not fit."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, limit: int = 1 << 32) -> int:
        """One unsigned integer, at most `limit`."""
        value = shift = 0
        while True:
            if self._at >= len(self._data) or shift > 63:
                raise ColumnError("ends inside an integer")
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if value > limit:
            raise ColumnError(f"{value} exceeds the limit of {limit}")
        return value

    def raw(self) -> bytes:
        """Bytes with their length before them."""
        size = self.number()
        if size > len(self._data) - self._at:
            raise ColumnError("ends inside a column")
        self._at += size
        return self._data[self._at - size : self._at]

    def signed(self, count: int) -> Int64s:
        """A column of `count` signed integers."""
        return unzigzag(unpack(self.raw(), count))

    def end(self) -> None:
        """Raises ColumnError if anything is left."""
        if self._at != len(self._data):
            raise ColumnError("bytes left over")
