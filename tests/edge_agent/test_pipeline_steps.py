import math
from typing import Any

import numpy as np
import pytest

from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.rules import Rules
from edge_agent.pipeline.step import rounds
from telemetry.samples import Kind, Quality, Reason, Samples, from_rows, quality

T0 = 1_700_000_000_000
BAD = quality(Quality.BAD, Reason.NO_REPLY, has_value=False)


def rules(
    n: int = 3, *, source: bool = False, deadband: float = 0.0, lo: float = -math.inf, hi: float = math.inf, **more: int
) -> Rules:
    return Rules(
        source_time=np.full(n, source),
        lo=np.full(n, lo),
        hi=np.full(n, hi),
        deadband=np.full(n, deadband),
        **more,
    )


def rows(*values: tuple[Any, ...]) -> Samples:
    """(tag, ms after T0, value, quality=0)."""
    return from_rows((v[0], T0 + v[1], v[2], v[3] if len(v) > 3 else 0, Kind.FLOAT) for v in values)


def out(samples: Samples) -> list[tuple[int, int, Any, int]]:
    return [
        (int(samples.tag[i]), int(samples.time[i]) - T0, samples.value_at(i), int(samples.quality[i]))
        for i in range(len(samples))
    ]


def test_rounds_hold_each_tag_once_and_keep_the_order() -> None:
    tag = np.array([2, 0, 2, 1, 2, 0], dtype=np.int32)
    assert [r.tolist() for r in rounds(tag)] == [[1, 3, 0], [5, 2], [4]]
    assert [r.tolist() for r in rounds(np.array([1, 2, 5], dtype=np.int32))] == [[0, 1, 2]]
    assert list(rounds(np.array([], dtype=np.int32))) == []


def test_a_repeated_source_sample_is_dropped_and_a_changed_one_is_not() -> None:
    pipe = Pipeline(rules(source=True))
    first = rows((0, 0, 1.0))
    assert len(pipe(first, arrival_ms=T0)) == 1
    assert len(pipe(first, arrival_ms=T0 + 1000)) == 0
    assert len(pipe(rows((0, 0, 2.0)), arrival_ms=T0 + 1000)) == 1
    uncertain = quality(Quality.UNCERTAIN, Reason.DEVICE_UNCERTAIN)
    assert len(pipe(rows((0, 0, 2.0, uncertain)), arrival_ms=T0 + 1000)) == 1
    assert len(pipe(rows((0, 5, 2.0)), arrival_ms=T0 + 1000)) == 1
    assert pipe.counters.dropped == {"repeated": 1, "regressing": 0}


def test_a_regressing_source_sample_is_dropped() -> None:
    pipe = Pipeline(rules(source=True))
    assert out(pipe(rows((0, 10, 1.0), (0, 5, 2.0), (1, 5, 2.0), (0, 11, 3.0)), arrival_ms=T0)) == [
        (0, 10, 1.0, 0),
        (1, 5, 2.0, 0),
        (0, 11, 3.0, 0),
    ]
    assert pipe.counters.dropped["regressing"] == 1


def test_samples_with_the_edges_own_time_are_never_dropped_as_duplicates_even_when_its_clock_steps_back() -> None:
    pipe = Pipeline(rules())
    assert len(pipe(rows((0, 10, 1.0), (0, 10, 1.0), (0, -5000, 1.0)), arrival_ms=T0)) == 3


def test_a_time_from_the_future_is_replaced_and_does_not_pin_the_latest() -> None:
    pipe = Pipeline(rules(source=True))
    far = 3_600_000
    sent = pipe(rows((0, far, 1.0)), arrival_ms=T0)
    assert out(sent) == [(0, 0, 1.0, quality(Quality.UNCERTAIN, Reason.CLOCK))]
    assert sent.origin is not None
    assert sent.origin.tolist() == [T0 + far]
    assert out(pipe(rows((0, 100, 2.0)), arrival_ms=T0 + 100)) == [(0, 100, 2.0, 0)]
    assert pipe.counters.flagged["clock"] == 1


def test_a_replaced_time_may_repeat_but_not_regress() -> None:
    pipe = Pipeline(rules(source=True))
    ancient = -40 * 86_400_000
    assert len(pipe(rows((0, 0, 1.0)), arrival_ms=T0)) == 1
    assert len(pipe(rows((0, ancient, 1.0)), arrival_ms=T0 + 1)) == 1
    assert len(pipe(rows((0, ancient, 1.0)), arrival_ms=T0 + 2)) == 0
    assert len(pipe(rows((0, ancient - 1, 1.0)), arrival_ms=T0 + 3)) == 1


def test_an_unchanged_value_is_seen_again_after_a_loss() -> None:
    pipe = Pipeline(rules(source=True))
    assert out(pipe(rows((0, 0, 7.0)), arrival_ms=T0)) == [(0, 0, 7.0, 0)]
    assert out(pipe(rows((0, 5000, None, BAD)), arrival_ms=T0 + 5000)) == [(0, 5000, None, BAD)]
    again = pipe(rows((0, 0, 7.0)), arrival_ms=T0 + 6000)
    assert out(again) == [(0, 6000, 7.0, 0)]
    assert again.origin is not None
    assert again.origin.tolist() == [T0]
    assert len(pipe(rows((0, 0, 7.0)), arrival_ms=T0 + 7000)) == 0
    assert out(pipe(rows((0, 6500, 8.0)), arrival_ms=T0 + 8000)) == [(0, 6500, 8.0, 0)]


def test_what_is_older_than_the_agent_holds_from_its_start() -> None:
    pipe = Pipeline(rules(source=True))
    assert out(pipe(rows((0, -86_400_000, 7.0), (1, 0, 1.0)), arrival_ms=T0)) == [(0, 0, 7.0, 0), (1, 0, 1.0, 0)]
    assert pipe.counters.flagged["clock"] == 0


def test_a_clock_replacement_keeps_a_worse_quality() -> None:
    uncertain = quality(Quality.UNCERTAIN, Reason.DEVICE_UNCERTAIN)
    pipe = Pipeline(rules(source=True))
    assert out(pipe(rows((0, 3_600_000, 1.0, uncertain)), arrival_ms=T0)) == [(0, 0, 1.0, uncertain)]


def test_not_a_number_goes_up_once_as_no_value() -> None:
    pipe = Pipeline(rules())
    code = quality(Quality.BAD, Reason.NOT_A_NUMBER, has_value=False)
    got = out(pipe(rows((0, 0, 1.0), (0, 1, math.nan), (0, 2, math.inf), (0, 3, 2.0), (0, 4, math.nan)), arrival_ms=T0))
    assert got == [(0, 0, 1.0, 0), (0, 1, None, code), (0, 3, 2.0, 0), (0, 4, None, code)]
    assert pipe.counters.dropped["not_a_number"] == 1


def test_a_change_of_the_bad_reason_goes_up() -> None:
    pipe = Pipeline(rules())
    other = quality(Quality.BAD, Reason.MODBUS_EXCEPTION + 2, has_value=False)
    got = pipe(rows((0, 0, None, BAD), (0, 1, None, BAD), (0, 2, None, other), (0, 3, None, BAD)), arrival_ms=T0)
    assert [code for *_, code in out(got)] == [BAD, other, BAD]
    assert pipe.counters.dropped["no_reply"] == 1


def test_a_bad_value_is_not_sent_as_if_it_were_one() -> None:
    pipe = Pipeline(rules())
    got = out(pipe(rows((0, 0, 5.0, quality(Quality.BAD, Reason.DEVICE_BAD))), arrival_ms=T0))
    assert got == [(0, 0, None, quality(Quality.BAD, Reason.DEVICE_BAD, has_value=False))]


def test_out_of_range_is_flagged_and_kept() -> None:
    pipe = Pipeline(rules(lo=0, hi=10))
    flagged = quality(Quality.UNCERTAIN, Reason.OUT_OF_RANGE)
    got = out(pipe(rows((0, 0, 11.0), (1, 0, 10.0), (2, 0, -0.1)), arrival_ms=T0))
    assert [code for *_, code in got] == [flagged, 0, flagged]
    assert pipe.counters.flagged["out_of_range"] == 2


@pytest.mark.parametrize("together", [True, False])
def test_the_deadband_keeps_first_values_changes_of_quality_and_old_age(together: bool) -> None:
    pipe = Pipeline(rules(deadband=1.0, max_interval_ms=1000))
    uncertain = quality(Quality.UNCERTAIN, Reason.DEVICE_UNCERTAIN)
    given = [
        (0, 0, 5.0),
        (0, 100, 5.9),
        (0, 200, 6.1),
        (0, 300, 6.0, uncertain),
        (0, 400, 6.0),
        (0, 1399, 6.0),
        (0, 1400, 6.0),
        (0, 1500, None, BAD),
        (0, 1600, 6.0),
    ]
    batches = [rows(*given)] if together else [rows(r) for r in given]
    times = [t for batch in batches for _, t, _, _ in out(pipe(batch, arrival_ms=T0))]
    assert times == [0, 200, 300, 400, 1400, 1500, 1600]
    assert pipe.counters.dropped["deadband"] == 2


def test_reset_sends_everything_again() -> None:
    pipe = Pipeline(rules(source=True, deadband=1.0))
    batch = rows((0, 0, 5.0), (1, 0, 6.0))
    assert len(pipe(batch, arrival_ms=T0)) == 2
    assert len(pipe(batch, arrival_ms=T0)) == 0
    pipe.reset()
    assert len(pipe(batch, arrival_ms=T0)) == 2


def test_texts_pass() -> None:
    pipe = Pipeline(rules(source=True, deadband=1.0))
    samples = from_rows([(0, T0, "a", 0, Kind.STRING), (0, T0 + 1, "b", 0, Kind.STRING)])
    kept = pipe(samples, arrival_ms=T0)
    assert [kept.value_at(i) for i in range(2)] == ["a", "b"]
