"""Evaluation against a simple reference, in whatever portions the rows come, and what the meaning says case by case."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.alarms import memory
from cloud.alarms.evaluate import DeviceRows, Event, adopt, step
from cloud.alarms.memory import DeviceMemory, Lane
from cloud.alarms.plans import plan
from cloud.alarms.rules import Rule, RuleBody
from tests.cloud.alarms.reference import Reference, Seen

TAGS = ("p", "n", "state")


def rule(**fields: Any) -> Rule:
    body = RuleBody.model_validate({"device": "m", "tag": "p", "zh": "压力", **fields})
    return Rule(**body.model_dump(), id="r", version=1, source="user", changed_ms=0, changed_by="me")


def portion(rows: list[Seen]) -> DeviceRows:
    rows = sorted(rows, key=lambda row: (row.tag, row.t))
    spans: dict[str, tuple[int, int]] = {}
    for tag, group in itertools.groupby(enumerate(rows), key=lambda pair: pair[1].tag):
        places = [i for i, _ in group]
        spans[tag] = (places[0], places[-1] + 1)
    t = np.array([row.t for row in rows], dtype=np.int64)
    v = np.array([row.v for row in rows], dtype=np.float64)
    return DeviceRows(t, v, np.zeros(len(rows), dtype=np.uint16), spans)


def evaluated(one: Rule, portions: list[list[Seen]], *, restart: bool = False) -> list[Event]:
    ready = plan([one], frozenset(TAGS))
    lane, events = Lane(), []
    ids = (f"a{i}" for i in itertools.count())
    for rows in portions:
        events += step(lane, ready, portion(rows), lambda: next(ids))
        if restart:
            lane = memory.decode(memory.encode(DeviceMemory(live=lane))).live
    return events


def told(events: list[Event]) -> list[tuple[str, str, int, int]]:
    return [(e.what, e.level, e.at_ms if e.what == "cleared" else e.trigger.t, e.t_sample) for e in events]


VALUES = st.sampled_from([-30.0, -12.0, -10.0, -9.5, 0.0, 1.0, 9.0, 9.5, 10.0, 10.5, 12.0, 20.0, 20.5, 21.0])
RULES = st.builds(
    lambda limits, **fields: rule(**limits, **fields),
    st.sampled_from(
        [
            {"high": 10.0},
            {"high": 10.0, "high_high": 20.0},
            {"low": -9.5, "low_low": -10.0},
            {"high": 10.0, "high_high": 20.0, "low": 0.0, "low_low": -10.0},
            {"high": 10.0, "high_high": 20.0, "absolute": True},
            {"high": 10.0, "low": 1.5, "absolute": True},
            {"low": 0.5, "divisor": "n"},
            {"high_high": 20.0},
            {"kind": "state", "states": [0, 12]},
            {"kind": "rate", "rate_per_s": 5.0},
        ]
    ),
    delay_s=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    hysteresis=st.sampled_from([0.0, 0.5, 2.0]),
    inhibit=st.sampled_from([None, None, "state<=1", "state==0 or n>10"]),
    inhibit_s=st.sampled_from([0.0, 1.0]),
)
MOMENTS = st.lists(
    st.tuples(
        st.integers(1, 1500),
        st.dictionaries(st.sampled_from(TAGS), VALUES, min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(RULES, MOMENTS, st.data())
def test_same_as_the_reference_in_any_portions(one: Rule, moments: list[Any], data: st.DataObject) -> None:
    times = list(itertools.accumulate(step for step, _ in moments))
    all_rows = [[Seen(tag, t, v) for tag, v in values.items()] for t, (_, values) in zip(times, moments, strict=True)]
    reference = Reference(one)
    for rows in all_rows:
        reference.moment(rows)
    at_once = told(evaluated(one, [[row for rows in all_rows for row in rows]]))
    cuts = data.draw(st.lists(st.booleans(), min_size=len(all_rows), max_size=len(all_rows)))
    split: list[list[Seen]] = [[]]
    for rows, cut in zip(all_rows, cuts, strict=True):
        split[-1] += rows
        if cut:
            split.append([])
    in_parts = told(evaluated(one, [part for part in split if part], restart=True))
    assert in_parts == at_once
    assert at_once == reference.happened


def series(*values: float, every_ms: int = 1000, tag: str = "p", first: int = 0) -> list[Seen]:
    return [Seen(tag, first + i * every_ms, v) for i, v in enumerate(values)]


def test_raised_at_once_cleared_behind_the_hysteresis() -> None:
    events = evaluated(rule(high=10, hysteresis=1), [series(9, 10, 10.1, 10.5, 9.5, 10.5, 9.0, 11)])
    assert told(events) == [
        ("raised", "high", 2000, 2000),
        ("cleared", "high", 6000, 6000),
        ("raised", "high", 7000, 7000),
    ]
    assert events[0].limit == 10 and events[0].trigger.v == 10.1 and events[0].raised_ms == 2000
    assert events[0].alarm == events[1].alarm != events[2].alarm


def test_delay_is_completed_by_a_row_of_any_tag() -> None:
    one = rule(high=10, delay_s=3)
    events = evaluated(one, [series(11), series(1, 1, 1, tag="n", first=1500, every_ms=800)])
    assert told(events) == [("raised", "high", 0, 3100)]
    assert events[0].raised_ms == 3000 and events[0].holding_ms == 0
    assert told(evaluated(one, [series(11, 11, 9, 11, 11, 11)])) == []
    assert told(evaluated(one, [series(11), series(9, first=5000)])) == []


def test_escalation_is_the_same_alarm() -> None:
    events = evaluated(rule(high=10, high_high=20, hysteresis=1), [series(11, 21, 15, 21, 9)])
    assert [e.what for e in events] == ["raised", "escalated", "cleared"]
    assert len({e.alarm for e in events}) == 1
    assert events[1].limit == 20
    assert told(evaluated(rule(high=10, high_high=20), [series(21)])) == [("raised", "high_high", 0, 0)]


def test_inhibited_until_its_time_is_over() -> None:
    one = rule(kind="state", states=[0], delay_s=1, inhibit="state<=1", inhibit_s=5)
    rows = [*series(0, 0, 0, 0), *series(0, tag="state"), *series(2, tag="state", first=3500)]
    rows += series(*range(10), tag="n", first=4000)
    events = evaluated(one, [rows])
    assert told(events) == [("raised", "state", 3000, 10_000)]
    assert events[0].holding_ms == 8500 and events[0].raised_ms == 9500
    assert told(evaluated(one, [series(0, 0, 0, 0)])) == []  # the state has not been seen: nobody can tell


def test_a_changed_rule_holds_from_the_next_row() -> None:
    before, lane = rule(high=10, delay_s=10), Lane()
    ready = plan([before], frozenset(TAGS))
    assert step(lane, ready, portion(series(11)), lambda: "a") == []
    after = before.model_copy(update={"version": 2, "high": 5.0, "delay_s": 0.0})
    ready = plan([after], frozenset(TAGS))
    assert adopt(lane, ready) == []
    assert told(step(lane, ready, portion(series(6, first=1000)), lambda: "a")) == [("raised", "high", 1000, 1000)]
    higher = after.model_copy(update={"version": 3, "high": 20.0})
    ready = plan([higher], frozenset(TAGS))
    assert adopt(lane, ready) == []
    assert told(step(lane, ready, portion(series(6, first=2000)), lambda: "b")) == [("cleared", "high", 2000, 2000)]
    gone = higher.model_copy(update={"version": 4, "retired_ms": 1})
    step(lane, ready, portion(series(30, first=3000)), lambda: "c")
    assert [(e.what, e.alarm) for e in adopt(lane, plan([gone], frozenset(TAGS)))] == [("retired", "c")]


@pytest.mark.parametrize(
    "fields",
    [
        {"high": 1.0, "type": "boiler"},
        {"kind": "limit"},
        {"kind": "state"},
        {"kind": "rate"},
        {"kind": "stale"},
        {"kind": "stale", "stale_s": 5, "tag": "p"},
        {"high": 2.0, "high_high": 1.0},
        {"high": 1.0, "low": 2.0},
        {"high": float("nan")},
        {"high": 1.0, "inhibit": "__import__('os')"},
    ],
)
def test_rules_that_mean_nothing_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        rule(**fields)
