"""Whole frames of several machines: the short cut over an edge's extremes loses nothing."""

import itertools
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.alarms.evaluate import Event, step
from cloud.alarms.memory import DeviceMemory, Lane
from cloud.alarms.plans import plan
from cloud.alarms.portions import EdgeView
from cloud.alarms.rules import Rule, RuleBody
from telemetry import samples
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.samples import Kind

TAGS = (TagSpec("p"), TagSpec("n"), TagSpec("unused"), TagSpec("text", Kind.STRING))
WORDS = Dictionary("E", "e", tuple(DeviceSpec(uid, "boiler", tags=TAGS) for uid in ("m1", "m2")))
NOW = 1_700_000_000_000


def rule(number: int, **fields: Any) -> Rule:
    body = RuleBody.model_validate({"type": "boiler", "tag": "p", "zh": "x", **fields})
    return Rule(**body.model_dump(), id=f"r{number}", version=1, source="user", changed_ms=0, changed_by="me")


RULES = [
    rule(i, **fields)
    for i, fields in enumerate(
        [
            {"high": 10.0, "hysteresis": 1},
            {"high": 10.0, "high_high": 20.0, "low": -10.0, "delay_s": 2},
            {"high": 10.0, "absolute": True},
            {"low": 1.0, "absolute": True, "delay_s": 1},
            {"low": 0.5, "divisor": "n"},
            {"kind": "rate", "rate_per_s": 4.0},
            {"kind": "state", "states": [0, 11]},
            {"high": 5.0, "inhibit": "n>10", "inhibit_s": 1},
        ]
    )
]
VALUES = [-21.0, -11.0, -10.0, -0.5, 0.0, 0.5, 5.5, 9.0, 10.0, 10.5, 11.0, 21.0, float("nan"), float("inf")]
ROWS = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.integers(0, 3000),
        st.sampled_from(VALUES),
        st.sampled_from([0, 0, 0, 0x4000, 0x8000, 0x8002, 0xA001]),
    ),
    min_size=0,
    max_size=12,
)
FRAMES = st.lists(st.tuples(st.integers(-1, 4), ROWS), min_size=1, max_size=12)


def frame(at: int, rows: list[tuple[int, int, float, int]]) -> samples.Samples:
    made = [
        (tag, at + t, ("x" if tag % 4 == 3 else v) if not q & 0x2000 else None, q, WORDS.tags[tag][1].kind)
        for tag, t, v, q in rows
    ]
    return samples.from_rows(made)


def run(frames: list[tuple[int, list[Any]]], *, short_cut: bool) -> list[tuple[Any, ...]]:
    plans = {spec.uid: plan(RULES, frozenset(tag.id for tag in spec.tags)) for spec in WORDS.devices}
    memories = {spec.uid: DeviceMemory() for spec in WORDS.devices}
    view = EdgeView(WORDS, plans, memories)
    ids = (f"a{i}" for i in itertools.count())
    out: list[tuple[Any, ...]] = []
    at = NOW
    for ahead, rows in frames:
        at += 1500 * ahead
        for portion in view.portions(frame(at, rows), at + 100):
            memory = memories[portion.device]
            lane = Lane() if portion.late else memory.live
            hot = portion.hot if short_cut else None
            events: list[Event] = step(lane, plans[portion.device], portion.rows, lambda: next(ids), hot)
            view.note(portion.device, tuple(plans[portion.device].rules))
            out += [
                (portion.device, portion.late, e.what, e.rule.id, e.level, e.trigger, e.t_sample)
                for e in sorted(events, key=lambda e: (e.at_ms, e.rule.id))
            ]
    return out


@settings(max_examples=200, deadline=None)
@given(FRAMES)
def test_the_short_cut_loses_nothing(frames: list[tuple[int, list[Any]]]) -> None:
    assert run(frames, short_cut=True) == run(frames, short_cut=False)


def test_bad_rows_do_not_count_and_uncertain_ones_do() -> None:
    assert run([(0, [(0, 0, 11.0, 0x8000)])], short_cut=True) == []
    assert [one[3] for one in run([(0, [(0, 0, 11.0, 0x4000)])], short_cut=True)] == ["r0", "r2", "r6"]


def test_an_hour_old_row_is_late_and_so_is_one_before_what_was_evaluated() -> None:
    plans = {spec.uid: plan(RULES, frozenset(tag.id for tag in spec.tags)) for spec in WORDS.devices}
    memories = {spec.uid: DeviceMemory() for spec in WORDS.devices}
    view = EdgeView(WORDS, plans, memories)
    old = samples.make([0, 0], [NOW - 3_600_000, NOW], samples.float_slots([1.0, 2.0]), kind=int(Kind.FLOAT))
    live, late = view.portions(old, NOW + 10)
    assert (live.late, live.rows.t.tolist()) == (False, [NOW])
    assert (late.late, late.rows.t.tolist()) == (True, [NOW - 3_600_000])
    again = samples.make([0], [NOW], samples.float_slots(np.array([3.0])), kind=int(Kind.FLOAT))
    [portion] = view.portions(again, NOW + 20)
    assert portion.late
