"""The verifier's own evaluation of a rule, and where it puts limits."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.judging.limits import across, far, hops, moved_rule, swing, within
from verifier.judging.rules_eval import Rule, counted, evaluate, read_rule

NAN = float("nan")


def run(
    rule: Rule, values: list[float], *, more: tuple[int, ...] = (), **options: Any
) -> list[tuple[str, str, int, int]]:
    """What happens, a row a second from 0: (what, level, trigger, t_sample)."""
    rows = [(1000 * i, v, 0) for i, v in enumerate(values)]
    times = sorted({r[0] for r in rows} | set(more))
    return [(h.what, h.level, h.trigger[0], h.t_sample) for h in evaluate(rule, rows, times, **options)]


HIGH = Rule("x", {"high": 10.0}, hysteresis=2.0)


def test_on_the_limit_is_not_beyond_it_and_the_hysteresis_keeps_an_alarm() -> None:
    assert run(HIGH, [10.0, 10.1, 9.0, 10.5, 8.0, 11.0]) == [
        ("raised", "high", 1000, 1000),
        ("cleared", "high", 4000, 4000),
        ("raised", "high", 5000, 5000),
    ]
    without = run(HIGH, [10.0, 10.1, 9.0, 10.5, 8.0, 11.0], hysteresis=False)
    assert [w for w, *_ in without].count("raised") == 3


def test_a_condition_must_hold_for_its_delay_on_every_row() -> None:
    rule = Rule("x", {"low": 5.0}, delay_ms=2000)
    assert run(rule, [9, 4, 4, 6, 4, 4, 4, 4]) == [("raised", "low", 4000, 6000)]
    assert run(rule, [4, 4], more=(2300,)) == [("raised", "low", 0, 2300)]  # completed by a row of another tag
    assert run(rule, [4, 4]) == []


def test_a_second_level_escalates_once() -> None:
    rule = Rule("x", {"high": 10.0, "high_high": 20.0}, hysteresis=1.0)
    assert [w for w, *_ in run(rule, [15, 25, 15, 25, 9, 25])] == ["raised", "escalated", "cleared", "raised"]
    assert run(rule, [25])[0][1] == "high_high"


def test_magnitudes() -> None:
    assert run(Rule("x", {"high": 10.0}, absolute=True), [-11.0, 3.0]) == [
        ("raised", "high", 0, 0),
        ("cleared", "high", 1000, 1000),
    ]


def test_a_rule_in_force_from_some_time_on_sees_only_later_rows() -> None:
    assert run(HIGH, [11, 11, 11], since=1500) == [("raised", "high", 2000, 2000)]


def test_only_rows_with_a_value_that_is_not_bad_count() -> None:
    rows = [
        [0, 1.0, 0],
        [1, None, 0x2000],
        [2, 2.0, 0x8000],
        [3, 3.0, 0x4000],
        [4, "x", 0],
        [5, True, 0],
        [6, 1e400, 0],
    ]
    assert [(t, v) for t, v, _ in counted(rows)] == [(0, 1.0), (3, 3.0), (5, 1.0)]


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        {"tag": "x", "kind": "state", "states": [1]},
        {"tag": "x", "low": 1.0, "divisor": "y"},
        {"tag": "x", "high": "1"},
        {"tag": "x", "high": 1.0, "delay_s": -1},
        {"tag": "x", "high": True},
    ],
)
def test_what_is_no_plain_limit_rule_is_not_evaluated(raw: Any) -> None:
    assert read_rule(raw) is None


values = st.lists(st.integers(0, 30).map(float), min_size=1, max_size=40)


@given(values, st.integers(0, 4), st.integers(0, 5), st.booleans())
def test_as_the_rule_says_at_every_row(some: list[float], delay: int, hysteresis: int, two: bool) -> None:
    """Against the rule's words taken one by one: an alarm opens only after a run of rows beyond the limit, and never twice
    without an end in between."""
    limits = {"high": 12.0, **({"high_high": 20.0} if two else {})}
    rule = Rule("x", limits, delay_ms=1000 * delay, hysteresis=float(hysteresis))
    found = run(rule, some)
    opened = [h for h in found if h[0] in ("raised", "cleared")]
    assert all(a[0] != b[0] for a, b in pairwise(opened))
    for what, level, trigger, done in found:
        held = some[trigger // 1000 : done // 1000 + 1]
        if what == "cleared":
            assert some[trigger // 1000] <= 12.0 - hysteresis
        else:
            assert all(v > limits[level] for v in held) and done - trigger == 1000 * delay
    run_length = best = 0
    for v in some:
        run_length = run_length + 1 if v > 12.0 else 0
        best = max(best, run_length)
    assert any(h[0] == "raised" for h in found) == (best > delay)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=90), st.sampled_from(["high", "low"]))
def test_where_limits_are_put(some: list[float], side: str) -> None:
    """A far limit is met by nothing seen, one across by everything, one within by the newest values for the most part, and
    no hop among them ends an alarm."""
    points = [(1000 * i, v, 0) for i, v in enumerate(some)]
    seen = swing(points, 0.01)
    assert seen is not None
    beyond = Rule("x", {side: far(seen, side, None)})
    crossed = Rule("x", {side: across(seen, side)})
    limit, hysteresis = within(seen, points, side)
    inside = Rule("x", {side: limit}, hysteresis=hysteresis)
    assert not any(beyond.holds(side, v) for v in some)
    assert all(crossed.holds(side, v) for v in some)
    latest = some[-12:]
    assert sum(inside.holds(side, v) for v in latest) >= 0.5 * len(latest)
    assert not any(inside.ends(side, v) for v in some)


def test_hops_are_the_raises_that_hysteresis_prevents() -> None:
    saw = [(1000 * i, float(i % 3), 0) for i in range(30)]
    assert hops(saw, "high") >= 3
    assert hops([(1000 * i, float(i), 0) for i in range(30)], "high") <= 1


def test_a_rules_own_order_of_limits_is_kept() -> None:
    seen = swing([(0, 50.0, 0), (1, 51.0, 0)], 0.1)
    assert seen is not None
    made = moved_rule({"high": 100.0, "high_high": 110.0, "low": None}, seen)
    assert made is not None and made[0] == "high" and made[1]["high"] < 50 and made[1]["high_high"] == 110.0
    assert moved_rule({"low": 40.0, "low_low": 30.0, "high": 50.5}, seen) is None  # no room, and high is met already
    assert moved_rule({"high": 52.0, "low": 49.5}, seen) is None
    made = moved_rule({"high": 5.0, "absolute": True}, swing([(0, -1.0, 0), (1, 2.0, 0)], 0.1) or seen)
    assert made is not None and made[1]["high"] < 0
