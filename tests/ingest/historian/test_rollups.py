"""Rollups: what they give is what the rows give, on both stores."""

import math
import uuid

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.historian import moments
from ingest.historian.base import Historian, HistorianBatch
from ingest.historian.moments import MINUTE_MS, Features
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.samples import Kind, Quality, Reason, Samples, Value, from_rows, quality

T0 = 1_760_000_000_000 // MINUTE_MS * MINUTE_MS
FAR = 1 << 52
BAD = quality(Quality.BAD, Reason.DEVICE_BAD)
GONE = quality(Quality.BAD, Reason.NO_REPLY, has_value=False)
Row = tuple[int, Value, int, Kind]

floats = st.floats(-1e12, 1e12) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e9 + 0.25])
of_kind = {
    Kind.FLOAT: floats,
    Kind.INT: st.integers(-(1 << 63), (1 << 63) - 1) | st.integers((1 << 53) - 9, (1 << 53) + 9),
    Kind.UINT: st.integers(0, (1 << 64) - 1),
    Kind.BOOL: st.booleans(),
    Kind.ENUM: st.integers(-5, 5),
}
codes = st.sampled_from([0, 0, 0, quality(Quality.UNCERTAIN, Reason.CLOCK), BAD, GONE])


@st.composite
def rows_of(draw: st.DrawFn, kinds: tuple[Kind, ...] = tuple(of_kind)) -> list[Row]:
    kind = draw(st.sampled_from(kinds))
    times = draw(st.lists(st.integers(T0 - 200_000, T0 + 400_000), min_size=1, max_size=60))
    out: list[Row] = []
    for t in times:
        code = draw(codes)
        out.append((t, None if code == GONE else draw(of_kind[kind]), code, kind))
    return out


def plain(rows: list[Row], from_ms: int, to_ms: int) -> Features:
    """By the book: the last of equal times stands, Python's own arithmetic."""
    last = {(t, k): (v, q) for t, v, q, k in rows}
    used = sorted(
        (t, v)
        for (t, _), (v, q) in last.items()
        if from_ms <= t < to_ms and isinstance(v, int | float) and math.isfinite(v) and not q & Quality.BAD
    )
    if not used:
        return Features(0)
    n = len(used)
    low, high = min(used, key=lambda r: (r[1], r[0])), max(used, key=lambda r: (r[1], -r[0]))
    mean = math.fsum(float(v) for _, v in used) / n
    off = [float(v) - mean for _, v in used]
    middle = math.fsum(t - used[0][0] for t, _ in used) / n
    at = [t - used[0][0] - middle for t, _ in used]
    spread = math.fsum(x * x for x in at)
    trend = math.fsum(x * y for x, y in zip(at, off, strict=True)) / spread * 3.6e6 if spread > 0 else None
    std = math.sqrt(math.fsum(x * x for x in off) / n)
    return Features(n, low[1], low[0], high[1], high[0], mean, std, trend, used[0][0], used[-1][0])


def same(found: Features, expected: Features) -> None:
    assert found.count == expected.count
    assert (found.min, found.min_t, found.max, found.max_t) == (
        expected.min,
        expected.min_t,
        expected.max,
        expected.max_t,
    )
    assert (found.first_t, found.last_t) == (expected.first_t, expected.last_t)
    if not expected.count:
        return
    assert expected.min is not None and expected.max is not None
    assert expected.first_t is not None and expected.last_t is not None
    scale = max(abs(float(expected.min)), abs(float(expected.max)), 1e-300)
    for one, other in ((found.mean, expected.mean), (found.std, expected.std)):
        assert one is not None and other is not None and abs(one - other) <= 1e-9 * scale
    assert (found.trend_per_h is None) == (expected.trend_per_h is None)
    if found.trend_per_h is not None and expected.trend_per_h is not None:
        hours = (expected.last_t - expected.first_t) / 3.6e6
        assert abs(found.trend_per_h - expected.trend_per_h) <= 1e-9 * (abs(expected.trend_per_h) + 12 * scale / hours)


def samples(rows: list[Row]) -> Samples:
    return from_rows((0, t, v, q, k) for t, v, q, k in rows)


def unique(rows: list[Row]) -> list[Row]:
    return list({(t, k): (t, v, q, k) for t, v, q, k in rows}.values())


@given(rows_of(), st.integers(1, 500_000), st.integers(-1000, 1000))
def test_groups_of_any_width_joined_are_the_whole(rows: list[Row], width: int, origin: int) -> None:
    _, groups = moments.roll(samples(unique(rows)), origin=T0 + origin, width=width)
    same(moments.features(groups), plain(rows, -FAR, FAR))


@given(rows_of(), st.integers(1, 500_000))
def test_each_group_is_that_of_its_own_rows(rows: list[Row], width: int) -> None:
    _, groups = moments.roll(samples(unique(rows)), origin=T0, width=width)
    for i, start in enumerate(groups.start.tolist()):
        same(moments.features(groups.where(np.array([i]))), plain(rows, start, start + width))


@given(st.lists(rows_of(), max_size=3), st.integers(1, 500_000))
def test_a_tag_whose_type_changed_is_one(parts: list[list[Row]], width: int) -> None:
    rows = unique([row for part in parts for row in part])
    _, groups = moments.roll(samples(rows), origin=T0, width=width)
    found, expected = moments.features(groups), plain(rows, -FAR, FAR)
    assert found.count == expected.count
    if found.count and found.min is not None and expected.min is not None:
        assert float(found.min) == float(expected.min)
        assert found.max is not None and expected.max is not None and float(found.max) == float(expected.max)


def test_a_small_spread_on_a_large_value_is_kept() -> None:
    rows: list[Row] = [(T0 + 1000 * i, 1e15 + i % 2, 0, Kind.FLOAT) for i in range(600)]
    _, groups = moments.roll(samples(rows))
    assert moments.features(groups).std == pytest.approx(0.5, rel=1e-9)


def test_integers_of_64_bits_stay_exact() -> None:
    top = (1 << 64) - 1
    rows: list[Row] = [(T0 + i, top - i, 0, Kind.UINT) for i in range(3)]
    found = moments.features(moments.roll(samples(rows))[1])
    assert (found.max, found.min, found.std) == (top, top - 2, pytest.approx(math.sqrt(2 / 3)))


# ---- in the stores


def words(device: str, kind: Kind) -> Dictionary:
    tags = (TagSpec("p", kind), TagSpec("other", Kind.FLOAT), TagSpec("name", Kind.STRING))
    return Dictionary("E1", "edge-1", (DeviceSpec(device, "boiler", tags=tags),))


async def write(historian: Historian, device: str, rows: list[Row]) -> None:
    await historian.write(HistorianBatch(words(device, rows[0][3]), samples(rows)))


def minutes(rows: list[Row]) -> np.ndarray:
    return np.unique(np.array([t // MINUTE_MS * MINUTE_MS for t, *_ in rows], dtype=np.int64))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_rollups_are_those_of_the_rows_however_late_and_often_they_come(
    historian: Historian, data: st.DataObject
) -> None:
    device = f"boiler-{uuid.uuid4().hex}"
    kind = data.draw(st.sampled_from(list(of_kind)))
    first = unique(data.draw(rows_of(kinds=(kind,))))
    late = unique(data.draw(rows_of(kinds=(kind,))))
    # where both write the same time, InfluxDB keeps the worse quality: the stores' own promise, tested elsewhere
    held = {t for t, *_ in first}
    late = [row for row in late if row[0] not in held] or [(T0 + 500_000, None, GONE, kind)]
    await write(historian, device, first)
    await historian.roll("E1", device, minutes(first))
    await write(historian, device, late)
    await historian.roll("E1", device, minutes(late))
    await historian.roll("E1", device, minutes(late))  # a replay
    low = T0 + MINUTE_MS * data.draw(st.integers(-5, 3))
    high = low + MINUTE_MS * data.draw(st.integers(1, 15))
    same(moments.features(await historian.rollups("E1", device, "p", low, high)), plain([*first, *late], low, high))
    seen = await historian.presence("E1", device, -FAR, FAR)
    assert seen.minute.tolist() == minutes([*first, *late]).tolist()
    for minute, a, b in zip(seen.minute.tolist(), seen.first.tolist(), seen.last.tolist(), strict=True):
        times = [t for t, *_ in [*first, *late] if minute <= t < minute + MINUTE_MS]
        assert (a, b) == (min(times), max(times))


async def test_a_value_that_turns_bad_leaves_its_rollup(historian: Historian) -> None:
    await write(historian, "b", [(T0 + 5, 1.0, 0, Kind.FLOAT)])
    await historian.roll("E1", "b", np.array([T0]))
    assert len(await historian.rollups("E1", "b", "p", T0, T0 + MINUTE_MS)) == 1
    await write(historian, "b", [(T0 + 5, 1.0, BAD, Kind.FLOAT)])
    await historian.roll("E1", "b", np.array([T0]))
    found = await historian.rollups("E1", "b", "p", T0, T0 + MINUTE_MS)
    assert moments.features(found).count == 0


async def test_rollups_do_not_show_among_rows(historian: Historian) -> None:
    rows: list[Row] = [(T0 + i * 7000, float(i), 0, Kind.FLOAT) for i in range(40)]
    await write(historian, "b", rows)
    before = await historian.latest("E1", "b"), await historian.coverage("E1", "b", 0, FAR)
    await historian.roll("E1", "b", minutes(rows))
    after = await historian.latest("E1", "b"), await historian.coverage("E1", "b", 0, FAR)
    assert before[0].tags == after[0].tags and before[1] == after[1]
    assert len(await historian.range("E1", "b", "p", 0, FAR, 1000)) == 40
    assert await historian.oldest("E1", "b") == T0
    assert await historian.oldest("E1", "nobody") is None


async def test_only_asked_minutes_are_made_anew(historian: Historian) -> None:
    rows: list[Row] = [(T0 + i * 20_000, float(i), 0, Kind.FLOAT) for i in range(12)]
    await write(historian, "b", rows)
    await historian.roll("E1", "b", np.array([T0, T0 + 2 * MINUTE_MS]))
    found = await historian.rollups("E1", "b", "p", 0, FAR)
    assert sorted(found.start.tolist()) == [T0, T0 + 2 * MINUTE_MS]
    assert (await historian.presence("E1", "b", 0, FAR)).minute.tolist() == [T0, T0 + 2 * MINUTE_MS]
