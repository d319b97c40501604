"""Decoding registers, one value at a time, with `struct`. Deliberately plain: it must not share a mistake with anyone.

A value of several registers arrives as bytes A B C D (big endian) in the order ABCD. CDAB swaps the words (their order is
reversed), BADC the two bytes of each word, DCBA both. A 16-bit value has no words to swap; a string has no words either.
"""

import struct

from telemetry.points import ModbusPoint, Order

FORMATS = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}
WIDTHS = {name: struct.calcsize(text) // 2 for name, text in FORMATS.items()}


class UndecodableError(ValueError):
    """These registers are not the value they should be."""


def width(point: ModbusPoint) -> int:
    """Registers (or bits, in a bit table) of a point."""
    if point.table in ("coil", "discrete") or point.type == "bool":
        return 1
    return point.length if point.type == "string" else WIDTHS[point.type]


def straighten(registers: list[int], order: Order, *, words: bool = True) -> bytes:
    """The bytes of a value, most significant first."""
    pairs = [struct.pack(">H", register) for register in registers]
    if order in ("BADC", "DCBA"):
        pairs = [pair[::-1] for pair in pairs]
    if words and order in ("CDAB", "DCBA"):
        pairs = pairs[::-1]
    return b"".join(pairs)


def decode(point: ModbusPoint, registers: list[int], order: Order) -> int | float | bool | str:
    """One point's value from its registers. An integer without scale and offset stays an integer. Raises
    UndecodableError where the number of registers is wrong."""
    if len(registers) != width(point):
        raise UndecodableError(f"{point.tag}: {len(registers)} registers, not {width(point)}")
    order = point.order or order
    if point.bit is not None:
        (word,) = struct.unpack(">H", straighten(registers, order))
        return bool(word & (1 << point.bit))
    if point.type == "bool":
        return registers[0] != 0
    if point.type == "string":
        return text(straighten(registers, order, words=False))
    (raw,) = struct.unpack(FORMATS[point.type], straighten(registers, order))
    if point.scale == 1 and point.offset == 0:
        return raw
    return raw * point.scale + point.offset


def text(data: bytes) -> str:
    """A string up to its first zero byte."""
    return data.split(b"\0", 1)[0].decode("utf-8", errors="replace").strip()


# SunSpec's types by how their big-endian bytes are read.
SUNSPEC_FORMATS = {
    **{name: FORMATS[name] for name in FORMATS},
    "acc16": ">H",
    "enum16": ">H",
    "bitfield16": ">H",
    "count": ">H",
    "pad": ">H",
    "sunssf": ">h",
    "acc32": ">I",
    "enum32": ">I",
    "bitfield32": ">I",
    "acc64": ">Q",
}


def sunspec_raw(kind: str, registers: list[int], not_available: int | None) -> int | float | str | None:
    """A SunSpec point's raw value, or None for its not-available content. Raises UndecodableError for a type or length
    that is not SunSpec's."""
    data = b"".join(struct.pack(">H", register) for register in registers)
    if kind == "string":
        return text(data)
    form = SUNSPEC_FORMATS.get(kind)
    if form is None or struct.calcsize(form) != len(data):
        raise UndecodableError(f"{len(registers)} registers are no {kind}")
    if int.from_bytes(data, "big") == not_available:
        return None
    return struct.unpack(form, data)[0]
