"""Curves: nothing of a peak is lost, whatever is asked, and what is missing or late is told."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud import gaps, reduce, trend
from ingest.historian import moments
from ingest.historian.moments import MINUTE_MS
from telemetry import clock
from telemetry.samples import Kind, Quality, Reason, from_rows, make, quality
from tests.cloud.conftest import House
from tests.cloud.history_kit import fill, float_rows
from tests.ingest.edge_kit import ENTERPRISE, WALL

MINUTE = WALL // MINUTE_MS * MINUTE_MS
BAD = quality(Quality.BAD, Reason.DEVICE_BAD)

rows_strategy = st.lists(
    st.tuples(st.integers(0, 100_000), st.integers(-(1 << 60), 1 << 60), st.sampled_from([0, 0, 0, 0x4000, BAD])),
    min_size=1,
    max_size=200,
    unique_by=lambda row: row[0],
)


@given(rows_strategy, st.integers(0, 50_000), st.integers(1, 60_000), st.integers(1, 60))
def test_every_bucket_keeps_its_least_and_greatest(
    raw: list[tuple[int, int, int]], start: int, length: int, points: int
) -> None:
    end = start + length
    raw = sorted(row for row in raw if start <= row[0] < end)
    rows = from_rows((0, t, v, q, Kind.INT) for t, v, q in raw)
    found = trend.of_rows(rows, start, end, points, max(2, points // 2))
    good = [(t, v) for t, v, q in raw if not q & Quality.BAD]
    drawn = {(t, v) for t, v in found["points"] if v is not None}
    assert drawn <= set(good)
    assert [t for t, _ in found["points"]] == sorted(t for t, _ in found["points"])
    assert found["features"]["count"] == len(good)
    if len(good) <= points:
        assert found["raw"] and drawn == set(good)
        return
    assert {good[0], good[-1]} <= drawn
    buckets = found["buckets"]
    width = buckets["start"][1] - buckets["start"][0] if len(buckets["start"]) > 1 else length
    assert buckets["start"][0] == start and buckets["start"][-1] + width >= end
    for i, begin in enumerate(buckets["start"]):
        inside = [(t, v) for t, v in good if begin <= t < begin + width]
        assert buckets["count"][i] == len(inside)
        if inside:
            low, high = min(inside, key=lambda p: (p[1], p[0])), max(inside, key=lambda p: (p[1], -p[0]))
            assert {low, high} <= drawn
            assert (buckets["min"][i], buckets["max"][i]) == (low[1], high[1])
            assert buckets["mean"][i] == pytest.approx(sum(v for _, v in inside) / len(inside), rel=1e-9, abs=1e4)


@given(st.lists(st.integers(0, 5_000_000), min_size=1, max_size=60), st.integers(60_000, 200_000))
def test_holes_are_where_no_row_is(times: list[int], least: int) -> None:
    times = sorted(times)
    minute = np.array(times) // MINUTE_MS
    first = np.array([min(t for t in times if t // MINUTE_MS == m) for m in np.unique(minute).tolist()])
    last = np.array([max(t for t in times if t // MINUTE_MS == m) for m in np.unique(minute).tolist()])
    end = times[-1] + 70_000
    expected = [(a, b) for a, b in zip(times, [*times[1:], end], strict=True) if b - a >= least]
    assert gaps.holes_between(first, last, end_ms=end, least_ms=least) == expected


def test_stated_stretches_are_taken_out_of_holes() -> None:
    told = [(1_000_000, 2_000_000, "agent_stopped")]
    assert gaps.unstated([(999_000, 2_005_000)], told, least_ms=60_000) == []
    assert gaps.unstated([(500_000, 2_005_000)], told, least_ms=60_000) == [(500_000, 1_000_000)]
    assert gaps.unstated([(999_000, 2_500_000)], told, least_ms=60_000) == [(2_000_000, 2_500_000)]
    assert gaps.unstated([(3_000_000, 3_100_000)], told, least_ms=60_000) == [(3_000_000, 3_100_000)]


async def asked(house: House, low: int, high: int, **more: Any) -> dict[str, Any]:
    series = more.pop("series", [f"{house.device}:p"])
    answer = await house.get("/trend", series=series, **{"from": low, "to": high}, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_few_rows_are_drawn_as_they_are(house: House) -> None:
    await house.commit(1.25, 1.5, 1.75, at_ms=WALL)
    told = await asked(house, WALL, WALL + 10_000, points=100)
    (one,) = told["series"]
    assert (one["raw"], one["buckets"], one["period_ms"]) == (True, None, 1000)
    assert one["points"] == [[WALL, 1.25], [WALL + 1000, 1.5], [WALL + 2000, 1.75]]
    assert (one["features"]["count"], one["quality"]) == (3, {"good": 3})
    query = {
        "enterprise": ENTERPRISE,
        "series": [f"{house.device}:p"],
        "from": WALL,
        "to": WALL + 10_000,
        "points": 100,
    }
    text = json.dumps(query, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert told["query"] == hashlib.sha256(text.encode()).hexdigest()


async def test_a_line_breaks_where_values_are_bad(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    times = WALL + 1000 * np.arange(1, 6)
    values = np.array([2.0, 3.0, 4.0, 5.0, 6.0]).view(np.int64)
    codes = [0, BAD, BAD, 0, 0]
    await fill(house, make(np.zeros(5), times, values, kind=1, quality=codes))
    (one,) = (await asked(house, WALL, WALL + 10_000))["series"]
    assert one["points"] == [
        [WALL, 1.0],
        [WALL + 1000, 2.0],
        [WALL + 2000, None],
        [WALL + 4000, 5.0],
        [WALL + 5000, 6.0],
    ]
    assert one["quality"] == {"good": 4, "bad": 2}


async def test_a_long_stretch_comes_from_rollups_and_loses_no_peak(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    times = MINUTE + 2000 * np.arange(43_200)  # a day
    values = np.sin(times / 1e7)
    values[[777, 31_113]] = [1e6, -1e6]
    await fill(house, float_rows(times, values))
    low, high = MINUTE + 1_234, MINUTE + 86_400_000 - 4_321
    (one,) = (await asked(house, low, high, points=200))["series"]
    assert one["raw"] is False and one["features"]["from_rollups"] > 1400
    inside = (times >= low) & (times < high)
    points = {tuple(point) for point in one["points"]}
    pairs = list(zip(times[inside].tolist(), values[inside].tolist(), strict=True))
    assert {(int(times[777]), 1e6), (int(times[31_113]), -1e6), pairs[0], pairs[-1]} <= points <= set(pairs)
    starts = one["buckets"]["start"]
    assert len(set(np.diff(starts).tolist())) == 1 and len(starts) <= 100
    width = starts[1] - starts[0]
    for start, count, least in zip(starts, one["buckets"]["count"], one["buckets"]["min"], strict=True):
        here = inside & (times >= start) & (times < start + width)
        assert (count, least) == (int(here.sum()), float(values[here].min()))


async def test_a_hole_is_unstated_until_something_says_why(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    times = np.concatenate([MINUTE + 1000 * np.arange(1200), MINUTE + 2_400_000 + 1000 * np.arange(1200)])
    await fill(house, float_rows(times, np.ones(len(times))))
    low, high = MINUTE, MINUTE + 3_600_000
    (one,) = (await asked(house, low, high))["series"]
    assert one["gaps"] == [{"from": MINUTE + 1_199_000, "to": MINUTE + 2_400_000, "reason": "unstated"}]
    gone = quality(Quality.BAD, Reason.NO_REPLY, has_value=False)
    await fill(house, make([0], [MINUTE + 1_201_000], [0], kind=1, quality=gone))
    (one,) = (await asked(house, low, high))["series"]
    assert one["gaps"] == [{"from": MINUTE + 1_201_000, "to": MINUTE + 2_400_000, "reason": "no_reply"}]


async def test_what_arrived_late_is_told(house: House) -> None:
    """The kit's frames are of 2023 and arrive now."""
    before = clock.now_ms()
    await house.commit(1.0, 2.0, at_ms=WALL)
    (one,) = (await asked(house, WALL, WALL + 10_000))["series"]
    (late,) = one["late"]
    assert (late["from"], late["to"]) == (WALL, WALL + 1000)
    assert before <= late["arrival_ms"] <= clock.now_ms()
    told = (await house.get(f"/devices/{house.device}/coverage", days="true", **{"from": 0, "to": WALL * 2})).json()
    assert told["late"] == [late]
    assert told["oldest_ms"] == WALL
    assert [day["day"] for day in told["days"]] == ["2023-11-14"]


async def test_several_series_and_what_is_not_there(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    told = await asked(house, WALL, WALL + 1000, series=[f"{house.device}:p", f"{house.device}:n"])
    assert [one["tag"] for one in told["series"]] == ["p", "n"]
    assert told["series"][1]["points"] == []
    span = {"from": WALL, "to": WALL + 1}
    for series, status, code in (
        ("nobody:p", 404, "unknown_device"),
        (f"{house.device}:q", 404, "unknown_tag"),
        (house.device, 404, "unknown_device"),
    ):
        answer = await house.get("/trend", series=series, **span)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    foreign = await house.get("/trend", "foreign", series=f"{house.device}:p", **span)
    assert foreign.status_code == 404
    many = await house.get("/trend", series=[f"{house.device}:p"] * 17, **span)
    assert many.status_code == 400


def test_grids_cover_what_is_asked() -> None:
    how = reduce.minute_grid(61_500, 10_000_001, 7)
    assert how.origin == 60_000 and how.width % MINUTE_MS == 0 and how.count <= 7
    assert how.origin + how.width * how.count >= 10_000_001
    assert moments.MINUTE_MS == 60_000
