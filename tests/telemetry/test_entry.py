"""Ledger entries."""

import contextlib

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.entry import Entry, EntryError, decode, encode


@given(st.builds(Entry, st.integers(0, 1 << 53), st.text(max_size=50), st.binary(max_size=200)))
def test_an_entry_is_read_back(entry: Entry):
    assert decode(encode(entry)) == entry


@given(
    st.binary(max_size=100) | st.builds(lambda a, b: encode(Entry(5, "t", a)) + b, st.binary(), st.binary(min_size=1))
)
def test_any_bytes_are_an_entry_or_one_error(data: bytes):
    with contextlib.suppress(EntryError):
        assert encode(decode(data)) == data


@pytest.mark.parametrize(
    "wrong",
    [
        [1, "t"],
        [True, "t", b""],
        [-1, "t", b""],
        [1.0, "t", b""],
        [1, b"t", b""],
        [1, "t", "s"],
        {"a": 1},
        [1, "t", b"", 4],
    ],
)
def test_what_is_not_an_entry_is_refused(wrong: object):
    with pytest.raises(EntryError):
        decode(cbor2.dumps(wrong))
