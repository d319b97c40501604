"""DataValues out of a message's bytes, in columns.

A DataValue is a mask byte, then only the parts that the mask names (OPC UA Part 6, 5.2.2.17): rows with the same mask and
the same scalar type have the same layout. One pass over the bytes finds where each row starts and which layout it has;
then each layout's rows are gathered and decoded at once. Variants without a fixed size (text, arrays, structures) are
decoded one by one by asyncua, and the pass goes on behind them.
"""

import struct
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import variant_from_binary

from telemetry.samples import Int64s, UInt8s

_VALUE, _STATUS, _SOURCE, _SERVER, _SOURCE_PICO, _SERVER_PICO = 1, 2, 4, 8, 16, 32
_SCALARS = {1: "u1", 2: "i1", 3: "u1", 4: "<i2", 5: "<u2", 6: "<i4", 7: "<u4", 8: "<i8", 9: "<u8", 10: "<f4", 11: "<f8"}
"""Builtin types (Part 6, 5.1.2) with a number in them."""
NULL, UINT64, OBJECT = 0, 9, 255
FLOATS = (10, 11)
_ODD = -1


class Malformed(ValueError):
    """These bytes are no list of DataValues."""


@dataclass(slots=True)
class Columns:
    """Rows of DataValues. `handle` is the monitored item's (row number in a Read); `vtype` the builtin type, NULL for no
    value, OBJECT for what stands in `objects` by row; `slot` the integer, or the float64's bits; `source` the source's
    time as the message has it (100 ns since 1601), 0 where there is none."""

    handle: Int64s
    vtype: UInt8s
    slot: Int64s
    status: Any
    source: Int64s
    objects: dict[int, Any] = field(default_factory=dict[int, Any])

    def __len__(self) -> int:
        return len(self.handle)


@cache
def _layout(mask: int, vtype: int, handles: bool) -> Any:
    """The packed dtype of a row, or None where it has no fixed size."""
    fields: list[tuple[str, str]] = [("handle", "<u4")] if handles else []
    fields.append(("mask", "u1"))
    if mask & _VALUE:
        fields.append(("vtype", "u1"))
        if vtype in _SCALARS:
            fields.append(("value", _SCALARS[vtype]))
        elif vtype != NULL:
            return None
    # The standard's order; not that of asyncua 2.1, which reads the server's time before the source's picoseconds.
    for bit, part, kind in (
        (_STATUS, "status", "<u4"),
        (_SOURCE, "source", "<i8"),
        (_SOURCE_PICO, "source_pico", "<u2"),
        (_SERVER, "server", "<i8"),
        (_SERVER_PICO, "server_pico", "<u2"),
    ):
        if mask & bit:
            fields.append((part, kind))
    return np.dtype(fields)


@cache
def _size(key: int, handles: bool) -> int:
    layout = _layout(key >> 8, key & 0xFF, handles)
    return _ODD if layout is None else int(layout.itemsize)


def decode(raw: bytes, at: int, count: int, *, handles: bool) -> tuple[Columns, int]:
    """`count` rows from byte `at` (each led by its item's handle or not), and where they end. Raises Malformed."""
    if not 0 <= count <= len(raw):
        raise Malformed(f"{count} rows in {len(raw)} bytes")
    out = Columns(
        handle=np.arange(count, dtype=np.int64),
        vtype=np.zeros(count, dtype=np.uint8),
        slot=np.zeros(count, dtype=np.int64),
        status=np.zeros(count, dtype=np.uint32),
        source=np.zeros(count, dtype=np.int64),
    )
    lead = 4 if handles else 0
    groups: dict[int, tuple[list[int], list[int]]] = {}
    sizes: dict[int, int] = {}
    try:
        for row in range(count):
            mask = raw[at + lead]
            key = mask << 8 | (raw[at + lead + 1] if mask & _VALUE else 0)
            size = sizes.get(key)
            if size is None:
                size = sizes[key] = _size(key, handles)
                groups[key] = ([], [])
            if size == _ODD:
                at = _odd(out, raw, at, row, lead)
                continue
            rows, starts = groups[key]
            rows.append(row)
            starts.append(at)
            at += size
    except (IndexError, struct.error) as error:
        raise Malformed("rows end too soon") from error
    if at > len(raw):
        raise Malformed("rows end too soon")
    data = np.frombuffer(raw, dtype=np.uint8)
    for key, (rows, starts) in groups.items():
        if rows:
            layout = _layout(key >> 8, key & 0xFF, handles)
            gather = np.array(starts)[:, None] + np.arange(layout.itemsize)
            _fill(out, np.array(rows), data[gather].view(layout)[:, 0], key & 0xFF)
    return out, at


def _fill(out: Columns, rows: Int64s, found: Any, vtype: int) -> None:
    names = found.dtype.names
    if "handle" in names:
        out.handle[rows] = found["handle"]
    if "status" in names:
        out.status[rows] = found["status"]
    if "source" in names:
        out.source[rows] = found["source"]
    if "value" in names:
        value = found["value"]
        out.vtype[rows] = vtype
        if vtype in FLOATS:
            out.slot[rows] = value.astype(np.float64).view(np.int64)
        else:
            out.slot[rows] = value.astype(np.uint64).view(np.int64) if vtype == UINT64 else value


def _odd(out: Columns, raw: bytes, at: int, row: int, lead: int) -> int:
    """One row whose variant has no fixed size; gives where it ends."""
    if lead:
        out.handle[row] = struct.unpack_from("<I", raw, at)[0]
    mask = raw[at + lead]
    buffer = Buffer(raw, at + lead + 1)
    out.objects[row] = variant_from_binary(buffer).Value
    out.vtype[row] = OBJECT
    at = buffer.cur_pos
    if mask & _STATUS:
        out.status[row] = struct.unpack_from("<I", raw, at)[0]
        at += 4
    if mask & _SOURCE:
        out.source[row] = struct.unpack_from("<q", raw, at)[0]
        at += 8
    return at + 2 * bool(mask & _SOURCE_PICO) + 8 * bool(mask & _SERVER) + 2 * bool(mask & _SERVER_PICO)
