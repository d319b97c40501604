"""The raw ring keeps its invariants: keeps, bounded, fair, honest, exact."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import framing
from edge_agent import ring as rings
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.rules import Rules
from edge_agent.ring import Ring
from telemetry import clock, frame, samples
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.frame import Frame
from telemetry.samples import Kind, Quality, Reason, Samples, quality

TAGS = (TagSpec("p", resolution="0.01"), TagSpec("w", Kind.ARRAY))
WORDS = Dictionary("E", "edge", (DeviceSpec("a", "boiler", tags=TAGS), DeviceSpec("b", "motor", tags=TAGS)))
WALL = 1_700_000_000_000
MINUTES = 60_000


class Time:
    """Both clocks, moved by hand; `wall` can step alone."""

    def __init__(self) -> None:
        self.wall, self.mono = WALL, 5_000

    def pass_ms(self, ms: int) -> int:
        self.wall, self.mono = self.wall + ms, self.mono + ms
        return self.wall


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    moved = Time()
    monkeypatch.setattr(clock, "now_ms", lambda: moved.wall)
    monkeypatch.setattr(clock, "mono_ms", lambda: moved.mono)
    yield moved


def row(value: float, at_ms: int, tag: int = 0) -> Samples:
    return samples.from_rows([(tag, at_ms, value, 0, Kind.FLOAT)])


def wave(at_ms: int, draw: np.random.Generator, size: int = 200, tag: int = 1) -> Samples:
    return samples.from_rows([(tag, at_ms, draw.normal(size=size), 0, Kind.ARRAY)])


def scans(ring: Ring, time: Time, count: int, *, tag: int = 0, behind_ms: int = 0) -> list[tuple[int, float]]:
    """One row a second; what went in."""
    put: list[tuple[int, float]] = []
    for n in range(count):
        put.append((time.pass_ms(1000) - behind_ms, n % 997 / 100))
        ring.add(row(put[-1][1], put[-1][0], tag))
    return put


def out(rows: Samples) -> list[tuple[int, float]]:
    return list(zip(rows.time.tolist(), rows.numeric.tolist(), strict=True))


def test_keeps_fifteen_minutes(time: Time) -> None:
    ring = Ring(WORDS)
    put = scans(ring, time, 40 * 60)
    kept = out(ring.window("a", time.wall - 15 * MINUTES, time.wall))
    assert kept == [one for one in put if one[0] >= time.wall - 15 * MINUTES]


def test_keeps_fifteen_minutes_though_the_clock_steps(time: Time) -> None:
    ring = Ring(WORDS)
    before = scans(ring, time, 10 * 60)
    time.wall += 3_600_000
    after = scans(ring, time, 60)
    assert out(ring.window("a", 0, time.wall)) == before + after
    time.wall -= 7_200_000
    again = scans(ring, time, 20 * 60)
    held = out(ring.window("a", time.wall - 15 * MINUTES, time.wall))
    assert [one for one in held if one in again] == again[-901:]


def test_honest_about_what_is_older(time: Time) -> None:
    ring = Ring(WORDS)
    assert ring.from_ms("a") == WALL  # nothing is known from before this process
    put = scans(ring, time, 40 * 60)
    assert time.wall - 17 * MINUTES < ring.from_ms("a") < time.wall - 15 * MINUTES
    kept = out(ring.window("a", 0, time.wall))
    assert [one for one in put if one[0] >= ring.from_ms("a")] == kept
    assert ring.room_ms("a") == 0 and ring.from_ms("b") == WALL  # of b nothing came, and nothing went


@pytest.mark.parametrize("behind_ms", [60_000, -4_000])
def test_honest_in_the_machines_own_time(time: Time, behind_ms: int) -> None:
    ring = Ring(WORDS)
    put = scans(ring, time, 40 * 60, behind_ms=behind_ms)
    at = ring.from_ms("a")
    assert out(ring.window("a", at, time.wall + MINUTES)) == [one for one in put if one[0] >= at]
    assert put[-1][0] - 17 * MINUTES < at < put[-1][0] - 15 * MINUTES


def test_bounded_by_bytes_whatever_comes(time: Time) -> None:
    ring = Ring(WORDS, max_bytes=100_000)
    draw = np.random.default_rng(1)
    put: list[int] = []
    for _ in range(200):
        put.append(time.pass_ms(500))
        ring.add(wave(put[-1], draw))
        assert ring.bytes <= 100_000
    held = ring.window("a", 0, time.wall).time.tolist()
    assert len(held) > 10 and held == put[-len(held) :]
    assert ring.from_ms("a") == ring.room_ms("a") and put[-len(held) - 1] < ring.from_ms("a") <= held[0]


def test_a_single_wave_larger_than_the_ring_is_given_up(time: Time) -> None:
    ring = Ring(WORDS, max_bytes=10_000)
    ring.add(wave(time.wall, np.random.default_rng(1), size=5_000))
    assert len(ring.window("a", 0, time.wall)) == 0 and ring.bytes == 0
    assert ring.from_ms("a") == ring.room_ms("a") == time.wall + 1


def test_fair_to_machines_that_take_little(time: Time) -> None:
    ring = Ring(WORDS, max_bytes=1_000_000)
    draw = np.random.default_rng(1)
    put: list[tuple[int, float]] = []
    for _ in range(15 * 60):
        put += scans(ring, time, 1)
        ring.add(wave(time.wall, draw, size=2_000, tag=3))
    assert out(ring.window("a", 0, time.wall)) == put and ring.room_ms("a") == 0
    assert ring.room_ms("b") > 0 and len(ring.window("b", 0, time.wall)) > 20


def test_a_value_that_fits_into_no_item_is_what_history_has_of_it(time: Time) -> None:
    ring = Ring(WORDS)
    huge = np.random.default_rng(2).normal(size=700_000)
    given_in = samples.from_rows([(0, time.wall, 1.0, 0, Kind.FLOAT), (1, time.wall, huge, 0, Kind.ARRAY)])
    ring.add(given_in)
    time.pass_ms(rings.CHUNK_MS)
    ring.add(row(2.0, time.wall))
    assert out(ring.window("a", 0, time.wall, ("p",))) == [(WALL, 1.0), (time.wall, 2.0)]
    [code] = ring.window("a", 0, time.wall, ("w",)).quality.tolist()
    assert code == quality(Quality.BAD, Reason.TOO_LARGE, has_value=False)
    assert framing.fitting(given_in, WORDS)[0].quality.tolist()[1] == code


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100), st.integers(-(10**6), 10**6)), max_size=60),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_exact_by_device_and_time(made: list[tuple[int, int, int]], a: int, b: int) -> None:
    words = Dictionary("E", "edge", (DeviceSpec("a", "x", tags=TAGS[:1] * 2), DeviceSpec("b", "x", tags=TAGS[:1] * 2)))
    ring, low, high = Ring(words), WALL + min(a, b), WALL + max(a, b)
    for n, (tag, t, value) in enumerate(made):
        ring.add(row(value / 100, WALL + t, tag))
        if n % 7 == 6:
            ring._close_chunk(clock.mono_ms())
    for first, uid in ((0, "a"), (2, "b")):
        expected = [
            (tag, WALL + t, value / 100)
            for wanted in (first, first + 1)
            for tag, t, value in made
            if tag == wanted and low <= WALL + t <= high
        ]
        rows = ring.window(uid, low, high)
        assert list(zip(rows.tag.tolist(), rows.time.tolist(), rows.numeric.tolist(), strict=True)) == expected


def test_newest_time_and_silence_by_machine(time: Time) -> None:
    ring = Ring(WORDS)
    assert (ring.newest_ms("a"), ring.silent_ms("a")) == (0, None)
    for at, tag in ((WALL + 5, 0), (WALL + 3, 0), (WALL + 9, 2)):
        ring.add(row(1.0, at, tag))
    assert (ring.newest_ms("a"), ring.newest_ms("b"), ring.silent_ms("a")) == (WALL + 5, WALL + 9, 0)
    time.pass_ms(rings.CHUNK_MS)
    ring.add(row(1.0, WALL + 20, 2))
    assert (ring.newest_ms("a"), ring.newest_ms("b")) == (WALL + 5, WALL + 20)
    time.pass_ms(7_000)
    ring.add(row(1.0, WALL + 30, 2))
    assert (ring.silent_ms("a"), ring.silent_ms("b")) == (7_000, 0)


def test_the_tap_sees_what_the_deadband_holds_back() -> None:
    seen: list[Samples] = []
    rules = Rules(np.full(1, False), np.full(1, -np.inf), np.full(1, np.inf), np.full(1, 5.0))
    pipeline = Pipeline(rules, tap=seen.append)
    kept = [pipeline(row(value, WALL + n), arrival_ms=WALL + n) for n, value in enumerate((10.0, 11.0, 30.0))]
    assert [len(some) for some in kept] == [1, 0, 1]
    assert [some.numeric.tolist() for some in seen] == [[10.0], [11.0], [30.0]]


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 3)), min_size=1, max_size=30))
def test_equal_to_history_where_history_has_the_point(made: list[tuple[float, int]]) -> None:
    """History decodes what frames of one flush carry, after the deadband; the ring's chunks hold many flushes."""
    ring = Ring(WORDS)
    rules = Rules(np.full(4, False), np.full(4, -np.inf), np.full(4, np.inf), np.full(4, 10.0))
    pipeline = Pipeline(rules, tap=ring.add)
    history: list[tuple[int, float]] = []
    for n, (value, repeats) in enumerate(made):
        rows = samples.concat([row(value + k / 7, WALL + 10 * n + k) for k in range(repeats + 1)])
        kept = pipeline(rows, arrival_ms=WALL + 10 * n)
        history += out(frame.decode(frame.encode(Frame(WALL, 0, bytes(16), kept), WORDS), WORDS).samples)
    assert set(history) <= set(out(ring.window("a", 0, WALL + 10_000)))
