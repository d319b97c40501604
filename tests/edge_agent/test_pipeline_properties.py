"""What holds for any stream of samples, however it is cut into batches."""

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.rules import Rules
from telemetry.samples import SEVERITY_MASK, Kind, Quality, Reason, Samples, concat, from_rows, quality

T0 = 1_700_000_000_000
TAGS = 4
DEADBAND = np.array([0.0, 0.5, 2.0, 0.5])
codes = st.sampled_from(
    [0, 0, 0, 0, quality(Quality.UNCERTAIN, 4), quality(Quality.BAD, 3), quality(Quality.BAD, 2, has_value=False)]
)
values = st.one_of(st.floats(-10, 10), st.sampled_from([math.nan, math.inf, 1e300]))
row = st.tuples(st.integers(0, TAGS - 1), st.integers(-100, 40_000), values, codes)
streams = st.lists(st.lists(row, max_size=12), max_size=12)


def pipeline() -> Pipeline:
    return Pipeline(
        Rules(
            source_time=np.array([False, False, True, True]),
            lo=np.full(TAGS, -9.0),
            hi=np.full(TAGS, 9.0),
            deadband=DEADBAND,
            max_interval_ms=5_000,
            max_future_ms=20_000,
        )
    )


def batch(rows: list[tuple[int, int, float, int]]) -> Samples:
    return from_rows(
        (tag, T0 + t, None if code & Quality.NO_VALUE else value, code, Kind.FLOAT) for tag, t, value, code in rows
    )


def listed(samples: Samples) -> list[tuple[Any, ...]]:
    return [
        (int(samples.tag[i]), int(samples.time[i]), samples.value_at(i), int(samples.quality[i]))
        for i in range(len(samples))
    ]


@given(streams)
def test_the_counters_add_up(stream: list[list[tuple[int, int, float, int]]]) -> None:
    pipe = pipeline()
    kept = sum(len(pipe(batch(rows), arrival_ms=T0)) for rows in stream)
    counters = pipe.counters
    assert counters.raw_in == sum(len(rows) for rows in stream)
    assert counters.kept == kept
    assert counters.raw_in == counters.kept + sum(counters.dropped.values())


@given(st.lists(row, max_size=60), st.integers(1, 60))
def test_how_a_stream_is_cut_into_batches_makes_no_difference(
    rows: list[tuple[int, int, float, int]], size: int
) -> None:
    whole = listed(pipeline()(batch(rows), arrival_ms=T0))
    pipe = pipeline()
    parts = [pipe(batch(rows[i : i + size]), arrival_ms=T0) for i in range(0, len(rows), size)]
    assert listed(concat(parts)) == whole


@settings(max_examples=200)
@given(st.lists(st.tuples(st.floats(-10, 10), st.integers(0, 3000)), min_size=1, max_size=60))
def test_the_deadband_keeps_its_promise(steps: list[tuple[float, int]]) -> None:
    times = np.cumsum([dt for _, dt in steps]).tolist()
    rows = [(1, t, v, 0) for t, (v, _) in zip(times, steps, strict=True)]
    pipe = pipeline()
    held, sent_at = math.nan, -math.inf
    for r in rows:
        kept = listed(pipe(batch([r]), arrival_ms=T0 + r[1]))
        if kept:
            held, sent_at = kept[0][2], r[1]
        assert abs(r[2] - held) <= DEADBAND[1]
        assert r[1] - sent_at < 5_000


@given(streams)
def test_every_change_to_bad_is_seen_and_no_bad_row_has_a_value(
    stream: list[list[tuple[int, int, float, int]]],
) -> None:
    pipe = pipeline()
    usable: dict[int, bool] = {}
    for rows in stream:
        for r in rows:
            kept = listed(pipe(batch([r]), arrival_ms=T0 + r[1]))
            for tag, _, value, code in kept:
                assert (value is None) == (code & SEVERITY_MASK == Quality.BAD)
                assert value is None or math.isfinite(value)
                usable[tag] = value is not None
            broken = r[3] >= Quality.BAD or not math.isfinite(r[2])
            dropped_as_old = not kept and r[0] >= 2  # a source sample that repeats or regresses says nothing new
            if broken and not dropped_as_old:
                assert usable[r[0]] is False


def test_reasons_survive() -> None:
    pipe = pipeline()
    code = quality(Quality.BAD, Reason.MODBUS_EXCEPTION + 2, has_value=False)
    assert listed(pipe(batch([(0, 0, 0.0, code)]), arrival_ms=T0)) == [(0, T0, None, code)]
