"""From OPC UA DataValues to Samples.

Time is the source's own, or the arrival's where the server gives none. Quality is the severity of the StatusCode with a
reason. A value of a type that the tag cannot hold is bad and UNDECODABLE, for that tag alone.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from edge_agent.drivers.opcua_bulk import FLOATS, NULL, UINT64, Columns
from telemetry.dictionary import TagSpec
from telemetry.samples import (
    BLOB_KINDS,
    Blob,
    Bools,
    Int64s,
    Kind,
    Quality,
    Reason,
    Samples,
    UInt8s,
    UInt16s,
    Value,
    float_slots,
    from_rows,
    make,
    quality,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_FILETIME_1970 = 116_444_736_000_000_000
_NO_LINK = frozenset({StatusCodes.BadNotConnected, StatusCodes.BadNoCommunication})
_NOT_THERE = frozenset({StatusCodes.BadNodeIdUnknown, StatusCodes.BadNodeIdInvalid, StatusCodes.BadNotReadable})
_LIMITS = {Kind.UINT: (0, (1 << 64) - 1)}
_INT64 = (-(1 << 63), (1 << 63) - 1)


class Undecodable(ValueError):
    """This value is nothing that the tag can hold."""


def quality_of(status: int) -> int:
    """Quality of a StatusCode (OPC UA Part 4, 7.39: severity in bits 31 and 30)."""
    if status < 0x4000_0000:
        return int(Quality.GOOD)
    if status < 0x8000_0000:
        return quality(Quality.UNCERTAIN, Reason.DEVICE_UNCERTAIN)
    if status in _NO_LINK:
        return quality(Quality.BAD, Reason.NOT_CONNECTED)
    return quality(Quality.BAD, Reason.NOT_AVAILABLE if status in _NOT_THERE else Reason.DEVICE_BAD)


class Rows:
    """Decodes values of one device's tags, given by position among them."""

    def __init__(self, base: int, tags: Sequence[TagSpec]) -> None:
        self._base = base
        self._kinds = [tag.kind for tag in tags]
        self._kind = np.array(self._kinds, dtype=np.uint8)

    def __call__(self, positions: Sequence[int], values: Sequence[ua.DataValue], *, arrival_ms: int) -> Samples:
        """One row per value, in the order given."""
        raw = [_content(v) for v in values]
        times = [arrival_ms if v.SourceTimestamp is None else to_ms(v.SourceTimestamp) for v in values]
        codes = [0 if v.StatusCode is None else int(v.StatusCode.value) for v in values]
        plain = not any(codes) and {type(x) for x in raw} <= {float}
        if plain and all(self._kinds[p] == Kind.FLOAT for p in positions):
            tags = np.asarray(positions, dtype=np.int32) + self._base
            return make(tags, times, float_slots(raw), kind=int(Kind.FLOAT))
        return from_rows(
            (self._base + p, t, *_judged(x, quality_of(code), self._kinds[p]), self._kinds[p])
            for p, t, x, code in zip(positions, times, raw, codes, strict=True)
        )

    def bulk(self, columns: Columns, *, arrival_ms: int, positions: Int64s | None = None) -> Samples:
        """The same from columns; the item handles are the positions unless they are given."""
        position = columns.handle if positions is None else positions
        if len(position) and int(position.max()) >= len(self._kind):
            raise ValueError("a value for a handle that nobody asked for")
        kind = self._kind[position]
        value, fits = _slots(columns, kind)
        code = _qualities(columns.status)
        blobs: list[Blob] = []
        for row, raw in columns.objects.items():
            if raw is None:
                columns.vtype[row] = NULL
                continue
            try:
                slot, _, made = _object(raw, Kind(int(kind[row])), len(blobs))
            except Undecodable:
                continue
            value[row], fits[row] = slot, True
            blobs += made
        void = columns.vtype == NULL
        missing = void & (code < Quality.BAD)
        code[missing] = quality(Quality.BAD, Reason.NOT_AVAILABLE)
        code[~void & ~fits] = quality(Quality.BAD, Reason.UNDECODABLE)
        code[void | ~fits] |= int(Quality.NO_VALUE)
        value[void | ~fits] = 0
        time = np.where(columns.source > 0, (columns.source - _FILETIME_1970) // 10_000, arrival_ms)
        return Samples(
            tag=(position + self._base).astype(np.int32),
            time=time,
            value=value,
            quality=code,
            kind=kind,
            blobs=tuple(blobs),
        )


def _qualities(status: Any) -> UInt16s:
    if not status.any():
        return np.zeros(len(status), dtype=np.uint16)
    distinct, index = np.unique(status, return_inverse=True)
    return np.array([quality_of(int(s)) for s in distinct], dtype=np.uint16)[index]


def _slots(columns: Columns, kind: UInt8s) -> tuple[Int64s, Bools]:
    """(slots as the tags' kinds want them, which of them fit)."""
    vtype, slot = columns.vtype, columns.slot
    floats, wide = np.isin(vtype, FLOATS), vtype == UINT64
    whole = (vtype > NULL) & (vtype < UINT64)
    number = np.where(whole, slot.astype(np.float64), slot.view(np.float64))
    number[wide] = slot.view(np.uint64)[wide]
    given = floats | wide | whole
    as_float, as_bool = kind == Kind.FLOAT, kind == Kind.BOOL
    as_uint, as_int = kind == Kind.UINT, (kind == Kind.INT) | (kind == Kind.ENUM)
    with np.errstate(invalid="ignore"):
        integral = floats & (np.floor(number) == number)
        in_int = (wide & (slot >= 0)) | whole | (integral & (number >= -(2.0**63)) & (number < 2.0**63))
        in_uint = wide | (whole & (slot >= 0)) | (integral & (number >= 0) & (number < 2.0**64))
        from_float = np.where(as_uint, number.astype(np.uint64).view(np.int64), number.astype(np.int64))
    exact = np.where(floats, from_float, slot)
    value = np.where(as_float, number.view(np.int64), np.where(as_bool, number != 0, exact)).astype(np.int64)
    return value, given & (as_float | as_bool | (as_uint & in_uint) | (as_int & in_int))


def _object(raw: Any, kind: Kind, blobs: int) -> tuple[int, Kind, list[Blob]]:
    made = from_rows([(0, 0, converted(raw, kind), 0, kind)])
    if kind in BLOB_KINDS:
        return blobs, kind, list(made.blobs)
    return int(made.value[0]), kind, []


def to_ms(time: datetime) -> int:
    """UTC milliseconds of a timestamp."""
    return ((time if time.tzinfo is not None else time.replace(tzinfo=UTC)) - _EPOCH) // _MS


def _content(value: ua.DataValue) -> Any:
    return None if value.Value is None else value.Value.Value


def _judged(raw: Any, code: int, kind: Kind) -> tuple[Value, int]:
    if raw is None:
        # A good status without a value is a null, which no measuring point has to say.
        return None, code if code >= Quality.BAD else quality(Quality.BAD, Reason.NOT_AVAILABLE)
    try:
        return converted(raw, kind), code
    except Undecodable:
        return None, quality(Quality.BAD, Reason.UNDECODABLE)


def converted(raw: Any, kind: Kind) -> Value:
    """A variant's content as the tag's kind has it. Raises Undecodable."""
    if kind == Kind.STRING:
        text = raw.Text if isinstance(raw, ua.LocalizedText) else raw
        if isinstance(text, str):
            return text
        raise Undecodable
    if kind == Kind.ARRAY:
        if isinstance(raw, list) and all(isinstance(x, int | float) for x in raw):
            return np.array(raw, dtype=np.float64)
        raise Undecodable
    if not isinstance(raw, int | float):
        raise Undecodable
    if kind == Kind.FLOAT:
        return float(raw)
    if kind == Kind.BOOL:
        return bool(raw)
    if isinstance(raw, float) and not raw.is_integer():
        raise Undecodable
    low, high = _LIMITS.get(kind, _INT64)
    if not low <= int(raw) <= high:
        raise Undecodable
    return int(raw)
