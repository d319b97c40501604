"""From the bytes of replies to Samples, for all points of a scan at once.

The replies of a scan are laid behind one another: the *image*. Points of one type and order are gathered from it by one
index array which has the byte order baked in, and decoded by one view; there is no Python per value, strings excepted.

Byte order of a 32-bit value whose bytes are A (most significant) to D, as they lie on the wire: ABCD, CDAB (words
swapped), BADC (bytes swapped in each word), DCBA (both). 64-bit values follow the same two rules over four words,
16-bit values and strings the byte rule alone.

Scaled values are the float64 nearest to the decimal raw * scale + offset: with scale = m / 10**k and offset = n / 10**k
they are computed as (raw * m + n) / 10**k, which rounds once, so a raw 123 at scale 0.1 equals the literal 12.3.
Unscaled integers of kind INT, UINT, ENUM and BOOL never pass through a float.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_agent.drivers.modbus_plan import BIT_TABLES, WIDTHS, Block
from telemetry.points import Order, RegisterType
from telemetry.samples import Bools, Int32s, Int64s, Kind, Quality, Reason, Samples, UInt8s, quality

_DTYPES: dict[RegisterType, str] = {
    "bool": ">u2",
    "int16": ">i2",
    "uint16": ">u2",
    "int32": ">i4",
    "uint32": ">u4",
    "float32": ">f4",
    "int64": ">i8",
    "uint64": ">u8",
    "float64": ">f8",
}
_POW10 = np.array([float(f"1e{i}") for i in range(23)])  # the powers of ten that a float64 holds exactly
_NOT_AVAILABLE = quality(Quality.BAD, Reason.NOT_AVAILABLE, has_value=False)


@dataclass(frozen=True, slots=True)
class Field:
    """How one value is read out of its registers.

    `unavailable` is the raw content, as an unsigned number, that means "not available"; `factor` the key of the field
    that holds a power of ten (a SunSpec scale factor), whose own not-available makes this value unavailable too."""

    type: RegisterType
    kind: Kind
    order: Order = "ABCD"
    length: int = 1
    scale: float = 1.0
    offset: float = 0.0
    bit: int | None = None
    unavailable: int | None = None
    factor: int | None = None

    @property
    def registers(self) -> int:
        """How many registers it occupies."""
        return self.length if self.type == "string" else WIDTHS[self.type]


@dataclass(frozen=True, slots=True)
class Output:
    """A tag and the fields it is made of: one, or several put together by `how`."""

    tag: int
    kind: Kind
    keys: tuple[int, ...]
    how: Literal["min", "mean"] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one block's request: its bytes, or the quality of all its tags instead."""

    data: bytes
    time_ms: int
    code: int = 0


def decimal_grid(scale: float, offset: float) -> tuple[float, float, int]:
    """(m, n, k) with scale = m / 10**k and offset = n / 10**k exactly as decimals; (scale, offset, 0) where float64
    cannot hold m and n."""
    factors = Decimal(repr(scale)), Decimal(repr(offset))
    k = max([0, *(-int(f.normalize().as_tuple().exponent) for f in factors)])
    m, n = (int(f.scaleb(k)) for f in factors)
    return (float(m), float(n), k) if k < len(_POW10) and max(abs(m), abs(n)) < 1 << 53 else (scale, offset, 0)


def wire_positions(width: int, order: Order, *, words: bool = True) -> list[int]:
    """For each byte of a big-endian value, most significant first, where it lies in its `width` bytes on the wire."""
    positions = list(range(width))
    if words and order in ("CDAB", "DCBA"):
        positions = [width - 2 - 2 * (i // 2) + i % 2 for i in positions]
    if order in ("BADC", "DCBA"):
        positions = [i ^ 1 for i in positions]
    return positions


@dataclass(slots=True)
class _Group:
    """Fields of one type, order and kind of result, decoded together."""

    type: RegisterType
    target: Literal["float", "int", "nonzero"]
    out: Int64s
    gather: Int64s
    m: Any
    n: Any
    k: Any
    identity: bool
    factor: Int64s | None
    unavailable: Any


class Decoder:
    """Decodes the fields of an image. `places[i]` is the first byte of field i, or for a coil (`bits[i]`) its bit."""

    def __init__(self, fields: Sequence[Field], places: Sequence[int], coils: Sequence[bool], factors: Sequence[int]):
        """`factors[i]` is the place of field i's scale factor, -1 for none."""
        self._n = len(fields)
        self._bit_out, self._bit_byte, self._bit_shift = _bits(fields, places, coils)
        self._texts = [(i, places[i], f) for i, f in enumerate(fields) if f.type == "string"]
        numeric: dict[tuple[Any, ...], list[int]] = {}
        bits = set(self._bit_out.tolist())
        for i, f in enumerate(fields):
            if f.type != "string" and i not in bits:
                numeric.setdefault((f.type, f.order, _target(f), factors[i] >= 0), []).append(i)
        self._groups = [_group(key, members, fields, places, factors) for key, members in numeric.items()]

    def __call__(self, image: UInt8s) -> tuple[Int64s, Bools, tuple[str, ...]]:
        """(slots, unavailable, blobs) of all fields."""
        slots = np.zeros(self._n, dtype=np.int64)
        missing = np.zeros(self._n, dtype=np.bool_)
        if len(self._bit_out):
            slots[self._bit_out] = (image[self._bit_byte] >> self._bit_shift) & 1
        for group in self._groups:
            raw = image[group.gather].view(_DTYPES[group.type])[:, 0]
            gone = _gone(group, raw)
            slots[group.out] = _slots(group, raw, image, gone)
            if gone is not None:
                missing[group.out] = gone
        blobs: list[str] = []
        for out, at, field in self._texts:
            slots[out] = len(blobs)
            blobs.append(_text(image[at : at + 2 * field.length], field.order))
        return slots, missing, tuple(blobs)


def _target(field: Field) -> Literal["float", "int", "nonzero"]:
    if field.kind == Kind.FLOAT:
        return "float"
    return "nonzero" if field.kind == Kind.BOOL else "int"


def _bits(fields: Sequence[Field], places: Sequence[int], coils: Sequence[bool]) -> tuple[Int64s, Int64s, UInt8s]:
    out: list[int] = []
    byte: list[int] = []
    shift: list[int] = []
    for i, (field, at, coil) in enumerate(zip(fields, places, coils, strict=True)):
        if coil:  # bits are packed from the least significant of the first byte on (6.1)
            out.append(i)
            byte.append(at // 8)
            shift.append(at % 8)
        elif field.bit is not None:
            high, low = (at + p for p in wire_positions(2, field.order))
            out.append(i)
            byte.append(low if field.bit < 8 else high)
            shift.append(field.bit % 8)
    return np.array(out, dtype=np.int64), np.array(byte, dtype=np.int64), np.array(shift, dtype=np.uint8)


def _group(
    key: tuple[Any, ...], members: list[int], fields: Sequence[Field], places: Sequence[int], factors: Sequence[int]
) -> _Group:
    kind, order, target, scaled = key
    positions = np.array(wire_positions(2 * WIDTHS[kind], order))
    grids = [decimal_grid(fields[i].scale, fields[i].offset) for i in members]
    m, n, k = (np.array(column, dtype=np.float64) for column in zip(*grids, strict=True))
    wanted = [fields[i].unavailable for i in members]
    return _Group(
        type=kind,
        target=target,
        out=np.array(members),
        gather=np.array([places[i] for i in members])[:, None] + positions,
        m=m,
        n=n,
        k=k.astype(np.int64) if scaled else _POW10[k.astype(np.int64)],
        identity=not scaled and all(g == (1.0, 0.0, 0) for g in grids),
        factor=np.array([factors[i] for i in members])[:, None] + np.arange(2) if scaled else None,
        unavailable=None
        if all(w is None for w in wanted)
        else (
            np.array([w is not None for w in wanted]),
            np.array([w or 0 for w in wanted], dtype=np.uint64).astype(f"u{2 * WIDTHS[kind]}"),
        ),
    )


def _gone(group: _Group, raw: Any) -> Bools | None:
    if group.unavailable is None:
        return None if group.factor is None else np.zeros(len(raw), dtype=np.bool_)
    known, content = group.unavailable
    native = raw.astype(raw.dtype.newbyteorder("="))
    return known & (native.view(content.dtype) == content)


def _slots(group: _Group, raw: Any, image: UInt8s, gone: Bools | None) -> Int64s:
    if group.target == "float":
        return _scaled(group, raw, image, gone).view(np.int64)
    if group.target == "nonzero":
        return (raw != 0).astype(np.int64)
    if raw.dtype.kind == "f":
        return np.where(np.isfinite(raw), np.rint(raw), 0).astype(np.int64)
    return raw.astype(np.uint64).view(np.int64) if raw.dtype.kind == "u" else raw.astype(np.int64)


def _scaled(group: _Group, raw: Any, image: UInt8s, gone: Bools | None) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore", over="ignore"):
        values = raw.astype(np.float64)
        if group.identity:
            return values
        values = values * group.m + group.n
        if group.factor is None:
            return values / group.k
        powers = image[group.factor].view(">i2")[:, 0].astype(np.int64)
        if gone is not None:
            gone |= np.abs(powers) > 10  # SunSpec: -10..10, and 0x8000 where there is no scale factor
        down = group.k - powers
        size = _POW10[np.minimum(np.abs(down), len(_POW10) - 1)]
        return np.where(down >= 0, values / size, values * size)


def _text(raw: UInt8s, order: Order) -> str:
    if order in ("BADC", "DCBA"):
        raw = raw.reshape(-1, 2)[:, ::-1].reshape(-1)
    return raw.tobytes().split(b"\0", 1)[0].decode("utf-8", errors="replace").strip()


class Scan:
    """All blocks that are read together, and the tags that come of them, in ascending order of tag number."""

    def __init__(self, blocks: Sequence[Block], fields: Mapping[int, Field], outputs: Iterable[Output]) -> None:
        self.blocks = tuple(blocks)
        self.period_ms = self.blocks[0].period_ms
        self._sizes = [_size(block) for block in self.blocks]
        starts = np.concatenate([[0], np.cumsum(self._sizes)])
        keys = [key for block in self.blocks for key, _ in block.places]
        position = {key: i for i, key in enumerate(keys)}
        block_of = [b for b, block in enumerate(self.blocks) for _ in block.places]
        coils = [self.blocks[b].table in BIT_TABLES for b in block_of]
        offsets = [offset for block in self.blocks for _, offset in block.places]
        places = [
            int(starts[b]) * 8 + at if coil else int(starts[b]) + 2 * at
            for b, at, coil in zip(block_of, offsets, coils, strict=True)
        ]
        factors = [places[position[f]] if (f := fields[key].factor) is not None else -1 for key in keys]
        self._decode = Decoder([fields[key] for key in keys], places, coils, factors)
        chosen = sorted((o for o in outputs if o.keys[0] in position), key=lambda o: o.tag)
        self._tag: Int32s = np.array([o.tag for o in chosen], dtype=np.int32)
        self._kind: UInt8s = np.array([o.kind for o in chosen], dtype=np.uint8)
        self._first = np.array([position[o.keys[0]] for o in chosen], dtype=np.int64)
        self._block = np.array([block_of[i] for i in self._first.tolist()], dtype=np.int64)
        self._combined = [
            (row, o.how, np.array([position[key] for key in o.keys]), np.array([block_of[position[k]] for k in o.keys]))
            for row, o in enumerate(chosen)
            if len(o.keys) > 1
        ]

    def rows(self, replies: Sequence[Reply]) -> Samples:
        """One row per tag; `replies` in the order of `blocks`. A reply of the wrong length is UNDECODABLE."""
        parts: list[bytes] = []
        codes: list[int] = []
        for reply, size in zip(replies, self._sizes, strict=True):
            fits = not reply.code and len(reply.data) == size
            parts.append(reply.data if fits else bytes(size))
            codes.append(0 if fits else reply.code or quality(Quality.BAD, Reason.UNDECODABLE, has_value=False))
        image = np.frombuffer(b"".join(parts), dtype=np.uint8)
        slots, missing, blobs = self._decode(image)
        value, code = slots[self._first], np.array(codes, dtype=np.uint16)[self._block]
        code[missing[self._first] & (code == 0)] = _NOT_AVAILABLE
        for row, how, members, blocks in self._combined:
            failed = next((codes[b] for b in blocks.tolist() if codes[b]), 0)
            value[row], code[row] = _combine(slots[members][~missing[members]], how, failed)
        value[(code & Quality.NO_VALUE) != 0] = 0
        return Samples(
            tag=self._tag,
            time=np.array([reply.time_ms for reply in replies], dtype=np.int64)[self._block],
            value=value,
            quality=code,
            kind=self._kind,
            blobs=blobs,
        )


def _size(block: Block) -> int:
    return (block.count + 7) // 8 if block.table in BIT_TABLES else 2 * block.count


def _combine(slots: Int64s, how: str | None, failed: int) -> tuple[int, int]:
    """(slot, quality) of several floats put together; those that are missing are left out."""
    if failed or not len(slots):
        return 0, failed or _NOT_AVAILABLE
    values = slots.view(np.float64)
    result = np.float64(values.min() if how == "min" else values.mean())
    return int(result.view(np.int64)), 0
