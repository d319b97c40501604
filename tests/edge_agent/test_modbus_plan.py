from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.modbus_plan import BIT_TABLES, MAX_BITS, PlanError, Span, plan, split
from telemetry.points import Table

TABLES: list[Table] = ["holding", "input", "coil", "discrete"]
tables = st.sampled_from(TABLES)


@st.composite
def span_lists(draw: st.DrawFn) -> list[Span]:
    rows = draw(
        st.lists(
            st.tuples(tables, st.integers(0, 400), st.sampled_from([1, 2, 4]), st.sampled_from([200, 1000])),
            max_size=60,
        )
    )
    return [Span(i, table, address, count, period) for i, (table, address, count, period) in enumerate(rows)]


@given(span_lists(), st.integers(4, 125), st.integers(0, 20))
def test_every_span_lies_whole_in_exactly_one_block(spans: list[Span], limit: int, gap: int) -> None:
    blocks = plan(spans, max_registers=limit, max_gap=gap)
    placed = [(key, block, offset) for block in blocks for key, offset in block.places]
    assert sorted(key for key, _, _ in placed) == [s.key for s in spans]
    for key, block, offset in placed:
        span = spans[key]
        assert (block.table, block.period_ms) == (span.table, span.period_ms)
        assert block.address + offset == span.address
        assert offset + span.count <= block.count
    for block in blocks:
        assert block.count <= (MAX_BITS if block.table in BIT_TABLES else limit)


@given(span_lists(), st.integers(4, 125), st.integers(0, 20))
def test_gaps_inside_a_block_are_no_longer_than_allowed(spans: list[Span], limit: int, gap: int) -> None:
    for block in plan(spans, max_registers=limit, max_gap=gap):
        used = sorted((spans[key].address, spans[key].address + spans[key].count) for key, _ in block.places)
        end = used[0][0]
        for start, stop in used:
            assert start - end <= (gap * 16 if block.table in BIT_TABLES else gap)
            end = max(end, stop)
        assert (used[0][0], end) == (block.address, block.address + block.count)


def test_neighbours_are_read_together_and_a_wide_gap_is_not_bridged() -> None:
    spans = [Span(0, "holding", 0, 2, 1000), Span(1, "holding", 10, 2, 1000), Span(2, "holding", 30, 1, 1000)]
    assert [(b.address, b.count) for b in plan(spans, max_gap=8)] == [(0, 12), (30, 1)]


def test_periods_and_tables_are_never_mixed() -> None:
    spans = [Span(0, "holding", 0, 1, 1000), Span(1, "holding", 1, 1, 200), Span(2, "input", 0, 1, 1000)]
    assert len(plan(spans)) == 3


def test_a_span_longer_than_a_request_is_an_error() -> None:
    for bad in (Span(0, "holding", 0, 5, 1000), Span(0, "holding", 65534, 4, 1000)):
        try:
            plan([bad], max_registers=4)
        except PlanError:
            continue
        raise AssertionError("no PlanError")


def test_a_refused_block_is_split_at_its_gaps() -> None:
    spans = [Span(0, "holding", 0, 2, 1000), Span(1, "holding", 2, 1, 1000), Span(2, "holding", 8, 1, 1000)]
    (block,) = plan(spans)
    assert [(b.address, b.count) for b in split(block, spans)] == [(0, 3), (8, 1)]
