"""Raw rows as a file: CSV or Parquet, made while it is sent, so that any stretch fits.

Columns: device, tag, t (UTC ms), value, quality (the code). In CSV a value is written exactly, and empty where there is none.
In Parquet `value` is a float64 and `text` holds what that cannot: texts, arrays (as JSON), integers beyond 2^53.
"""

import csv
import io
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any, Literal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from cloud import summary
from cloud.asking import From, Series, To, check_order, series_of
from cloud.auth import Caller, House
from cloud.services import Services
from telemetry import plain
from telemetry.samples import Samples

router = APIRouter()

_PAGE = 20_000
_EXACT = 1 << 53
_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
_SCHEMA = pa.schema(
    [
        ("device", pa.string()),
        ("tag", pa.string()),
        ("t", pa.int64()),
        ("value", pa.float64()),
        ("quality", pa.uint16()),
        ("text", pa.string()),
    ]
)
_FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the file",
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            _TYPES["parquet"]: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
Part = tuple[str, str, Samples]


@router.get("/export", response_class=StreamingResponse, responses=_FILES)
async def export(
    series: Series,
    from_ms: From,
    to_ms: To,
    caller: Caller,
    house: House,
    format: Annotated[Literal["csv", "parquet"], Query()] = "csv",
) -> StreamingResponse:
    """Raw rows of up to 16 tags, one tag after the other, by time."""
    check_order(from_ms, to_ms)
    wanted = [(one.spec.uid, tag) for one, tag in await series_of(house, caller.enterprise, series)]
    parts = _parts(house, caller.enterprise, wanted, from_ms, to_ms)
    chunks = _csv(parts) if format == "csv" else _parquet(parts)
    first = await anext(chunks)  # what goes wrong at once is told as an error
    name = f"starproof-{from_ms}-{to_ms}.{format}"
    return StreamingResponse(
        _all(first, chunks),
        media_type=_TYPES[format],
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


async def _parts(
    house: Services, enterprise: str, wanted: list[tuple[str, str]], from_ms: int, to_ms: int
) -> AsyncGenerator[Part]:
    for uid, tag in wanted:
        async for rows in summary.pages(house, enterprise, uid, tag, from_ms, to_ms, _PAGE):
            yield uid, tag, rows


async def _all(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def _csv(parts: AsyncIterator[Part]) -> AsyncGenerator[bytes]:
    head = "device,tag,t,value,quality\r\n"
    async for uid, tag, rows in parts:
        text = io.StringIO()
        columns = (rows.time.tolist(), exact(rows), rows.quality.tolist())
        csv.writer(text).writerows([uid, tag, t, v, q] for t, v, q in zip(*columns, strict=True))
        yield (head + text.getvalue()).encode(errors="replace")
        head = ""
    if head:
        yield head.encode()


def exact(rows: Samples) -> list[Any]:
    """Values as text has them: floats by the shortest decimals that mean them, switches as true and false, arrays as JSON;
    also those that are no finite numbers."""
    out: list[Any] = []
    for row, value in enumerate(plain.values(rows)):
        if value is None:
            told = rows.value_at(row)
            out.append("" if told is None else repr(told))
        elif isinstance(value, bool):
            out.append("true" if value else "false")
        else:
            out.append(orjson.dumps(value).decode() if isinstance(value, list) else value)
    return out


async def _parquet(parts: AsyncIterator[Part]) -> AsyncGenerator[bytes]:
    sink = _Sink()
    with pq.ParquetWriter(sink, _SCHEMA, compression="zstd") as writer:
        async for part in parts:
            writer.write_table(_table(*part))
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """A file that forgets what was taken out of it, but not how long it is: a Parquet file's end names offsets."""

    def __init__(self) -> None:
        super().__init__()
        self._chunks: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length

    def write(self, data: Any) -> int:
        chunk = bytes(data)
        self._chunks.append(chunk)
        self._length += len(chunk)
        return len(chunk)

    def taken(self) -> bytes:
        """What was written since the last time."""
        out, self._chunks = b"".join(self._chunks), []
        return out


def _table(uid: str, tag: str, rows: Samples) -> Any:
    count = len(rows)
    texts: list[str | None] = [None] * count
    for row, value in enumerate(plain.values(rows)):
        if isinstance(value, str):
            texts[row] = value.encode(errors="replace").decode()
        elif isinstance(value, list):
            texts[row] = orjson.dumps(value).decode()
        elif isinstance(value, int) and abs(value) > _EXACT:
            texts[row] = str(value)
    columns = [
        pa.array([uid] * count),
        pa.array([tag] * count),
        pa.array(rows.time),
        pa.array(rows.numeric, from_pandas=True),  # NaN is no value
        pa.array(rows.quality),
        pa.array(texts, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=_SCHEMA)
