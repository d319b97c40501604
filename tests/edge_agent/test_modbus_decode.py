"""Decoding against an oracle of its own: struct, byte strings cut and put together, and Decimal."""

import math
import struct
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.modbus_decode import Field, Output, Reply, Scan, decimal_grid
from edge_agent.drivers.modbus_plan import Span, plan
from telemetry.samples import Kind, Quality, Reason, quality

FORMATS = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}
ORDERS = ["ABCD", "CDAB", "BADC", "DCBA"]


def wire(big_endian: bytes, order: str) -> bytes:
    """Bytes as they lie in the registers, by the words of the definition."""
    words = [big_endian[i : i + 2] for i in range(0, len(big_endian), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [w[::-1] for w in words]
    return b"".join(words)


def test_the_oracle_says_what_the_order_names_say() -> None:
    for order in ORDERS:
        assert wire(b"ABCD", order).decode() == order
    assert wire(b"ABCDEFGH", "CDAB") == b"GHEFCDAB"


def numbers(kind: str) -> st.SearchStrategy[Any]:
    if kind.startswith("float"):
        return st.floats(width=32 if kind == "float32" else 64, allow_nan=False)
    bits = int(kind.lstrip("uint"))
    low, high = (0, (1 << bits) - 1) if kind.startswith("u") else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return st.integers(low, high)


@st.composite
def registers(draw: st.DrawFn) -> list[tuple[str, str, Any]]:
    kinds = draw(st.lists(st.tuples(st.sampled_from(list(FORMATS)), st.sampled_from(ORDERS)), min_size=1, max_size=25))
    return [(kind, order, draw(numbers(kind))) for kind, order in kinds]


def native(kind: str) -> Kind:
    return Kind.FLOAT if kind.startswith("float") else Kind.UINT if kind.startswith("u") else Kind.INT


def scan_of(fields: list[Field], data: bytes, *, gap: int = 0) -> Any:
    """Fields behind one another, `gap` unused registers between."""
    spans, address = [], 100
    for i, f in enumerate(fields):
        spans.append(Span(i, "holding", address, f.registers, 1000))
        address += f.registers + gap
    blocks = plan(spans, max_registers=125, max_gap=gap)
    scan = Scan(blocks, dict(enumerate(fields)), [Output(7 + i, f.kind, (i,)) for i, f in enumerate(fields)])
    cut = [data[2 * (b.address - 100) : 2 * (b.address - 100 + b.count)] for b in blocks]
    return scan.rows([Reply(part, 1000 + i) for i, part in enumerate(cut)])


@given(registers(), st.integers(0, 3))
def test_all_types_and_orders_decode_exactly(rows: list[tuple[str, str, Any]], gap: int) -> None:
    fields = [Field(kind, native(kind), order) for kind, order, _ in rows]  # type: ignore[arg-type]
    filler = b"\xff\xff" * gap
    data = b"".join(wire(struct.pack(FORMATS[kind], value), order) + filler for kind, order, value in rows)
    samples = scan_of(fields, data, gap=gap)
    assert samples.tag.tolist() == [7 + i for i in range(len(rows))]
    assert [samples.value_at(i) for i in range(len(rows))] == [value for _, _, value in rows]
    assert not samples.quality.any()


@given(
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.sampled_from(["0.1", "0.01", "0.001", "0.5", "0.25", "2", "10", "1000", "0.0625", "1e-6"]),
    st.sampled_from(["0", "-40", "0.5", "-273.15", "1000"]),
    st.sampled_from(ORDERS),
)
def test_scaled_integers_are_the_nearest_to_the_decimal(raw: int, scale: str, offset: str, order: str) -> None:
    field = Field("int32", Kind.FLOAT, order, scale=float(scale), offset=float(offset))  # type: ignore[arg-type]
    samples = scan_of([field], wire(struct.pack(">i", raw), order))
    assert samples.value_at(0) == float(Decimal(raw) * Decimal(scale) + Decimal(offset))


def test_a_tenth_equals_its_literal() -> None:
    field = Field("uint16", Kind.FLOAT, scale=0.1)
    assert scan_of([field], struct.pack(">H", 123)).value_at(0) == 12.3
    assert decimal_grid(0.1, 0.0) == (1.0, 0.0, 1)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from([0.001, 2.0, 100.0]))
def test_scaled_floats_are_scaled(raw: float, scale: float) -> None:
    samples = scan_of([Field("float32", Kind.FLOAT, scale=scale)], struct.pack(">f", raw))
    assert math.isclose(samples.value_at(0), raw * scale, rel_tol=1e-15)


@given(st.integers(0, 0xFFFF), st.integers(0, 15), st.sampled_from(ORDERS))
def test_a_bit_of_a_register(word: int, bit: int, order: str) -> None:
    field = Field("bool", Kind.BOOL, order, bit=bit)  # type: ignore[arg-type]
    assert scan_of([field], wire(struct.pack(">H", word), order)).value_at(0) is bool(word >> bit & 1)


def test_a_bool_register_is_true_unless_zero() -> None:
    samples = scan_of([Field("bool", Kind.BOOL), Field("bool", Kind.BOOL)], struct.pack(">HH", 0, 0x0100))
    assert [samples.value_at(0), samples.value_at(1)] == [False, True]


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_coils(bits: list[bool]) -> None:
    spans = [Span(i, "coil", 5 + i, 1, 1000) for i in range(len(bits))]
    field = Field("bool", Kind.BOOL)
    scan = Scan(
        plan(spans), dict.fromkeys(range(len(bits)), field), [Output(i, Kind.BOOL, (i,)) for i in range(len(bits))]
    )
    packed = bytearray((len(bits) + 7) // 8)
    for i, on in enumerate(bits):
        packed[i // 8] |= on << (i % 8)
    samples = scan.rows([Reply(bytes(packed), 1)])
    assert [samples.value_at(i) for i in range(len(bits))] == bits


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=0x9FFF, codec="utf-8"), max_size=10), st.sampled_from(ORDERS)
)
def test_strings(text: str, order: str) -> None:
    data = text.encode().ljust(32, b"\0")[:32]
    if order in ("BADC", "DCBA"):
        data = b"".join(data[i : i + 2][::-1] for i in range(0, 32, 2))
    samples = scan_of([Field("string", Kind.STRING, order, length=16)], data)  # type: ignore[arg-type]
    assert samples.value_at(0) == text.strip()


def test_nan_is_passed_on() -> None:
    assert math.isnan(scan_of([Field("float32", Kind.FLOAT)], struct.pack(">f", math.nan)).value_at(0))


def test_enum_and_counter_are_integers() -> None:
    fields = [Field("uint16", Kind.ENUM), Field("uint32", Kind.UINT), Field("int16", Kind.INT)]
    samples = scan_of(fields, struct.pack(">HIh", 3, 4_000_000_000, -5))
    assert [samples.value_at(i) for i in range(3)] == [3, 4_000_000_000, -5]


def test_a_failed_block_spoils_its_own_tags_only() -> None:
    spans = [Span(0, "holding", 0, 1, 1000), Span(1, "holding", 500, 1, 1000), Span(2, "input", 0, 1, 1000)]
    scan = Scan(
        plan(spans), dict.fromkeys(range(3), Field("uint16", Kind.INT)), [Output(i, Kind.INT, (i,)) for i in range(3)]
    )
    exception = quality(Quality.BAD, Reason.MODBUS_EXCEPTION + 2, has_value=False)
    samples = scan.rows([Reply(b"\0\x07", 10), Reply(b"", 11, exception), Reply(b"\0", 12)])
    assert [samples.value_at(i) for i in range(3)] == [7, None, None]
    undecodable = quality(Quality.BAD, Reason.UNDECODABLE, has_value=False)
    assert samples.quality.tolist() == [0, exception, undecodable]
    assert samples.time.tolist() == [10, 11, 12]


@pytest.mark.parametrize(
    ("kind", "raw", "power", "expected"),
    [
        ("int16", 1234, -1, 123.4),
        ("int16", 1234, 2, 123400.0),
        ("int16", -0x8000, -1, None),
        ("int16", 1234, -0x8000, None),
        ("uint32", 0xFFFFFFFF, 0, None),
        ("uint32", 7, 0, 7.0),
    ],
)
def test_scale_factors_and_not_available(kind: str, raw: int, power: int, expected: float | None) -> None:
    na = {"int16": 0x8000, "uint32": 0xFFFFFFFF}[kind]
    fields = {0: Field(kind, Kind.FLOAT, unavailable=na, factor=1), 1: Field("int16", Kind.INT)}  # type: ignore[arg-type]
    spans = [Span(0, "holding", 0, fields[0].registers, 1000), Span(1, "holding", 10, 1, 1000)]
    scan = Scan(plan(spans, max_gap=0), fields, [Output(0, Kind.FLOAT, (0,))])
    samples = scan.rows([Reply(struct.pack(FORMATS[kind], raw), 1), Reply(struct.pack(">h", power), 1)])
    assert samples.value_at(0) == expected
    if expected is None:
        assert samples.quality[0] == quality(Quality.BAD, Reason.NOT_AVAILABLE, has_value=False)


def test_several_modules_make_one_value() -> None:
    fields = dict.fromkeys(range(3), Field("uint16", Kind.FLOAT, unavailable=0xFFFF, scale=0.1))
    spans = [Span(i, "holding", 20 * i, 1, 1000) for i in range(3)]
    outputs = [Output(0, Kind.FLOAT, (0, 1, 2), "min"), Output(1, Kind.FLOAT, (0, 1, 2), "mean")]
    scan = Scan(plan(spans), fields, outputs)
    samples = scan.rows([Reply(struct.pack(">H", x), 1) for x in (300, 100, 0xFFFF)])
    assert [samples.value_at(0), samples.value_at(1)] == [10.0, 20.0]


def test_rows_come_in_order_of_tag_number() -> None:
    spans = [Span(0, "holding", 50, 1, 1000), Span(1, "holding", 10, 1, 1000)]
    scan = Scan(
        plan(spans), dict.fromkeys(range(2), Field("uint16", Kind.INT)), [Output(i, Kind.INT, (i,)) for i in range(2)]
    )
    samples = scan.rows([Reply(b"\0\1", 1), Reply(b"\0\2", 1)])
    assert np.array_equal(samples.tag, [0, 1])
    assert [samples.value_at(0), samples.value_at(1)] == [2, 1]
