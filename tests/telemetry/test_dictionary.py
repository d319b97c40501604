"""The tag dictionary has one canonical form, and any other bytes are refused."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import dictionary
from telemetry.dictionary import DeviceSpec, Dictionary, DictionaryError, TagSpec
from telemetry.samples import Kind

specs = st.builds(
    TagSpec,
    id=st.text(max_size=10),
    kind=st.sampled_from(Kind),
    unit=st.text(max_size=5),
    resolution=st.sampled_from([None, "0.001", "1", "2.5e-3", "1e6"]),
    period_ms=st.integers(1, 10**7),
    source_time=st.booleans(),
    deadband=st.floats(0, 1e6),
)
devices = st.builds(
    DeviceSpec,
    uid=st.text(max_size=10),
    type=st.text(max_size=10),
    name=st.text(max_size=10),
    simulated=st.booleans(),
    nameplate=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    tags=st.lists(specs, max_size=5).map(tuple),
)


@given(st.lists(devices, max_size=4).map(tuple))
def test_round_trip_and_same_hash(of: tuple[DeviceSpec, ...]) -> None:
    words = Dictionary("E", "edge", of)
    back = dictionary.decode(words.encode())
    assert back == words
    assert back.hash == words.hash == dictionary.digest(words.encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_the_one_error(data: bytes) -> None:
    with pytest.raises(DictionaryError):
        dictionary.decode(data)


def test_another_order_of_keys_is_not_canonical() -> None:
    words = Dictionary("E", "edge", ())
    other = cbor2.dumps(dict(reversed(cbor2.loads(words.encode()).items())))
    with pytest.raises(DictionaryError, match="canonical"):
        dictionary.decode(other)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x", "", "1e999", "1" * 60])
def test_resolutions_that_are_none(text: str) -> None:
    with pytest.raises(DictionaryError):
        dictionary.split_resolution(text)


def test_numbers_follow_the_flattened_list() -> None:
    a = DeviceSpec("a", "t", tags=(TagSpec("x"), TagSpec("y")))
    b = DeviceSpec("b", "t", tags=(TagSpec("x"),))
    words = Dictionary("E", "edge", (a, b))
    assert (words.number("a", "y"), words.number("b", "x"), words.first_number("b")) == (1, 2, 2)
    assert words.device_of.tolist() == [0, 0, 1]
    with pytest.raises(KeyError):
        words.number("b", "y")
