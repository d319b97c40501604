"""The frame around the criteria: needs, exit codes, clocks, evidence."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier import clocks, needs
from verifier.clocks import Offset, estimate, own_offset
from verifier.evidence import EvidenceError, canonical, load, make, save
from verifier.findings import Finding, Outcome, criterion_states, exit_code
from verifier.states import State

NEEDS: needs.Needs = {"b": ("a",), "a": (), "c": ("b",), "d": ()}


def outcomes(**states: State) -> dict[str, Outcome]:
    return {s: Outcome(states.get(s, State.PASS), "why") for s in NEEDS}


def test_what_rests_on_a_failure_is_blocked_by_its_first_cause() -> None:
    settled = needs.apply(outcomes(a=State.FAIL, c=State.FAIL), NEEDS)
    assert {s: (o.state, by) for s, (o, by) in settled.items()} == {
        "a": (State.FAIL, None),
        "b": (State.NOT_CHECKED, "a"),
        "c": (State.NOT_CHECKED, "a"),
        "d": (State.PASS, None),
    }


@pytest.mark.parametrize("state", list(State))
def test_only_what_failed_or_could_not_be_tried_blocks(state: State) -> None:
    blocks = state in (State.FAIL, State.ERROR, State.NOT_CHECKED)
    settled = needs.apply(outcomes(a=state), NEEDS)
    assert [settled[x][0].state for x in "bc"] == [State.NOT_CHECKED if blocks else State.PASS] * 2


@pytest.mark.parametrize("state", [State.ERROR, State.NOT_APPLICABLE])
def test_an_error_and_what_does_not_apply_stay(state: State) -> None:
    assert needs.apply(outcomes(a=State.FAIL, b=state), NEEDS)["b"][0].state is state


@pytest.mark.parametrize("bad", [{"a": ("b",), "b": ("a",)}, {"a": ("nothing",)}])
def test_needs_in_a_circle_or_of_nothing_are_refused(bad: needs.Needs) -> None:
    with pytest.raises(needs.NeedsError):
        needs.order(bad)


def finding(state: State, need: str = "must", group: str | None = None) -> Finding:
    return Finding(statement="s", criterion="c", machine="m", need=need, group=group, state=state)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], 0),
        ([finding(State.PASS), finding(State.NOT_APPLICABLE)], 0),
        ([finding(State.PASS), finding(State.REVIEW)], 101),
        ([finding(State.NOT_CHECKED)], 101),
        ([finding(State.REVIEW), finding(State.FAIL)], 100),
        ([finding(State.ERROR)], 100),
        ([finding(State.FAIL, "should"), finding(State.PASS)], 0),
        ([finding(State.PASS, "any_of_group", "ops"), finding(State.NOT_CHECKED, "any_of_group", "ops")], 0),
        ([finding(State.NOT_CHECKED, "any_of_group", "ops")], 101),
        ([finding(State.PASS, "any_of_group", "ops"), finding(State.FAIL, "any_of_group", "ops")], 100),
    ],
)
def test_exit_code(found: list[Finding], code: int) -> None:
    assert exit_code(found) == code


def test_a_criterion_takes_its_worst_machine_and_shows_its_best() -> None:
    good, bad = finding(State.PASS), finding(State.FAIL).model_copy(update={"machine": "other"})
    assert criterion_states([good, bad]) == (State.FAIL, State.PASS)
    assert criterion_states([]) == (State.NOT_APPLICABLE, State.NOT_APPLICABLE)


@given(
    offset=st.integers(-(10**7), 10**7),
    waits=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=6),
)
def test_the_true_offset_lies_within_the_uncertainty(offset: int, waits: list[tuple[int, int]]) -> None:
    exchanges = [
        (t, t + out + offset, t + out + back) for t, (out, back) in zip(range(0, 10**6, 1000), waits, strict=False)
    ]
    found = estimate(exchanges)
    assert found is not None
    assert abs(found.ms - offset) <= found.uncertainty


def test_a_clock_that_steps_has_the_step_as_uncertainty() -> None:
    found = estimate([(0, 5, 10), (100, 10_105, 110)])
    assert found is not None and found.uncertainty >= 10_000


def test_no_exchange_is_no_offset() -> None:
    assert estimate([]) is None


def test_the_own_clock_is_the_odd_one_where_all_others_agree() -> None:
    hour = Offset(3_600_000, 20)
    assert own_offset([hour, Offset(3_600_100, 20)], 5000) == Offset(-3_600_050, 20)
    assert own_offset([hour, Offset(0, 20), Offset(10, 20)], 5000) is None
    assert own_offset([hour], 5000) is None
    assert clocks.Offset(-7000, 1000).least == 6000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(), x, max_size=4),
    max_leaves=20,
)


@given(data=JSON)
def test_canonical_json_is_canonical(data: Any) -> None:
    assert canonical(json.loads(canonical(data))) == canonical(data)


def test_evidence_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    made = make("c", {"a": {"x": (1 << 64) - 1, "文": [1.5, None]}, "b": []})
    save(made, tmp_path)
    save(make("other", {"a": 1}), tmp_path)
    assert load(tmp_path, "c") == made
    assert made.hashes("b", "a", "nothing", "b") == (made.observations["b"].sha256, made.observations["a"].sha256)


@pytest.mark.parametrize("how", ["missing", "changed", "name", "index"])
def test_damaged_evidence_is_refused(tmp_path: Path, how: str) -> None:
    save(make("c", {"a": {"x": 1}}), tmp_path)
    folder = tmp_path / "evidence"
    (file,) = [p for p in folder.iterdir() if p.name != "index.json"]
    match how:
        case "missing":
            file.unlink()
        case "changed":
            file.write_bytes(b'{"x":2}')
        case "name":
            (folder / "index.json").write_text('{"c":{"a":"../../etc/passwd"}}')
        case _:
            (folder / "index.json").write_text("[]")
    with pytest.raises(EvidenceError):
        load(tmp_path, "c")
