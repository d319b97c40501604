"""The simulator's own register codec: it comes back from every type in every order, and knows the published examples."""

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.maps import point_list
from simulators.registers import (
    IllegalAddress,
    RegisterMap,
    arrange,
    decode,
    encode,
    limits,
    restore,
)
from telemetry.points import ModbusPoint

ORDERS: Any = ("ABCD", "CDAB", "BADC", "DCBA")


def _point(kind: str, **fields: Any) -> ModbusPoint:
    return ModbusPoint.model_validate({"tag": "x", "address": 0, "type": kind, **fields})


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("ABCD", [0x4148, 0xF5C3]),
        ("CDAB", [0xF5C3, 0x4148]),
        ("BADC", [0x4841, 0xC3F5]),
        ("DCBA", [0xC3F5, 0x4841]),
    ],
)
def test_a_known_float_in_every_order(order: Any, words: list[int]) -> None:
    assert struct.pack(">f", 12.56) == bytes.fromhex("4148f5c3")
    assert encode(_point("float32"), 12.56, order) == words


def test_sixteen_bits_follow_the_byte_rule() -> None:
    point = _point("uint16")
    assert [encode(point, 0x1234, order)[0] for order in ORDERS] == [0x1234, 0x1234, 0x3412, 0x3412]


@given(st.binary(min_size=2, max_size=8).filter(lambda b: len(b) in (2, 4, 8)), st.sampled_from(ORDERS))
def test_order_is_undone(data: bytes, order: Any) -> None:
    assert restore(arrange(data, order), order) == data


@given(st.sampled_from(["int16", "uint16", "int32", "uint32", "int64", "uint64"]), st.sampled_from(ORDERS), st.data())
def test_integers_come_back(kind: str, order: Any, data: st.DataObject) -> None:
    low, high = limits(kind)
    bound = 1 << 53
    raw = data.draw(st.integers(max(low + 1, -bound), min(high - 1, bound)))
    assert decode(_point(kind), encode(_point(kind), raw, order), order) == pytest.approx(raw, rel=1e-11)


@given(st.floats(allow_nan=False, width=32), st.sampled_from(ORDERS))
def test_floats_come_back(value: float, order: Any) -> None:
    for kind in ("float32", "float64"):
        assert decode(_point(kind), encode(_point(kind), value, order), order) == value


def test_not_a_number() -> None:
    assert math.isnan(decode(_point("float32"), encode(_point("float32"), math.nan, "CDAB"), "CDAB"))
    assert encode(_point("int16"), math.nan, "ABCD") == [0x8000]
    assert encode(_point("uint16"), math.nan, "ABCD") == [0xFFFF]


def test_what_does_not_fit_saturates() -> None:
    assert encode(_point("int16", scale=0.1), 9999.0, "ABCD") == [0x7FFF]
    assert encode(_point("uint16"), -5.0, "ABCD") == [0]


def test_gaps_read_as_zero_and_the_rest_is_no_address() -> None:
    points = [_point("uint16"), _point("uint16", tag="y", address=5), _point("uint16", tag="z", address=50)]
    registers = RegisterMap(points, "ABCD", writable=frozenset())
    values = {"x": 1.0, "y": 2.0, "z": 3.0}
    assert registers.read("holding", 0, 6, values) == [1, 0, 0, 0, 0, 2]
    for address, count in ((0, 7), (49, 2), (6, 1)):
        with pytest.raises(IllegalAddress):
            registers.read("holding", address, count, values)


@pytest.mark.parametrize("type_id", ["industrial_boiler", "large_motor"])
def test_a_map_has_no_two_tags_in_one_place(type_id: str) -> None:
    taken: set[tuple[str, int, int | None]] = set()
    for point in point_list(type_id, uid="m", port=502).points:
        assert isinstance(point, ModbusPoint)
        size = {"16": 1, "32": 2, "64": 4}.get(point.type[-2:], 1)
        places = {(point.table, point.address + i, point.bit) for i in range(size)}
        assert not places & taken
        taken |= places
