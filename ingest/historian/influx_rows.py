"""Answers of InfluxDB → rows. Pure functions over CSV columns, where a null and an empty string look alike."""

import base64
from collections.abc import Sequence

import numpy as np

from ingest.historian import base, columns
from ingest.historian.base import Buckets, Span
from ingest.historian.fields import Part, field_name, parts_of
from ingest.historian.influxql import Columns
from telemetry.samples import Blob, Float64s, Int64s, Kind, Quality, Samples, empty


def of_tag(answer: Columns, tag: str, kind: Kind, number: int) -> Samples:
    """Rows of one tag and kind. A row without NO_VALUE whose cells are all empty holds the empty string."""
    time = answer.get("time", [])
    if not time:
        return empty()
    nothing = [""] * len(time)

    def cells(part: Part) -> list[str]:
        return answer.get(field_name(tag, kind, part), nothing)

    quality = _integers(cells(Part.QUALITY)).astype(np.uint16)
    value = [good or bad for good, bad in zip(cells(Part.VALUE), cells(Part.BAD), strict=True)]
    has = (quality & Quality.NO_VALUE) == 0
    blobs: list[Blob] = []
    match kind:
        case Kind.FLOAT:
            bits = cells(Part.BITS)
            slots = _floats(value).view(np.int64)
            odd = np.array([bool(b) for b in bits])
            if odd.any():
                slots = np.where(odd, _integers(bits), slots)
        case Kind.BOOL:
            slots = np.array([cell == "true" for cell in value], dtype=np.int64)
        case Kind.STRING:
            blobs.extend(value)
            slots = np.arange(len(value))
        case Kind.ARRAY:
            blobs = [np.frombuffer(base64.b64decode(cell), dtype="<f8") for cell in value]
            slots = np.arange(len(value))
        case _:
            slots = _integers(value)
    return columns.series(
        kind,
        time=_integers(time),
        value=np.where(has, slots, 0),
        quality=quality,
        origin=_integers(cells(Part.ORIGIN)),
        blobs=blobs,
        tag=number,
    )


def of_tag_among(answer: Columns, tag: str, kind: Kind) -> Samples:
    """Rows of one tag of a numeric kind out of an answer with those of others: lines where it has nothing are left out."""
    names = [field_name(tag, kind, part) for part in parts_of(kind)]
    held = [answer[name] for name in names if name in answer]
    keep = [i for i, cells in enumerate(zip(*held, strict=True)) if any(cells)]
    return of_tag(
        {name: [column[i] for i in keep] for name, column in answer.items() if name in ("time", *names)}, tag, kind, 0
    )


def first_filled(answer: Columns, names: Sequence[str]) -> Columns | None:
    """The first row with something in one of these columns, as columns of length one. None if there is none."""
    held = [name for name in names if name in answer]
    for row in range(len(answer.get("time", []))):
        if any(answer[name][row] for name in held):
            return {name: [answer[name][row]] for name in ("time", *held)}
    return None


def add_groups(out: Buckets, width: int, answer: Columns) -> None:
    """Add count, mean, min and max by time to buckets."""
    if answer.get("time"):
        count = _integers(answer["count"])
        some = count > 0
        at = (_integers(answer["time"]) - out.start[0]) // width
        mean, low, high = (_floats(answer[name]) for name in ("mean", "min", "max"))
        base.merge(out, at[some], count[some], mean[some], low[some], high[some])


def join(one: Span | None, other: Span) -> Span:
    """Two spans of one tag as one."""
    if one is None:
        return other
    return Span(one.count + other.count, min(one.first, other.first), max(one.last, other.last))


def _integers(cells: Sequence[str]) -> Int64s:
    return np.array([int(cell) if cell else 0 for cell in cells], dtype=np.int64)


def _floats(cells: Sequence[str]) -> Float64s:
    return np.array([float(cell) if cell else 0.0 for cell in cells], dtype=np.float64)
