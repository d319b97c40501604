"""A machine's register map as the machine itself keeps it: values into registers and back.

The encoder here is the simulator's own; it shares nothing with the readers of the agent and of the verifier, so that a
wrong byte order cannot be right by agreement. A table answers addresses that its points cover and gaps up to MAX_GAP
between them (as 0); everything else is an illegal address.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from telemetry.points import ModbusPoint, Order

MAX_GAP = 8
WIDTHS = {
    "bool": 1,
    "int16": 1,
    "uint16": 1,
    "int32": 2,
    "uint32": 2,
    "float32": 2,
    "int64": 4,
    "uint64": 4,
    "float64": 4,
}
_FLOATS = {"float32": ">f", "float64": ">d"}


class IllegalAddress(LookupError):
    """Nothing may be read or written there (Modbus exception 2)."""


class Registers(Protocol):
    """What a Modbus server asks of a machine's map. Tables are holding, input, coil and discrete; bits are 0 or 1."""

    def read(self, table: str, address: int, count: int, values: Mapping[str, float]) -> list[int]:
        """The registers' contents. Raises IllegalAddress."""
        ...

    def tags(self, table: str, address: int, contents: Sequence[int]) -> dict[str, float]:
        """What the contents stand for: every tag that lies wholly inside, as engineering value (NaN = not available)."""
        ...

    def writes(self, address: int, contents: Sequence[int]) -> list[tuple[str, float]]:
        """Tags and values that a write to holding registers asks for. Raises IllegalAddress unless it covers set-points
        only, and those wholly."""
        ...

    def shown(self, values: Mapping[str, float]) -> dict[str, float]:
        """The values as the registers' types and scales let a client see them."""
        ...


def width(point: ModbusPoint) -> int:
    """Registers (or bits of a bit table) that a point occupies."""
    return point.length if point.type == "string" else WIDTHS[point.type]


def arrange(data: bytes, order: Order) -> list[int]:
    """Big-endian bytes as registers in a device's order (see telemetry.points.ModbusConnection)."""
    if order in ("BADC", "DCBA"):
        data = b"".join(data[i + 1 : i + 2] + data[i : i + 1] for i in range(0, len(data), 2))
    words = list(struct.unpack(f">{len(data) // 2}H", data))
    return words[::-1] if order in ("CDAB", "DCBA") else words


def restore(registers: Sequence[int], order: Order) -> bytes:
    """Inverse of `arrange`."""
    words = list(registers)[::-1] if order in ("CDAB", "DCBA") else list(registers)
    data = struct.pack(f">{len(words)}H", *words)
    if order in ("BADC", "DCBA"):
        data = b"".join(data[i + 1 : i + 2] + data[i : i + 1] for i in range(0, len(data), 2))
    return data


def limits(kind: str) -> tuple[int, int]:
    """Smallest and largest integer of a register type."""
    bits = WIDTHS[kind] * 16
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if kind.startswith("int") else (0, (1 << bits) - 1)


def sentinel(kind: str) -> int:
    """What an integer register shows where it has no number: the smallest signed, the largest unsigned value."""
    low, high = limits(kind)
    return low if low < 0 else high


def encode(point: ModbusPoint, value: float, order: Order) -> list[int]:
    """Registers of an engineering value; an integer that does not fit saturates, as a converter does."""
    kind = point.type
    if kind in _FLOATS:
        return arrange(struct.pack(_FLOATS[kind], (value - point.offset) / point.scale), point.order or order)
    if math.isnan(value):
        raw = sentinel(kind)
    else:
        low, high = limits(kind)
        raw = min(max(round((value - point.offset) / point.scale), low), high)
    return arrange(raw.to_bytes(WIDTHS[kind] * 2, "big", signed=kind.startswith("int")), point.order or order)


def decode(point: ModbusPoint, registers: Sequence[int], order: Order) -> float:
    """Inverse of `encode`: NaN for a sentinel."""
    data = restore(registers, point.order or order)
    kind = point.type
    if kind in _FLOATS:
        return struct.unpack(_FLOATS[kind], data)[0] * point.scale + point.offset
    raw = int.from_bytes(data, "big", signed=kind.startswith("int"))
    return math.nan if raw == sentinel(kind) else tidy(raw * point.scale + point.offset)


def tidy(value: float) -> float:
    """A decimal number without the dust of binary multiplication (0.30000000000000004)."""
    return float(f"{value:.12g}") if abs(value) < 1e11 else value


class RegisterMap:
    """Registers of a machine with an ordinary (not SunSpec) Modbus map. `writable` are the tags that may be written."""

    def __init__(self, points: Sequence[ModbusPoint], order: Order, *, writable: frozenset[str]) -> None:
        self._order: Order = order
        self._points = tuple(points)
        self._writable = writable
        self._served = {table: self._extent(table) for table in ("holding", "input", "coil", "discrete")}
        self._within = lru_cache(maxsize=512)(self._find)

    def _extent(self, table: str) -> frozenset[int]:
        spans = sorted((p.address, p.address + width(p)) for p in self._points if p.table == table)
        served: set[int] = set()
        end = None
        for start, stop in spans:
            begin = end if end is not None and start - end <= MAX_GAP else start
            served.update(range(begin, stop))
            end = stop if end is None else max(end, stop)
        return frozenset(served)

    def _find(self, table: str, address: int, count: int) -> tuple[tuple[ModbusPoint, int], ...]:
        """(point, its offset) of the points wholly inside. Raises IllegalAddress."""
        if not self._served[table].issuperset(range(address, address + count)):
            raise IllegalAddress(f"{table} {address}+{count}")
        end = address + count
        return tuple(
            (p, p.address - address)
            for p in self._points
            if p.table == table and address <= p.address and p.address + width(p) <= end
        )

    def _bits(self, point: ModbusPoint, value: float) -> int:
        on = 0 if math.isnan(value) else int(value != 0)
        if point.bit is None:
            return on
        return arrange((on << point.bit).to_bytes(2, "big"), point.order or self._order)[0]

    def read(self, table: str, address: int, count: int, values: Mapping[str, float]) -> list[int]:
        self._within(table, address, count)  # raises for an address that is not served
        image = [0] * count
        for point in self._points:
            at, size = point.address - address, width(point)
            if point.table != table or at >= count or at + size <= 0:
                continue
            if point.type == "bool":
                image[at] |= self._bits(point, values[point.tag])
                continue
            for i, word in enumerate(encode(point, values[point.tag], self._order)):
                if 0 <= at + i < count:
                    image[at + i] = word
        return image

    def _value(self, point: ModbusPoint, contents: Sequence[int]) -> float:
        if point.type != "bool":
            return decode(point, contents, self._order)
        if point.bit is None:
            return float(contents[0] != 0)
        word = int.from_bytes(restore(contents, point.order or self._order), "big")
        return float(word >> point.bit & 1)

    def tags(self, table: str, address: int, contents: Sequence[int]) -> dict[str, float]:
        inside = self._within(table, address, len(contents))
        return {p.tag: self._value(p, contents[at : at + width(p)]) for p, at in inside}

    def writes(self, address: int, contents: Sequence[int]) -> list[tuple[str, float]]:
        inside = self._within("holding", address, len(contents))
        covered = sum(width(p) for p, _ in inside)
        if covered != len(contents) or any(p.tag not in self._writable or p.type == "bool" for p, _ in inside):
            raise IllegalAddress(f"holding {address}+{len(contents)} is not a set-point")
        return [(p.tag, self._value(p, contents[at : at + width(p)])) for p, at in sorted(inside, key=lambda x: x[1])]

    def shown(self, values: Mapping[str, float]) -> dict[str, float]:
        seen = {}
        for point in self._points:
            value = values[point.tag]
            if point.type == "bool":
                seen[point.tag] = float(not math.isnan(value) and value != 0)
            else:
                seen[point.tag] = decode(point, encode(point, value, self._order), self._order)
        return seen
