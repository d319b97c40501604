"""InfluxQL text out, CSV columns in. Nothing here touches a network.

Only what InfluxDB 1.8, 2.x, 3 and openGemini all answer alike: single SELECTs with plain fields, count, mean, min and max;
SHOW TAG VALUES, SHOW FIELD KEYS. No Flux, DELETE, SLIMIT, nested derivative, several statements in one request.
"""

import csv
import io
from collections.abc import Iterable, Sequence

from ingest.historian.fields import encode_name
from ingest.historian.line_protocol import MAX_TIME_MS

csv.field_size_limit(1 << 30)

Columns = dict[str, list[str]]


def identifier(name: str) -> str:
    """A quoted identifier."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def text(value: str) -> str:
    """A quoted string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def of_device(enterprise: str, device: str) -> str:
    """The condition that selects a device's series."""
    return f'"enterprise" = {text(encode_name(enterprise))} AND "device" = {text(encode_name(device))}'


def between(from_ms: int, to_ms: int) -> str:
    """The condition that selects a stretch of time, kept to what InfluxDB can hold."""
    low, high = (max(-MAX_TIME_MS, min(MAX_TIME_MS, t)) for t in (from_ms, to_ms))
    return f"time >= {low}ms AND time < {high}ms"


def select(
    expressions: Iterable[str], measurement: str, conditions: Sequence[str], *, newest: bool = False, limit: int = 0
) -> str:
    """A SELECT by time."""
    query = f"SELECT {', '.join(expressions)} FROM {identifier(measurement)} WHERE {' AND '.join(conditions)}"
    if newest:
        query += " ORDER BY time DESC"
    return f"{query} LIMIT {limit}" if limit else query


def parse(answer: str) -> Columns:
    """Columns by name of an answer with one header. Empty for an empty answer; a null is ''. Raises ValueError."""
    lines = csv.reader(io.StringIO(answer, newline=""))
    header = next(lines, None)
    if not header:
        return {}
    rows = [line for line in lines if line]
    if any(len(row) != len(header) for row in rows):
        raise ValueError("lines of different length in a CSV answer")
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in header]
    return dict(zip(header, columns, strict=True))
