"""Bodies of OPEN and LOSS items: what is written is read, and any other bytes give the one error."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import items
from telemetry.items import ItemError, Lost, Opening

number = st.integers(0, (1 << 53) - 1)
stream = st.binary(min_size=16, max_size=16)
openings = st.builds(
    Opening,
    epoch=st.binary(min_size=8, max_size=8),
    key=st.binary(min_size=32, max_size=32),
    boot=stream,
    wall_ms=number,
    reason=st.sampled_from(["start", "fork"]),
    parent=st.none() | st.tuples(stream, number),
    idle_since_ms=number,
    version=st.text(max_size=20),
)
losses = st.builds(
    lambda stream, a, b, c, d: Lost(stream, min(a, b), max(a, b), min(c, d), max(c, d)),
    stream,
    number,
    number,
    number,
    number,
)


@given(openings)
def test_openings_come_back(opening: Opening) -> None:
    assert Opening.decode(opening.encode()) == opening
    assert opening.key.hex() not in repr(opening)


@given(st.lists(losses, min_size=1, max_size=5))
def test_losses_come_back(lost: list[Lost]) -> None:
    assert items.decode_losses(items.encode_losses(lost)) == tuple(lost)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)


@given(st.binary(max_size=100) | json.map(cbor2.dumps))
def test_anything_else_gives_the_one_error(data: bytes) -> None:
    for decode in (Opening.decode, items.decode_losses):
        with pytest.raises(ItemError):
            decode(data)
