"""The promises of `ingest.historian.base`, kept by both stores."""

import math
import struct
import uuid

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.historian.base import Historian, HistorianBatch, HistorianError, Span
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.samples import Kind, Quality, Reason, Samples, Value, from_rows, quality

ENTERPRISE = "91350100M000100Y43"
T0 = 1_760_000_000_000
FAR = 1 << 52

Row = tuple[int, Value, int]  # time, value, quality


def dictionary_of(tags: dict[str, Kind], *, device: str = "boiler-1", type_: str = "boiler") -> Dictionary:
    specs = tuple(TagSpec(id=name, kind=kind) for name, kind in tags.items())
    return Dictionary(ENTERPRISE, "edge-1", (DeviceSpec(uid=device, type=type_, tags=specs),))


def batch(rows: list[Row], *, tag: str = "p", kind: Kind = Kind.FLOAT, device: str = "boiler-1") -> HistorianBatch:
    return HistorianBatch(
        dictionary_of({tag: kind}, device=device), from_rows((0, t, value, code, kind) for t, value, code in rows)
    )


def rows_of(samples: Samples) -> list[tuple[int, Value, int, Kind]]:
    out: list[tuple[int, Value, int, Kind]] = []
    for i in range(len(samples)):
        value = samples.value_at(i)
        if isinstance(value, np.ndarray):
            value = value.tolist()
        out.append((int(samples.time[i]), value, int(samples.quality[i]), Kind(int(samples.kind[i]))))
    return out


async def read(
    historian: Historian, tag: str = "p", device: str = "boiler-1", limit: int = 1000
) -> list[tuple[int, Value, int, Kind]]:
    return rows_of(await historian.range(ENTERPRISE, device, tag, -FAR, FAR, limit))


EXAMPLES: dict[Kind, list[Value]] = {
    Kind.FLOAT: [0.1, -0.0, 1e300, 5e-324, -1.7976931348623157e308, 1 / 3, 0.0, 42.0],
    Kind.INT: [0, -1, (1 << 63) - 1, -(1 << 63), (1 << 53) + 1],
    Kind.UINT: [0, 1, (1 << 64) - 1, 1 << 63, (1 << 63) - 1, (1 << 53) + 1],
    Kind.BOOL: [True, False],
    Kind.ENUM: [0, 7, -3],
    Kind.STRING: ["", "运行", 'say "hi"', "a\\", '\\"', "two\nlines\r\n", "tab\t,= ", "%", "'", "\x01", "😀", "error"],
    Kind.ARRAY: [np.array([0.0, 0.001, 1.5, math.nan, -0.0]), np.array([]), np.arange(9000) / 7],
}
CODES = [
    quality(Quality.GOOD),
    quality(Quality.UNCERTAIN, Reason.CLOCK),
    quality(Quality.BAD, Reason.DEVICE_BAD),
    quality(Quality.GOOD, Reason.MODBUS_EXCEPTION + 2),
]


@pytest.mark.parametrize("kind", list(Kind))
async def test_every_kind_and_quality_comes_back_as_it_was(historian: Historian, kind: Kind):
    rows: list[Row] = []
    for value in EXAMPLES[kind]:
        rows += [(T0 + len(rows) + i, value, code) for i, code in enumerate(CODES)]
    gone = quality(Quality.BAD, Reason.NO_REPLY, has_value=False)
    rows.append((T0 + len(rows), None, gone))
    await historian.write(batch(rows, kind=kind))
    got = await read(historian)
    assert [(t, repr(v), q, k) for t, v, q, k in got] == [
        (t, repr(v.tolist() if isinstance(v, np.ndarray) else v), q, kind) for t, v, q in rows
    ]
    latest = await historian.latest(ENTERPRISE, "boiler-1")
    assert latest.tags == ("p",)
    assert rows_of(latest.samples) == [(rows[-1][0], None, gone, kind)]
    spans = await historian.coverage(ENTERPRISE, "boiler-1", T0, FAR)
    assert spans == {"p": Span(len(rows) - 1, T0, rows[-2][0])}


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, struct.unpack("<d", b"\x01\0\0\0\0\0\xf8\x7f")[0]])
async def test_floats_that_are_no_numbers_keep_their_bits(historian: Historian, odd: float):
    await historian.write(batch([(T0, odd, 0), (T0 + 1, 1.0, 0)]))
    samples = await historian.range(ENTERPRISE, "boiler-1", "p", T0, T0 + 1, 9)
    assert samples.value.tobytes() == struct.pack("<d", odd)
    found = await historian.aggregate(ENTERPRISE, "boiler-1", "p", T0, T0 + 2, 1)
    assert (found.count.tolist(), found.mean.tolist()) == ([1], [1.0])


async def test_the_sources_own_time_is_kept(historian: Historian):
    one = batch([(T0, 1.5, quality(Quality.UNCERTAIN, Reason.CLOCK)), (T0 + 1, 2.5, 0)])
    samples = one.samples
    moved = Samples(
        samples.tag, samples.time, samples.value, samples.quality, samples.kind, (), np.array([4_102_444_800_000, 0])
    )
    await historian.write(HistorianBatch(one.dictionary, moved))
    got = await historian.range(ENTERPRISE, "boiler-1", "p", T0, T0 + 9, 9)
    assert got.origin is not None
    assert got.origin.tolist() == [4_102_444_800_000, 0]


async def test_writing_twice_is_writing_once(historian: Historian):
    one = batch([(T0 + i, float(i), CODES[i % 3]) for i in range(20)])
    await historian.write(one)
    first = await read(historian)
    await historian.write(one, one)
    assert await read(historian) == first
    assert len(first) == 20


async def test_late_rows_find_their_place_and_do_not_pin_latest(historian: Historian):
    await historian.write(batch([(T0 + 10, 10.0, 0), (T0 + 30, 30.0, 0)]))
    await historian.write(batch([(T0 + 20, 20.0, 0), (T0 - 86_400_000 * 400, 1.0, 0)]))
    assert [t - T0 for t, *_ in await read(historian)] == [-86_400_000 * 400, 10, 20, 30]
    latest = await historian.latest(ENTERPRISE, "boiler-1")
    assert rows_of(latest.samples) == [(T0 + 30, 30.0, 0, Kind.FLOAT)]


async def test_latest_has_every_tag_however_slow(historian: Historian):
    """Hundreds of rows of a fast tag lie after the only row of a slow one; strings may be empty."""
    tags = {"fast": Kind.FLOAT, "slow": Kind.INT, "name": Kind.STRING, "never": Kind.FLOAT}
    dictionary = dictionary_of(tags)
    rows = [(0, T0 + i, float(i), 0, Kind.FLOAT) for i in range(500)]
    rows += [(1, T0 - 5, 7, 0, Kind.INT), (2, T0 - 9, "old", 0, Kind.STRING), (2, T0 - 4, "", 0, Kind.STRING)]
    await historian.write(HistorianBatch(dictionary, from_rows(rows)))
    latest = await historian.latest(ENTERPRISE, "boiler-1")
    got = {latest.tags[latest.samples.tag[i]]: row for i, row in enumerate(rows_of(latest.samples))}
    assert got == {
        "fast": (T0 + 499, 499.0, 0, Kind.FLOAT),
        "slow": (T0 - 5, 7, 0, Kind.INT),
        "name": (T0 - 4, "", 0, Kind.STRING),
    }
    spans = await historian.coverage(ENTERPRISE, "boiler-1", T0 - 100, T0 + 400)
    assert spans == {"fast": Span(400, T0, T0 + 399), "slow": Span(1, T0 - 5, T0 - 5), "name": Span(2, T0 - 9, T0 - 4)}
    assert await historian.coverage(ENTERPRISE, "boiler-1", T0 + 600, T0 + 700) == {}


async def test_limits_and_bounds(historian: Historian):
    await historian.write(batch([(T0 + i, float(i), 0) for i in range(10)]))

    async def times(low: int, high: int, limit: int) -> list[int]:
        return ((await historian.range(ENTERPRISE, "boiler-1", "p", low, high, limit)).time - T0).tolist()

    assert await times(T0 + 2, T0 + 5, 100) == [2, 3, 4]
    assert await times(T0 + 2, FAR, 3) == [2, 3, 4]
    assert await times(T0 + 5, T0 + 5, 3) == []
    assert await times(-(1 << 62), 1 << 62, 100) == list(range(10))


async def test_a_tag_whose_type_changes_goes_on(historian: Historian):
    await historian.write(batch([(T0, 1.5, 0), (T0 + 1, 2.5, 0)]))
    await historian.write(batch([(T0 + 2, 3, 0)], kind=Kind.INT))
    await historian.write(batch([(T0 + 3, "four", 0)], kind=Kind.STRING))
    await historian.write(batch([(T0, 1.5, 0), (T0 + 4, 5.5, 0)]))  # a replay of the old, and back again
    assert await read(historian) == [
        (T0, 1.5, 0, Kind.FLOAT),
        (T0 + 1, 2.5, 0, Kind.FLOAT),
        (T0 + 2, 3, 0, Kind.INT),
        (T0 + 3, "four", 0, Kind.STRING),
        (T0 + 4, 5.5, 0, Kind.FLOAT),
    ]
    assert [row[0] - T0 for row in await read(historian, limit=3)] == [0, 1, 2]
    latest = await historian.latest(ENTERPRISE, "boiler-1")
    assert rows_of(latest.samples) == [(T0 + 4, 5.5, 0, Kind.FLOAT)]
    found = await historian.aggregate(ENTERPRISE, "boiler-1", "p", T0, T0 + 10, 1)
    assert (found.count.tolist(), found.mean.tolist()) == ([4], [12.5 / 4])
    assert await historian.coverage(ENTERPRISE, "boiler-1", T0, T0 + 10) == {"p": Span(5, T0, T0 + 4)}


NASTY = [
    "a b",
    "a,b",
    "a=b",
    'a"b',
    "a'b",
    "a\\",
    "a\\,b",
    "a%41",
    "time",
    "device",
    "_x",
    "a__q",
    "a__int",
    "x_",
    "温度",
    "a\nb",
    "#x",
    "%",
    "",
    "a/b",
    "a;DROP DATABASE d",
    "__",
    "a b\\ c",
    "%%b",
    "{0}",
]


async def test_no_name_is_misread(historian: Historian):
    dictionary = dictionary_of(dict.fromkeys(NASTY, Kind.FLOAT))
    bad = quality(Quality.BAD, Reason.DEVICE_BAD)
    rows = [(i, T0 + i % 2, float(i), bad if i % 3 == 0 else 0, Kind.FLOAT) for i in range(len(NASTY))]
    await historian.write(HistorianBatch(dictionary, from_rows(rows)))
    for i, name in enumerate(NASTY):
        assert await read(historian, name) == [(T0 + i % 2, float(i), bad if i % 3 == 0 else 0, Kind.FLOAT)], name
    latest = await historian.latest(ENTERPRISE, "boiler-1")
    assert {latest.tags[t]: v for t, v in zip(latest.samples.tag, latest.samples.numeric, strict=True)} == {
        name: float(i) for i, name in enumerate(NASTY)
    }


async def test_no_device_or_type_is_misread(historian: Historian):
    for i, name in enumerate(NASTY):
        dictionary = dictionary_of({"p": Kind.FLOAT}, device=name, type_=name)
        await historian.write(HistorianBatch(dictionary, from_rows([(0, T0, float(i), 0, Kind.FLOAT)])))
    for i, name in enumerate(NASTY):
        assert await read(historian, device=name) == [(T0, float(i), 0, Kind.FLOAT)], name


async def test_enterprises_and_devices_are_kept_apart(historian: Historian):
    await historian.write(batch([(T0, 1.0, 0)]), batch([(T0, 2.0, 0)], device="boiler-2"))
    assert await read(historian) == [(T0, 1.0, 0, Kind.FLOAT)]
    other = "91350100M000100Y44"
    assert len(await historian.range(other, "boiler-1", "p", 0, FAR, 9)) == 0
    assert len((await historian.latest(other, "boiler-1")).samples) == 0
    assert await historian.coverage(other, "boiler-1", 0, FAR) == {}
    assert (await historian.aggregate(other, "boiler-1", "p", T0, T0 + 5, 2)).count.tolist() == [0, 0]
    assert len(await historian.range(ENTERPRISE, "boiler-1", "unknown", 0, FAR, 9)) == 0


@pytest.mark.parametrize("kind", [Kind.FLOAT, Kind.INT, Kind.UINT, Kind.BOOL, Kind.ENUM])
async def test_aggregates_are_those_of_the_raw_rows(historian: Historian, kind: Kind):
    random = np.random.default_rng(1)
    rows: list[Row] = []
    for i in range(700):
        number = random.normal(20, 5)
        value = number if kind is Kind.FLOAT else bool(i % 3) if kind is Kind.BOOL else int(abs(number) * 100)
        if kind is Kind.UINT and i % 50 == 0:
            value = (1 << 64) - 1 - i
        rows.append(
            (T0 + i * 977 + int(random.integers(900)), value, CODES[1 if i % 7 == 0 else 2 if i % 11 == 0 else 0])
        )
    rows.append((T0 + 5, None, quality(Quality.BAD, Reason.NO_REPLY, has_value=False)))
    await historian.write(batch(rows, kind=kind))
    low, high = T0 + 10_001, T0 + 600_333
    for buckets in (1, 7, 300, 5000):
        found = await historian.aggregate(ENTERPRISE, "boiler-1", "p", low, high, buckets)
        width = -(-(high - low) // buckets)
        assert found.start.tolist() == list(range(low, high, width))
        used = [(t, float(v)) for t, v, q in rows if v is not None and low <= t < high and not q & Quality.BAD]  # type: ignore[arg-type]
        times, values = np.array([t for t, _ in used]), np.array([v for _, v in used])
        at = (times - low) // width
        assert found.count.tolist() == np.bincount(at, minlength=len(found.start)).tolist()
        for i in np.unique(at).tolist():
            here = values[at == i]
            assert found.mean[i] == pytest.approx(here.mean(), rel=1e-12)
            assert (found.minimum[i], found.maximum[i]) == (here.min(), here.max())
        assert np.isnan(found.mean[found.count == 0]).all()


async def test_an_aggregate_of_nothing_is_refused(historian: Historian):
    for low, high, buckets in ((5, 5, 1), (6, 5, 1), (0, 5, 0)):
        with pytest.raises(HistorianError):
            await historian.aggregate(ENTERPRISE, "boiler-1", "p", low, high, buckets)


async def test_strings_have_no_numbers(historian: Historian):
    await historian.write(batch([(T0, "7", 0)], kind=Kind.STRING))
    assert (await historian.aggregate(ENTERPRISE, "boiler-1", "p", T0, T0 + 9, 1)).count.tolist() == [0]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(texts=st.lists(TEXT, min_size=1, max_size=20), name=TEXT)
async def test_any_text_comes_back(historian: Historian, texts: list[str], name: str):
    await historian.write(batch([(T0 + i, one, 0) for i, one in enumerate(texts)], tag=name, kind=Kind.STRING))
    got = await historian.range(ENTERPRISE, "boiler-1", name, T0, T0 + len(texts), 99)
    assert [got.value_at(i) for i in range(len(got))] == texts


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(values=st.lists(st.floats(allow_nan=False), min_size=1, max_size=50))
async def test_any_float_comes_back(historian: Historian, values: list[float]):
    tag = uuid.uuid4().hex  # every example its own: a row once written is there for the next
    await historian.write(batch([(T0 + i, one, 0) for i, one in enumerate(values)], tag=tag))
    got = await historian.range(ENTERPRISE, "boiler-1", tag, T0, T0 + len(values), 99)
    assert got.value.tolist() == [np.float64(v).view(np.int64) for v in values]


async def test_the_first_uncertain_value_is_not_read_as_good(historian: Historian):
    await historian.write(batch([(T0, 1.0, 0)]))
    assert await read(historian) == [(T0, 1.0, 0, Kind.FLOAT)]
    for i, code in enumerate(CODES, start=1):
        await historian.write(batch([(T0 + i, 2.0, code)]))
        assert (await read(historian))[-1] == (T0 + i, 2.0, code, Kind.FLOAT)
        latest = await historian.latest(ENTERPRISE, "boiler-1")
        assert rows_of(latest.samples) == [(T0 + i, 2.0, code, Kind.FLOAT)]
    gone = quality(Quality.BAD, Reason.NOT_CONNECTED, has_value=False)
    await historian.write(batch([(T0 + 9, None, gone)]))
    assert rows_of((await historian.latest(ENTERPRISE, "boiler-1")).samples) == [(T0 + 9, None, gone, Kind.FLOAT)]
