"""Rollups in InfluxDB: beside each measurement `<type>` one `<type>__1m` with a point each minute.

    <field of the tag's value>__m   string, base64 of the tag's record      __rows   string, base64 of the device's presence

A record is one string and not a dozen fields: it is written and read whole, an overwritten minute can never be half new, and
a quarter of a year is read in a fraction of the time that as many numbers in CSV take.
"""

import base64
from collections.abc import Mapping, Sequence

import numpy as np

from ingest.historian import fields, influxql, moments, records
from ingest.historian.fields import Part, field_name
from ingest.historian.influxql import Columns
from ingest.historian.moments import Moments
from ingest.historian.records import PRESENCE, RECORD, Presence, Records
from telemetry.samples import Int64s, Kind, Samples

SUFFIX = "__1m"
ROWS = "__rows"
Key = tuple[str, Kind]


def measurement_of(raw: str) -> str:
    """Where the rollups of a measurement stand."""
    return raw + SUFFIX


def is_rollup(measurement: str) -> bool:
    """Whether a measurement holds rollups: no encoded equipment type ends so."""
    return measurement.endswith(SUFFIX)


def field_of(tag: str, kind: Kind) -> str:
    """The field of a tag's records."""
    return field_name(tag, kind, Part.VALUE) + "__m"


def lines(
    raw: str, enterprise: str, device: str, rows: Mapping[Key, Samples], time: Int64s, minutes: tuple[int, int]
) -> list[bytes]:
    """Lines of the rollups of one stretch. `rows` by tag and kind; `time`: of all rows of the device, of any kind."""
    head = b"%b,enterprise=%b,device=%b " % (
        fields.escape_measurement(measurement_of(raw)),
        fields.escape(fields.encode_name(enterprise)),
        fields.escape(fields.encode_name(device)),
    )
    cells: dict[int, list[bytes]] = {}
    for (tag, kind), some in rows.items():
        _, groups = moments.roll(some)
        _add(cells, fields.escape(field_of(tag, kind)), groups.start, records.pack(groups))
    _add(cells, ROWS.encode(), *records.pack_presence(time))
    low, high = minutes
    return [head + b",".join(cells[m]) + b" %d" % m for m in sorted(cells) if low <= m < high]


def _add(cells: dict[int, list[bytes]], name: bytes, minutes: Int64s, packed: Records) -> None:
    for minute, one in zip(minutes.tolist(), packed, strict=True):
        cells.setdefault(minute, []).append(b'%b="%b"' % (name, base64.b64encode(one.tobytes())))


def read(answer: Columns, tag: str, kind: Kind) -> Moments:
    """Rollups of one tag and kind."""
    found, minute = _read(answer, field_of(tag, kind), RECORD)
    return records.unpack(found, minute, kind)


def read_presence(answer: Columns) -> Presence:
    """Minutes with rows."""
    found, minute = _read(answer, ROWS, PRESENCE)
    return records.unpack_presence(found, minute)


def join_presence(parts: Sequence[Presence]) -> Presence:
    """The minutes of all parts: a device whose type was changed stands in several measurements."""
    minute = np.concatenate([part.minute for part in parts]) if parts else np.zeros(0, np.int64)
    if len(parts) < 2:
        return parts[0] if parts else Presence(minute, minute, minute)
    every, at = np.unique(minute, return_inverse=True)
    first, last = np.full(len(every), np.iinfo(np.int64).max), np.full(len(every), np.iinfo(np.int64).min)
    np.minimum.at(first, at, np.concatenate([part.first for part in parts]))
    np.maximum.at(last, at, np.concatenate([part.last for part in parts]))
    return Presence(every, first, last)


def query(measurement: str, name: str, conditions: list[str]) -> str:
    """The SELECT of one field of rollups."""
    return influxql.select([influxql.identifier(name)], measurement_of(measurement), conditions)


def _read(answer: Columns, name: str, shape: "np.dtype[np.void]") -> tuple[Records, Int64s]:
    cells, times = answer.get(name, []), answer.get("time", [])
    if not cells:
        return np.zeros(0, shape), np.zeros(0, np.int64)
    return np.frombuffer(base64.b64decode("".join(cells)), shape), np.array(times, dtype=np.int64)
