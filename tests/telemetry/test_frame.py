"""A frame is lossless at each tag's declared resolution, and a decoder given any bytes returns a value or raises one error."""

import contextlib
import os
import tracemalloc

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry import columns, frame, samples
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec, split_resolution
from telemetry.frame import Frame, FrameError
from telemetry.samples import Kind, Quality, Reason, Samples, quality

TAGS = (
    TagSpec("scaled", Kind.FLOAT, resolution="0.01"),
    TagSpec("coarse", Kind.FLOAT, resolution="0.25"),
    TagSpec("large", Kind.FLOAT, resolution="1e3"),
    TagSpec("plain", Kind.FLOAT),
    TagSpec("int", Kind.INT),
    TagSpec("uint", Kind.UINT),
    TagSpec("bool", Kind.BOOL),
    TagSpec("enum", Kind.ENUM),
    TagSpec("text", Kind.STRING),
    TagSpec("wave", Kind.ARRAY),
)
WORDS = Dictionary("E", "edge", (DeviceSpec("a", "boiler", tags=TAGS), DeviceSpec("b", "motor", tags=TAGS)))
WALL = 1_700_000_000_000

values = {
    Kind.FLOAT: st.floats(allow_nan=False),
    Kind.INT: st.integers(-(1 << 63), (1 << 63) - 1),
    Kind.UINT: st.integers(0, (1 << 64) - 1),
    Kind.BOOL: st.booleans(),
    Kind.ENUM: st.integers(0, 255),
    Kind.STRING: st.text(max_size=20),
    Kind.ARRAY: st.lists(st.floats(allow_nan=False), max_size=8).map(lambda x: np.array(x, dtype=np.float64)),
}
qualities = st.sampled_from([0, 0, 0, quality(Quality.UNCERTAIN, Reason.CLOCK), quality(Quality.BAD, Reason.NO_REPLY)])
times = st.one_of(st.integers(WALL - 1000, WALL + 1000), st.integers(-(1 << 50), 1 << 50))


@st.composite
def rows(draw: st.DrawFn) -> tuple[int, int, samples.Value, int, Kind]:
    tag = draw(st.integers(0, len(WORDS.tags) - 1))
    kind = WORDS.tags[tag][1].kind
    value = draw(st.none() | values[kind])
    code = draw(qualities)
    return tag, draw(times), value, code, kind


def at_resolution(value: samples.Value, spec: TagSpec) -> samples.Value:
    """What a value becomes: computed in exact decimals, another way than the codec's."""
    from decimal import ROUND_HALF_EVEN, Decimal

    if value is None or spec.resolution is None or not isinstance(value, float):
        return value
    step = Decimal(spec.resolution)
    return float((Decimal(value) / step).quantize(Decimal(1), rounding=ROUND_HALF_EVEN) * step)


def same(a: samples.Value, b: samples.Value) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)  # type: ignore[arg-type]
    return type(a) is type(b) and a == b


def by_tag(s: Samples) -> list[tuple[int, int, samples.Value, int]]:
    order = np.argsort(s.tag, kind="stable")
    return [(int(s.tag[i]), int(s.time[i]), s.value_at(int(i)), int(s.quality[i])) for i in order]


@given(st.lists(rows(), max_size=60))
def test_round_trip_of_every_kind(batch: list[tuple[int, int, samples.Value, int, Kind]]) -> None:
    sent = samples.from_rows(batch)
    back = frame.decode(frame.encode(Frame(WALL, 5, bytes(16), sent), WORDS), WORDS).samples
    assert len(back) == len(sent)
    for (tag, time, value, code), (tag2, time2, value2, code2) in zip(by_tag(sent), by_tag(back), strict=True):
        assert (tag, time, code) == (tag2, time2, code2)
        spec = WORDS.tags[tag][1]
        if isinstance(value, float) and spec.resolution is not None and isinstance(value2, float):
            # Beyond 2^53 steps the value travels whole; within, it is the nearest step.
            mantissa, power = split_resolution(spec.resolution)
            whole = abs(value) / (mantissa * 10.0**power) >= 2**52
            assert value2 == value or (not whole and abs(value2 - value) <= mantissa * 10.0**power * 0.5000001)
        else:
            assert same(value, value2)


@given(st.integers(-(10**9), 10**9), st.sampled_from(["0.01", "0.25", "1e3"]))
def test_a_value_on_the_grid_comes_back_as_the_same_float(steps: int, resolution: str) -> None:
    from decimal import Decimal

    value = float(Decimal(resolution) * steps)
    tag = {"0.01": 0, "0.25": 1, "1e3": 2}[resolution]
    sent = samples.from_rows([(tag, WALL, value, 0, Kind.FLOAT)])
    back = frame.decode(frame.encode(Frame(WALL, 0, bytes(16), sent), WORDS), WORDS).samples
    assert back.value_at(0) == value


def test_not_a_number_and_infinity_pass() -> None:
    sent = samples.from_rows([(0, WALL, x, 0, Kind.FLOAT) for x in (float("nan"), float("inf"), 1.25)])
    back = frame.decode(frame.encode(Frame(WALL, 0, bytes(16), sent), WORDS), WORDS).samples
    assert np.array_equal(back.numeric, [float("nan"), float("inf"), 1.25], equal_nan=True)


def test_order_within_a_tag_is_kept_and_origin_comes_back() -> None:
    sent = samples.make(
        [1, 0, 1, 0], [30, 5, 20, 5], samples.float_slots([1, 2, 3, 4]), kind=Kind.FLOAT, origin=[0, 9, 0, 0]
    )
    back = frame.decode(frame.encode(Frame(WALL, 0, bytes(16), sent), WORDS), WORDS).samples
    assert back.tag.tolist() == [0, 0, 1, 1]
    assert back.time.tolist() == [5, 5, 30, 20]
    assert back.numeric.tolist() == [2, 4, 1, 3]
    assert back.origin is not None and back.origin.tolist() == [9, 0, 0, 0]


def test_head_and_notes() -> None:
    boot = os.urandom(16)
    sent = Frame(WALL, 77, boot, samples.empty(), synchronised=True, notes={"raw": 12, "dropped": {"no_reply": 3}})
    back = frame.decode(frame.encode(sent, WORDS), WORDS)
    assert (back.wall_ms, back.mono_ms, back.boot, back.synchronised, back.notes) == (WALL, 77, boot, True, sent.notes)


def test_a_tag_of_another_kind_is_refused() -> None:
    with pytest.raises(FrameError, match="a/scaled"):
        frame.encode(Frame(WALL, 0, bytes(16), samples.from_rows([(0, 1, 5, 0, Kind.INT)])), WORDS)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_frame_or_the_one_error(data: bytes) -> None:
    for attempt in (data, frame.MAGIC + data, frame.MAGIC + zstandard.compress(data)):
        with contextlib.suppress(FrameError):
            frame.decode(attempt, WORDS)


@settings(max_examples=300)
@given(st.lists(rows(), max_size=20), st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_inside_the_body_gives_a_frame_or_the_one_error(batch, at: int, change: int) -> None:
    whole = frame.encode(Frame(WALL, 5, bytes(16), samples.from_rows(batch)), WORDS)
    body = bytearray(zstandard.ZstdDecompressor().decompress(whole[len(frame.MAGIC) :]))
    body[at % len(body)] ^= change
    with contextlib.suppress(FrameError):
        frame.decode(frame.MAGIC + zstandard.compress(bytes(body)), WORDS)


def test_a_decompression_bomb_stays_within_the_memory_bound() -> None:
    bomb = frame.MAGIC + zstandard.compress(bytes(1 << 30))
    tracemalloc.start()
    with pytest.raises(FrameError, match="announces"):
        frame.decode(bomb, WORDS)
    # One that does not announce its size either.
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    silent = frame.MAGIC + stream.compress(bytes(1 << 28)) + stream.flush()
    del stream
    with pytest.raises(FrameError):
        frame.decode(silent, WORDS)
    assert tracemalloc.get_traced_memory()[1] < (1 << 28) + (64 << 20)  # the test's own zeros, and little more
    tracemalloc.stop()


@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=50))
def test_packed_integers_come_back(values: list[int]) -> None:
    data = columns.pack(np.array(values, dtype=np.uint64))
    assert columns.unpack(data, len(values)).tolist() == values


@given(st.binary(max_size=60), st.integers(0, 20))
def test_unpacking_any_bytes_gives_integers_or_the_one_error(data: bytes, count: int) -> None:
    with contextlib.suppress(columns.ColumnError):
        assert len(columns.unpack(data, count)) == count


def test_a_value_is_the_same_beside_one_that_does_not_fit_its_resolution() -> None:
    words = Dictionary("E", "edge", (DeviceSpec("a", "boiler", tags=(TagSpec("p", resolution="0.1"),)),))

    def through(*some: float) -> list[float]:
        made = samples.from_rows([(0, WALL + n, value, 0, Kind.FLOAT) for n, value in enumerate(some)])
        return frame.decode(frame.encode(Frame(WALL, 0, bytes(16), made), words), words).samples.numeric.tolist()

    odd = 0.1 + 0.2
    assert through(odd) == [0.3]
    assert through(odd, 1e30, -0.04) == [0.3, 1e30, -0.0]
