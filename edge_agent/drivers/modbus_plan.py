"""Which registers to read together. Pure: knows nothing of sockets, values or time.

A request costs about the same whatever it carries, so neighbours are read together, across gaps of up to `max_gap`
unused registers. Invariants:
- every span lies whole inside exactly one block: a 32- or 64-bit value read in two requests could be two halves of
  different values;
- a block has one table and one period, and no more than the table's limit;
- blocks come in order of address, and overlap only where spans do.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from telemetry.points import RegisterType, Table

MAX_BITS = 2000  # Modbus Application Protocol V1.1b3, 6.1 and 6.2
BIT_TABLES: tuple[Table, ...] = ("coil", "discrete")
WIDTHS: dict[RegisterType, int] = {
    "bool": 1,
    "int16": 1,
    "uint16": 1,
    "int32": 2,
    "uint32": 2,
    "float32": 2,
    "int64": 4,
    "uint64": 4,
    "float64": 4,
}
"""Registers by type; a string has its own length."""


class PlanError(ValueError):
    """A span cannot be read in one request."""


@dataclass(frozen=True, slots=True)
class Span:
    """Registers (or bits) that belong together: `count` of them from `address`, wanted every `period_ms`. `key` is the
    caller's: what the span is for."""

    key: int
    table: Table
    address: int
    count: int
    period_ms: int


@dataclass(frozen=True, slots=True)
class Block:
    """One request, and which span lies where in its answer: (key, offset in registers or bits)."""

    table: Table
    address: int
    count: int
    period_ms: int
    places: tuple[tuple[int, int], ...]


def plan(spans: Iterable[Span], *, max_registers: int = 120, max_gap: int = 8) -> tuple[Block, ...]:
    """Blocks in order of period, table, address. Raises PlanError for a span longer than a request may be."""

    def lane(span: Span) -> tuple[int, Table]:
        return span.period_ms, span.table

    blocks: list[Block] = []
    ordered = sorted(spans, key=lambda s: (*lane(s), s.address, s.count, s.key))
    for (_, table), group in groupby(ordered, key=lane):
        bits = table in BIT_TABLES
        # A bit costs a sixteenth of a register, so the gap worth bridging is sixteen times as long.
        blocks += _merge(list(group), MAX_BITS if bits else max_registers, max_gap * 16 if bits else max_gap)
    return tuple(blocks)


def _merge(spans: list[Span], limit: int, max_gap: int) -> Iterable[Block]:
    members: list[Span] = []
    start = end = 0
    for span in spans:
        if span.count > limit or span.address + span.count > 65536:
            raise PlanError(f"{span.table} {span.address}: {span.count} in one request is more than allowed ({limit})")
        stop = span.address + span.count
        if members and (span.address - end > max_gap or max(end, stop) - start > limit):
            yield _block(members, start, end)
            members = []
        if not members:
            start = end = span.address
        members.append(span)
        end = max(end, stop)
    if members:
        yield _block(members, start, end)


def _block(members: list[Span], start: int, end: int) -> Block:
    first = members[0]
    places = tuple((span.key, span.address - start) for span in members)
    return Block(table=first.table, address=start, count=end - start, period_ms=first.period_ms, places=places)


def split(block: Block, spans: Iterable[Span]) -> tuple[Block, ...]:
    """The block's spans read without bridging any gap: for devices that refuse a request which touches a register they
    do not have. The block itself where there is nothing to split."""
    wanted = {key for key, _ in block.places}
    return plan((s for s in spans if s.key in wanted), max_registers=max(block.count, 1), max_gap=0)
