"""The verifier's register decoding against values written down by hand and against every order."""

import struct
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.points import ModbusPoint, Order
from telemetry.sunspec import definitions
from verifier.readers.registers import FORMATS, UndecodableError, decode, straighten, sunspec_raw, width

# 0x11223344 as it lies in two registers.
LAID: dict[Order, list[int]] = {
    "ABCD": [0x1122, 0x3344],
    "CDAB": [0x3344, 0x1122],
    "BADC": [0x2211, 0x4433],
    "DCBA": [0x4433, 0x2211],
}
LAID_64: dict[Order, list[int]] = {
    "ABCD": [0x1122, 0x3344, 0x5566, 0x7788],
    "CDAB": [0x7788, 0x5566, 0x3344, 0x1122],
    "BADC": [0x2211, 0x4433, 0x6655, 0x8877],
    "DCBA": [0x8877, 0x6655, 0x4433, 0x2211],
}


def point(**fields: Any) -> ModbusPoint:
    return ModbusPoint.model_validate({"tag": "t", "address": 0, **fields})


@pytest.mark.parametrize("order", get_args(Order))
def test_the_four_orders_by_hand(order: Order) -> None:
    assert decode(point(type="uint32"), LAID[order], order) == 0x11223344
    assert decode(point(type="uint64"), LAID_64[order], order) == 0x1122334455667788
    swapped = order in ("BADC", "DCBA")
    assert decode(point(type="uint16"), [0x1122], order) == (0x2211 if swapped else 0x1122)
    assert decode(point(type="string", length=2), [0x4142, 0x4300], order) == ("BA" if swapped else "ABC")


def test_a_points_own_order_wins() -> None:
    assert decode(point(type="uint32", order="CDAB"), LAID["CDAB"], "ABCD") == 0x11223344


def test_integers_stay_exact_and_scaled_ones_become_floats() -> None:
    big = (1 << 64) - 1
    registers = list(struct.unpack(">4H", struct.pack(">Q", big)))
    assert decode(point(type="uint64"), registers, "ABCD") == big
    assert decode(point(type="int16", scale=0.1, offset=-10), [0xFFFF], "ABCD") == pytest.approx(-10.1)


@pytest.mark.parametrize("bit", range(16))
def test_bits(bit: int) -> None:
    assert decode(point(type="bool", bit=bit), [1 << bit], "ABCD") is True
    assert decode(point(type="bool", bit=bit), [0xFFFF ^ (1 << bit)], "ABCD") is False


@given(
    kind=st.sampled_from(sorted(FORMATS)),
    order=st.sampled_from(get_args(Order)),
    data=st.binary(min_size=8, max_size=8),
)
def test_decoding_undoes_a_device_that_lays_its_bytes_out(kind: str, order: Order, data: bytes) -> None:
    n = struct.calcsize(FORMATS[kind])
    data = data[:n]
    words = [data[i : i + 2] for i in range(0, n, 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [w[::-1] for w in words]
    registers = [int.from_bytes(w, "big") for w in words]
    assert straighten(registers, order) == data
    (expected,) = struct.unpack(FORMATS[kind], data)
    found = decode(point(type=kind), registers, order)
    assert found == expected or (found != found and expected != expected)


@given(kind=st.sampled_from(sorted(FORMATS)), n=st.integers(0, 6))
def test_a_wrong_number_of_registers_is_undecodable(kind: str, n: int) -> None:
    wanted = point(type=kind)
    if n != width(wanted):
        with pytest.raises(UndecodableError):
            decode(wanted, [0] * n, "ABCD")


@pytest.mark.parametrize("kind", sorted(definitions().na))
def test_sunspec_not_available_has_no_value(kind: str) -> None:
    na = definitions().na[kind]
    size = 4 if kind.endswith("64") else 2 if kind.endswith("32") else 1
    registers = [na >> 16 * i & 0xFFFF for i in reversed(range(size))]
    assert sunspec_raw(kind, registers, na) is None
