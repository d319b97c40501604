"""Samples: values in columns of numpy, from the first decode to the historian.

A value is never a Python object of its own on that way. Every value occupies one 64-bit *slot*, read according to its
row's kind, so that 64-bit integers never pass through a float:

    FLOAT        the float64's bits           INT, ENUM, BOOL   the integer
    UINT         the uint64's bits            STRING, ARRAY     index into `blobs`

A row whose quality carries NO_VALUE has no value; its slot is 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Float64s = npt.NDArray[np.float64]
UInt16s = npt.NDArray[np.uint16]
UInt8s = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

Blob = str | Float64s
Value = float | int | bool | str | Float64s | None


class Kind(IntEnum):
    """How a slot is read."""

    FLOAT = 1
    INT = 2
    UINT = 3
    BOOL = 4
    ENUM = 5
    STRING = 6
    ARRAY = 7


BLOB_KINDS = (Kind.STRING, Kind.ARRAY)


class Quality(IntFlag):
    """Quality after OPC UA Part 8: severity in the two top bits, one flag, a reason in the low byte.

    0x00xx good, 0x40xx uncertain, 0x80xx bad; NO_VALUE says that the row has no value at all.
    """

    GOOD = 0
    UNCERTAIN = 0x4000
    BAD = 0x8000
    NO_VALUE = 0x2000


class Reason(IntEnum):
    """The low byte of a quality. Reasons from MODBUS_EXCEPTION up carry the device's exception code."""

    NONE = 0
    NOT_CONNECTED = 1
    NO_REPLY = 2
    DEVICE_BAD = 3  # the device itself says that the value is bad
    DEVICE_UNCERTAIN = 4
    NOT_A_NUMBER = 5
    OUT_OF_RANGE = 6
    NOT_AVAILABLE = 7  # a sentinel: not fitted, not measured
    CLOCK = 8  # the source's time was too far off and was replaced by the arrival's
    UNDECODABLE = 9
    STOPPED = 10  # the agent was stopped
    TOO_LARGE = 11  # the device gave a value that fits into no item
    MODBUS_EXCEPTION = 0x80


SEVERITY_MASK = 0xC000


def quality(severity: Quality, reason: int = Reason.NONE, *, has_value: bool = True) -> int:
    """The 16-bit code of a severity and a reason."""
    return int(severity) | (0 if has_value else int(Quality.NO_VALUE)) | int(reason)


def severity_name(code: int) -> str:
    """`good`, `uncertain` or `bad`."""
    return {0: "good", 0x4000: "uncertain"}.get(code & SEVERITY_MASK, "bad")


def reason_name(code: int) -> str:
    """The reason in lower case; `none` where there is none; `modbus_exception_2` and the like for device exceptions."""
    low = code & 0xFF
    if low >= Reason.MODBUS_EXCEPTION:
        return f"modbus_exception_{low - Reason.MODBUS_EXCEPTION}"
    return Reason(low).name.lower() if low in Reason._value2member_map_ else f"reason_{low}"


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows of (tag, time, value, quality), in order of arrival within each tag.

    Shapes: every array is one-dimensional with one entry per row. `tag` indexes the edge's Dictionary, `time` is UTC
    milliseconds, `value` holds slots. `origin` is None, or the source's own time where it was replaced (0 elsewhere).
    """

    tag: Int32s
    time: Int64s
    value: Int64s
    quality: UInt16s
    kind: UInt8s
    blobs: tuple[Blob, ...] = ()
    origin: Int64s | None = None

    def __len__(self) -> int:
        return len(self.tag)

    @property
    def numeric(self) -> Float64s:
        """Values as float64, for arithmetic only: NaN where there is none or it is a string or array."""
        out = np.full(len(self), np.nan)
        has = (self.quality & Quality.NO_VALUE) == 0
        floats = has & (self.kind == Kind.FLOAT)
        ints = has & np.isin(self.kind, (Kind.INT, Kind.BOOL, Kind.ENUM))
        uints = has & (self.kind == Kind.UINT)
        out[floats] = self.value.view(np.float64)[floats]
        out[ints] = self.value[ints]
        out[uints] = self.value.view(np.uint64)[uints]
        return out

    def where(self, keep: Bools | Int64s) -> "Samples":
        """The rows that a mask (or an index array) selects. Blobs stay shared."""
        return replace(
            self,
            tag=self.tag[keep],
            time=self.time[keep],
            value=self.value[keep],
            quality=self.quality[keep],
            kind=self.kind[keep],
            origin=None if self.origin is None else self.origin[keep],
        )

    def value_at(self, row: int) -> Value:
        """One value as a Python object: for edges of the system (a page, a test), never for the way between."""
        if int(self.quality[row]) & Quality.NO_VALUE:
            return None
        match Kind(int(self.kind[row])):
            case Kind.FLOAT:
                return float(self.value[row : row + 1].view(np.float64)[0])
            case Kind.UINT:
                return int(self.value[row : row + 1].view(np.uint64)[0])
            case Kind.BOOL:
                return bool(self.value[row])
            case Kind.STRING | Kind.ARRAY:
                return self.blobs[int(self.value[row])]
            case _:
                return int(self.value[row])


def empty() -> Samples:
    """No rows."""
    return make([], [], [], kind=[])


def make(
    tag: npt.ArrayLike,
    time: npt.ArrayLike,
    value: npt.ArrayLike,
    *,
    kind: npt.ArrayLike,
    quality: npt.ArrayLike = 0,
    blobs: Sequence[Blob] = (),
    origin: npt.ArrayLike | None = None,
) -> Samples:
    """Samples from columns; `value` holds slots (see `float_slots`); scalars are repeated for every row."""
    tags = np.atleast_1d(np.asarray(tag, dtype=np.int32))
    n = len(tags)

    def column(x: npt.ArrayLike, dtype: Any) -> Any:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(x, dtype=dtype), (n,)))

    return Samples(
        tag=tags,
        time=column(time, np.int64),
        value=column(value, np.int64),
        quality=column(quality, np.uint16),
        kind=column(kind, np.uint8),
        blobs=tuple(blobs),
        origin=None if origin is None else column(origin, np.int64),
    )


def float_slots(values: npt.ArrayLike) -> Int64s:
    """Slots of float64 values."""
    return np.ascontiguousarray(values, dtype=np.float64).view(np.int64)


def from_rows(rows: Iterable[tuple[int, int, Value, int, Kind]]) -> Samples:
    """Samples from Python rows (tag, time, value, quality, kind): for devices that talk in single values, and tests."""
    tags: list[int] = []
    times: list[int] = []
    slots: list[int] = []
    qualities: list[int] = []
    kinds: list[int] = []
    blobs: list[Blob] = []
    for tag, time, value, code, kind in rows:
        slot, code = _slot(value, code, kind, blobs)
        tags.append(tag)
        times.append(time)
        slots.append(slot)
        qualities.append(code)
        kinds.append(int(kind))
    return make(tags, times, np.array(slots, dtype=np.int64), kind=kinds, quality=qualities, blobs=blobs)


def _slot(value: Value, code: int, kind: Kind, blobs: list[Blob]) -> tuple[int, int]:
    if value is None:
        return 0, code | Quality.NO_VALUE
    if kind in BLOB_KINDS:
        blobs.append(value if isinstance(value, str) else np.asarray(value, dtype=np.float64))
        return len(blobs) - 1, code
    if kind == Kind.FLOAT:
        return int(np.float64(value).view(np.int64)), code  # type: ignore[arg-type]
    number = int(value)  # type: ignore[arg-type]
    return (number - (1 << 64) if kind == Kind.UINT and number >= 1 << 63 else number), code


def concat(parts: Sequence[Samples]) -> Samples:
    """The rows of all parts, one after the other."""
    parts = [p for p in parts if len(p)]
    if not parts:
        return empty()
    if len(parts) == 1:
        return parts[0]
    blobs: list[Blob] = []
    values: list[Int64s] = []
    for part in parts:
        value = part.value
        if part.blobs:
            refers = np.isin(part.kind, BLOB_KINDS) & ((part.quality & Quality.NO_VALUE) == 0)
            value = np.where(refers, value + len(blobs), value)
            blobs.extend(part.blobs)
        values.append(value)
    some_origin = any(p.origin is not None for p in parts)
    return Samples(
        tag=np.concatenate([p.tag for p in parts]),
        time=np.concatenate([p.time for p in parts]),
        value=np.concatenate(values),
        quality=np.concatenate([p.quality for p in parts]),
        kind=np.concatenate([p.kind for p in parts]),
        blobs=tuple(blobs),
        origin=np.concatenate([p.origin if p.origin is not None else np.zeros(len(p), np.int64) for p in parts])
        if some_origin
        else None,
    )
