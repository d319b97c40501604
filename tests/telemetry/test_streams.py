"""Numbered, chained items: any order of arrival, duplicates, forks."""

from hypothesis import given
from hypothesis import strategies as st

from telemetry.streams import FIRST_PREVIOUS, Place, Progress, add, place

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def where(**known: object) -> Place:
    given_: dict[str, object] = {
        "held": None,
        "before": None,
        "after_previous": None,
        "sequence": 5,
        "hash": B,
        "previous": A,
    }
    return place(**(given_ | known))  # type: ignore[arg-type]


def test_places() -> None:
    assert where() is Place.NEW
    assert where(before=A) is Place.NEW
    assert where(held=B) is Place.DUPLICATE
    assert where(held=C) is Place.FORK
    assert where(before=C) is Place.FORK
    assert where(after_previous=C) is Place.FORK
    assert where(after_previous=B) is Place.NEW
    assert where(sequence=0, previous=FIRST_PREVIOUS) is Place.NEW
    assert where(sequence=0, previous=A) is Place.FORK


def test_after_a_fork_only_what_joins_is_taken() -> None:
    assert where(forked=True) is Place.DETACHED
    assert where(forked=True, before=A) is Place.NEW
    assert where(forked=True, before=C) is Place.FORK


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), max_size=30))
def test_progress_is_the_set_of_what_came(ranges: list[tuple[int, int]]) -> None:
    progress, held = Progress(), set[int]()
    for low, length in ranges:
        progress = add(progress, low, low + length)
        held |= set(range(low, low + length + 1))
        contiguous = next(i for i in range(100) if i not in held) - 1
        assert progress.contiguous == contiguous
        assert progress.highest == max(held)
        missing = {i for a, b in progress.missing() for i in range(a, b + 1)}
        assert missing == set(range(contiguous + 1, max(held))) - held
