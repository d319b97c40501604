"""The production historian: any server with InfluxDB's v2 write endpoint and InfluxQL on /query.

How rows stand in it is in `fields`; text out and in is `line_protocol` and `influxql`; the wire is `influx_client`.
What the server says is never taken as proof that a row is stored: comparing with the ledger is.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import structlog

from ingest.historian import base, columns, influx_rollups, influx_rows, influxql, moments
from ingest.historian.base import Buckets, HistorianBatch, HistorianUnavailable, Rows, Span
from ingest.historian.fields import Part, field_name, parse_field, parts_of
from ingest.historian.influx_client import InfluxClient
from ingest.historian.influxql import between, identifier, of_device, select
from ingest.historian.line_protocol import Encoder, bodies
from ingest.historian.moments import Moments
from ingest.historian.records import Presence, runs
from ingest.historian.settings import InfluxSettings
from telemetry import clock
from telemetry.samples import BLOB_KINDS, Int64s, Kind, Samples

T = TypeVar("T")
Key = tuple[str, Kind]

_log = structlog.get_logger(__name__)

_FRESH_MS = 2_000  # how long a list of measurements or fields is believed
_CACHED = 1_000
_NEAR_ROWS = 64  # rows over all fields that usually hold every tag's newest
_PAGE = 100_000
_READERS = 4
_RUN = 30  # minutes of raw rows in one question
_VALUES = (Part.VALUE, Part.BAD, Part.BITS)


class InfluxHistorian:
    """A historian on a server. Blocking work is done in threads of its own. Raises OSError if a secret cannot be read."""

    def __init__(self, settings: InfluxSettings) -> None:
        self._client = InfluxClient(settings)
        self._ready = False
        self._encoders: dict[bytes, Encoder] = {}
        self._remembered: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="historian-write")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="historian-read")

    async def write(self, *batches: HistorianBatch) -> None:
        """One request for some MiB; a batch that fails half way is simply written again."""
        await self._run(self._writer, lambda: self._write(batches))

    async def latest(self, enterprise: str, device: str) -> Rows:
        return await self._run(self._readers, lambda: self._latest(enterprise, device))

    async def range(self, enterprise: str, device: str, tag: str, from_ms: int, to_ms: int, limit: int) -> Samples:
        return await self._run(
            self._readers, lambda: self._range(of_device(enterprise, device), tag, None, from_ms, to_ms, limit)
        )

    async def aggregate(
        self, enterprise: str, device: str, tag: str, from_ms: int, to_ms: int, buckets: int
    ) -> Buckets:
        width = base.bucket_width(from_ms, to_ms, buckets)
        return await self._run(
            self._readers, lambda: self._aggregate(of_device(enterprise, device), tag, from_ms, to_ms, width)
        )

    async def coverage(self, enterprise: str, device: str, from_ms: int, to_ms: int) -> Mapping[str, Span]:
        return await self._run(self._readers, lambda: self._coverage(of_device(enterprise, device), from_ms, to_ms))

    async def oldest(self, enterprise: str, device: str) -> int | None:
        return await self._run(self._readers, lambda: self._oldest(of_device(enterprise, device)))

    async def roll(self, enterprise: str, device: str, minutes: Int64s) -> None:
        await self._run(self._writer, lambda: self._roll(enterprise, device, minutes))

    async def rollups(self, enterprise: str, device: str, tag: str, from_ms: int, to_ms: int) -> Moments:
        return await self._run(self._readers, lambda: self._rollups(of_device(enterprise, device), tag, from_ms, to_ms))

    async def presence(self, enterprise: str, device: str, from_ms: int, to_ms: int) -> Presence:
        return await self._run(self._readers, lambda: self._presence(of_device(enterprise, device), from_ms, to_ms))

    async def close(self) -> None:
        def shut() -> None:
            self._writer.shutdown()
            self._readers.shutdown()
            self._client.close()

        await asyncio.to_thread(shut)

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                if not self._ready:
                    self._client.create_database()
                    self._ready = True
                return work()
            except HistorianUnavailable:
                self._ready = False  # it may come back empty
                raise

        return await asyncio.get_running_loop().run_in_executor(threads, guarded)

    # ---- writing

    def _write(self, batches: Sequence[HistorianBatch]) -> None:
        lines: list[bytes] = []
        for batch in base.joined(batches):
            encoder = self._encoders.get(batch.dictionary.hash)
            if encoder is None:
                if len(self._encoders) >= _CACHED:
                    self._encoders.clear()
                encoder = self._encoders[batch.dictionary.hash] = Encoder(batch.dictionary)
            before = encoder.left_out
            lines += encoder.lines(batch.samples)
            if encoder.left_out > before:
                _log.warning("rows left out: time beyond InfluxDB's range", rows=encoder.left_out - before)
        for body in bodies(lines):
            self._client.write(body)

    # ---- what there is

    def _listed(self, query: str, column: str, *, anew: bool = False) -> tuple[str, ...]:
        """A column of a SHOW, remembered for a moment if it was not empty."""
        now = clock.mono_ms()
        until, known = self._remembered.get(query, (0, ()))
        if anew or until <= now or not known:
            known = tuple(dict.fromkeys(self._client.query(query).get(column, [])))
            if len(self._remembered) >= _CACHED:
                self._remembered.clear()
            self._remembered[query] = (now + _FRESH_MS, known)
        return known

    def _measurements(self, device: str) -> tuple[str, ...]:
        names = self._listed(f'SHOW TAG VALUES WITH KEY = "device" WHERE {device}', "name")
        return tuple(name for name in names if not influx_rollups.is_rollup(name))

    def _keys(self, measurement: str, *, anew: bool = False) -> list[Key]:
        """Which tags a measurement has in which kinds. Their companions (quality and the like) are always asked for, known
        or not: the first uncertain value of a tag must not be read as good."""
        names = self._listed(f"SHOW FIELD KEYS FROM {identifier(measurement)}", "fieldKey", anew=anew)
        found = [field for field in map(parse_field, names) if field is not None]
        return list(dict.fromkeys((field.tag, field.kind) for field in found))

    def _places(self, device: str, tag: str) -> list[tuple[str, Kind]]:
        """(measurement, kind) where a tag's rows stand."""
        out: list[tuple[str, Kind]] = []
        for measurement in self._measurements(device):
            kinds = [kind for name, kind in self._keys(measurement) if name == tag]
            if not kinds:
                kinds = [kind for name, kind in self._keys(measurement, anew=True) if name == tag]
            out += [(measurement, kind) for kind in sorted(kinds)]
        return out

    # ---- reading

    def _range(self, device: str, tag: str, only: Kind | None, from_ms: int, to_ms: int, limit: int) -> Samples:
        found: list[Samples] = []
        for measurement, kind in self._places(device, tag):
            if only is None or kind is only:
                query = select(
                    map(identifier, _names((tag, kind))),
                    measurement,
                    [device, between(from_ms, to_ms)],
                    limit=limit,
                )
                found.append(influx_rows.of_tag(self._client.query(query), tag, kind, 0))
        return columns.by_time(found, limit)

    def _aggregate(self, device: str, tag: str, from_ms: int, to_ms: int, width: int) -> Buckets:
        out = base.no_buckets(from_ms, to_ms, width)
        for measurement, kind in self._places(device, tag):
            if kind not in moments.NUMERIC:
                continue
            if kind in (Kind.UINT, Kind.BOOL):  # InfluxQL has no mean of booleans, and not the number beyond 2^63
                self._add_pages(device, tag, kind, from_ms, to_ms, out, width)
                continue
            name = identifier(field_name(tag, kind, Part.VALUE))
            query = select(
                [f"{function}({name})" for function in ("count", "mean", "min", "max")],
                measurement,
                [device, between(from_ms, to_ms)],
            )
            query += f" GROUP BY time({width}ms, {from_ms % width}ms) fill(none)"
            influx_rows.add_groups(out, width, self._client.query(query))
        return out

    def _add_pages(self, device: str, tag: str, kind: Kind, from_ms: int, to_ms: int, out: Buckets, width: int) -> None:
        while len(rows := self._range(device, tag, kind, from_ms, to_ms, _PAGE)):
            base.add_rows(out, width, rows)
            from_ms = int(rows.time[-1]) + 1

    def _latest(self, enterprise: str, device: str) -> Rows:
        selected = of_device(enterprise, device)
        found: list[Samples] = []
        tags: dict[str, int] = {}
        for measurement in self._measurements(selected):
            ends = self._ends(measurement, self._keys(measurement), [selected], newest=True)
            for (tag, kind), cells in ends.items():
                found.append(influx_rows.of_tag(cells, tag, kind, tags.setdefault(tag, len(tags))))
        return Rows(tuple(tags), columns.newest(found))

    def _coverage(self, device: str, from_ms: int, to_ms: int) -> dict[str, Span]:
        out: dict[str, Span] = {}
        conditions = [device, between(from_ms, to_ms)]
        for measurement in self._measurements(device):
            counts = self._counts(measurement, self._keys(measurement), conditions)
            held = [key for key, count in counts.items() if count]
            firsts = self._ends(measurement, held, conditions, newest=False, parts=_VALUES)
            lasts = self._ends(measurement, held, conditions, newest=True, parts=_VALUES)
            for key, cells in firsts.items():
                if key in lasts:
                    span = Span(counts[key], int(cells["time"][0]), int(lasts[key]["time"][0]))
                    out[key[0]] = influx_rows.join(out.get(key[0]), span)
        return out

    def _oldest(self, device: str) -> int | None:
        firsts: list[int] = []
        for measurement in self._measurements(device):
            ends = self._ends(measurement, self._keys(measurement), [device], newest=False, parts=_VALUES)
            firsts += [int(cells["time"][0]) for cells in ends.values()]
        return min(firsts, default=None)

    # ---- rollups

    def _roll(self, enterprise: str, device: str, minutes: Int64s) -> None:
        selected = of_device(enterprise, device)
        for measurement in self._measurements(selected):
            keys = self._keys(measurement, anew=True)
            every = [identifier(name) for key in keys for name in _names(key)]
            lines: list[bytes] = []
            for low, high in runs(minutes, _RUN) if keys else ():
                answer = self._client.query(select(every, measurement, [selected, between(low, high)]))
                rows = {key: influx_rows.of_tag_among(answer, *key) for key in keys if key[1] in moments.NUMERIC}
                time = np.array(answer.get("time", []), dtype=np.int64)
                lines += influx_rollups.lines(measurement, enterprise, device, rows, time, (low, high))
            for body in bodies(lines):
                self._client.write(body)

    def _rollups(self, device: str, tag: str, from_ms: int, to_ms: int) -> Moments:
        parts: list[Moments] = []
        for measurement, kind in self._places(device, tag):
            if kind in moments.NUMERIC:
                name = influx_rollups.field_of(tag, kind)
                query = influx_rollups.query(measurement, name, [device, between(from_ms, to_ms)])
                parts.append(influx_rollups.read(self._client.query(query), tag, kind))
        return moments.join(parts)

    def _presence(self, device: str, from_ms: int, to_ms: int) -> Presence:
        found = [
            influx_rollups.read_presence(
                self._client.query(
                    influx_rollups.query(measurement, influx_rollups.ROWS, [device, between(from_ms, to_ms)])
                )
            )
            for measurement in self._measurements(device)
        ]
        return influx_rollups.join_presence(found)

    def _counts(self, measurement: str, keys: Sequence[Key], conditions: Sequence[str]) -> dict[Key, int]:
        """Rows with a value."""
        if not keys:
            return {}
        columns_of = {f"c{i}_{j}": name for i, key in enumerate(keys) for j, name in enumerate(_names(key, _VALUES))}
        query = select((f"count({identifier(n)}) AS {c}" for c, n in columns_of.items()), measurement, conditions)
        answer = self._client.query(query)
        out = dict.fromkeys(keys, 0)
        for column in columns_of:
            cell = answer.get(column, [""])[0]
            out[keys[int(column[1:].partition("_")[0])]] += int(cell) if cell else 0
        return out

    def _ends(
        self,
        measurement: str,
        keys: Iterable[Key],
        conditions: Sequence[str],
        *,
        newest: bool,
        parts: Sequence[Part] = tuple(Part),
    ) -> dict[Key, influxql.Columns]:
        """The first or last row of every (tag, kind) that has something in some parts, as columns of length one.

        Tags scanned together stand in the same few rows: those are asked for at once, what is left one by one.
        """
        names = {key: _names(key, parts) for key in keys}
        if not names:
            return {}
        every = [identifier(name) for some in names.values() for name in some]
        near = self._client.query(select(every, measurement, conditions, newest=newest, limit=_NEAR_ROWS))
        out: dict[Key, influxql.Columns] = {}
        for key, some in names.items():
            # An empty string looks like none: rows of strings and arrays are asked for alone.
            cells = None if key[1] in BLOB_KINDS else influx_rows.first_filled(near, some)
            if cells is None:
                cells = self._client.query(
                    select(map(identifier, some), measurement, conditions, newest=newest, limit=1)
                )
            if cells.get("time"):
                out[key] = cells
        return out


def _names(key: Key, parts: Sequence[Part] = tuple(Part)) -> list[str]:
    """The fields of a tag in one kind."""
    tag, kind = key
    return [field_name(tag, kind, part) for part in parts_of(kind) if part in parts]
