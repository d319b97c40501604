"""The verifier's evaluation of a rule against the cloud's, which was written by others: on the same rows they say the same."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.alarms.evaluate import DeviceRows, step
from cloud.alarms.memory import Lane
from cloud.alarms.plans import plan
from cloud.alarms.rules import Rule as CloudRule
from verifier.judging.rules_eval import evaluate, read_rule

LIMITS = st.fixed_dictionaries(
    {"high": st.none() | st.integers(10, 14).map(float), "low": st.none() | st.integers(2, 6).map(float)}
).filter(lambda x: x["high"] is not None or x["low"] is not None)


def of_cloud(rule: CloudRule, rows: list[tuple[int, float]], cuts: set[int]) -> list[tuple[str, str, int, int]]:
    """What the cloud's engine makes of rows that come in portions."""
    ready, lane = plan([rule], frozenset({"x"})), Lane()
    out: list[tuple[str, str, int, int]] = []
    start = 0
    for end in sorted({c for c in cuts if 0 < c < len(rows)} | {len(rows)}):
        part = rows[start:end]
        t, v = np.array([r[0] for r in part], dtype=np.int64), np.array([r[1] for r in part])
        portion = DeviceRows(t, v, np.zeros(len(part), dtype=np.uint16), {"x": (0, len(part))})
        for event in step(lane, ready, portion, lambda: "a"):
            trigger = event.at_ms if event.what == "cleared" else event.trigger.t
            out.append((event.what, event.level, trigger, event.at_ms))
        start = end
    return out


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 16)), min_size=1, max_size=30),
    LIMITS,
    st.booleans(),
    st.integers(0, 4),
    st.integers(0, 3),
    st.sets(st.integers(1, 29), max_size=3),
)
def test_both_say_the_same(
    moves: list[tuple[int, int]], limits: dict[str, Any], two: bool, delay: int, hysteresis: int, cuts: set[int]
) -> None:
    seconds = np.cumsum([s for s, _ in moves]).tolist()
    rows = [(1000 * s, float(v)) for s, (_, v) in zip(seconds, moves, strict=True)]
    second = {"high_high": limits["high"] + 2 if limits["high"] and two else None}
    rule = CloudRule.model_validate(
        {
            **limits,
            **second,
            "id": "r",
            "version": 1,
            "source": "user",
            "changed_ms": 0,
            "changed_by": "u",
            "device": "d",
            "zh": "规则",
            "tag": "x",
            "delay_s": delay,
            "hysteresis": hysteresis,
        }
    )
    read = read_rule(rule.model_dump())
    assert read is not None
    mine = evaluate(read, [(t, v, 0) for t, v in rows], [t for t, _ in rows])
    assert [(h.what, h.level, h.trigger[0], h.t_sample) for h in mine] == of_cloud(rule, rows, cuts)
