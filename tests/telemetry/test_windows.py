"""A window comes back as it was, and any other bytes are refused with the one error."""

import contextlib
import os

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry import frame, samples, windows
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.frame import Frame
from telemetry.samples import Kind
from telemetry.windows import Window, WindowError

TAGS = (TagSpec("p", resolution="0.01"), TagSpec("n", Kind.INT))
WORDS = Dictionary("E", "edge", (DeviceSpec("a", "boiler", tags=TAGS), DeviceSpec("b", "motor", tags=TAGS)))
WALL = 1_700_000_000_000

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 60_000), st.integers(-(1 << 40), 1 << 40)), max_size=40)


def encoded(some: samples.Samples, **changes: object) -> bytes:
    framed = frame.encode(Frame(WALL, 1, os.urandom(16), some), WORDS)
    fields = {"id": b"i" * 16, "device": "a", "from_ms": WALL, "to_ms": WALL + 60_000, "ring_from_ms": WALL - 5}
    made = Window(
        **{**fields, "part": 0, "parts": 1, "truncated": False, "samples": some, "dictionary": WORDS, **changes}
    )  # type: ignore[arg-type]
    return windows.encode(made, framed)


@given(rows)
def test_a_window_comes_back_as_it_was(made: list[tuple[int, int, int]]) -> None:
    some = samples.from_rows([(tag, WALL + t, n / 100 if tag == 0 else n, 0, TAGS[tag].kind) for tag, t, n in made])
    back = windows.decode(encoded(some, part=2, parts=3, truncated=True), WORDS)
    assert (back.id, back.device, back.part, back.parts, back.truncated) == (b"i" * 16, "a", 2, 3, True)
    order = np.argsort(some.tag, kind="stable")
    assert back.samples.time.tolist() == some.time[order].tolist()
    assert np.allclose(back.samples.numeric, some.numeric[order], atol=0.005, rtol=1e-15)


def row(tag: int) -> samples.Samples:
    return samples.from_rows([(tag, WALL, 1.0, 0, Kind.FLOAT)])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (encoded(row(2)), "another device"),
        (encoded(row(0), part=1), "none of it"),
        (encoded(row(0), device="c"), "does not have"),
        (encoded(row(0), from_ms=WALL + 1), "another time"),
        (encoded(row(0)) + b"\x00", "one encoding"),
        (encoded(row(0), to_ms=WALL - 1), "ends before"),
        (cbor2.dumps({**cbor2.loads(encoded(row(0))), "more": 1}), "not the body"),
        (cbor2.dumps({**cbor2.loads(encoded(row(0))), "frame": b"x"}), "no frame"),
        (cbor2.dumps([1]), "not the body"),
        (b"\x58\x20x", "not CBOR"),
    ],
)
def test_what_is_no_window_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(WindowError, match=why):
        windows.decode(data, WORDS)


@settings(max_examples=300)
@given(st.data())
def test_any_bytes_give_a_window_or_the_one_error(data: st.DataObject) -> None:
    good = encoded(row(0))
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    for raw in (bytes(changed), data.draw(st.binary(max_size=60))):
        with contextlib.suppress(WindowError):
            assert windows.decode(raw, WORDS).device == "a"
