"""Features over HTTP: from rollups and rows together, equal to those of the rows."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud import summary
from ingest.historian import moments
from ingest.historian.moments import MINUTE_MS, Features
from tests.cloud.conftest import House
from tests.cloud.history_kit import fill, float_rows
from tests.ingest.edge_kit import ENTERPRISE, WALL

MINUTE = WALL // MINUTE_MS * MINUTE_MS
SPAN = 40 * MINUTE_MS


def near(one: Features, other: Features) -> None:
    assert (one.count, one.min, one.min_t, one.max, one.max_t) == (
        other.count,
        other.min,
        other.min_t,
        other.max,
        other.max_t,
    )
    assert (one.first_t, one.last_t) == (other.first_t, other.last_t)
    for a, b in ((one.mean, other.mean), (one.std, other.std), (one.trend_per_h, other.trend_per_h)):
        assert a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9 * 2000))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_stretch_of_rolled_due_and_late_rows(house: House, data: st.DataObject) -> None:
    """Rows of several calls pile up in the same minutes, some with rollups made since, some without."""
    await house.commit(1.0, at_ms=WALL)
    count = data.draw(st.integers(1, 300))
    random = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    times = np.unique(MINUTE + random.integers(0, SPAN, count))
    await fill(
        house,
        float_rows(times, random.normal(0, 50, len(times)), data.draw(st.sampled_from([0, 0x4000, 0x8000]))),
        rolled=data.draw(st.booleans()),
    )
    low = MINUTE + data.draw(st.integers(-60_000, SPAN))
    high = low + data.draw(st.integers(1, SPAN))
    ground = await summary.ground(house.services, ENTERPRISE, house.device, low, high)
    found, _ = await summary.read(house.services, ground, "p")
    rows = await summary.rows(house.services, ENTERPRISE, house.device, "p", low, high)
    near(moments.features(found), moments.features(moments.roll(rows)[1]))


async def test_over_http(house: House) -> None:
    await house.commit(5.0, at_ms=WALL)
    times = MINUTE + 1000 * np.arange(3600)
    values = 10.0 + times % 60_000 / 1000
    await fill(house, float_rows(times, values))
    path = f"/devices/{house.device}/features"
    low, high = MINUTE + 30_500, MINUTE + 50 * 60_000 + 15_000
    told = (await house.get(path, tag="p", **{"from": low, "to": high})).json()
    inside = (times >= low) & (times < high)
    assert told["count"] == int(inside.sum())
    assert told["from_rollups"] == 49
    assert (told["min"], told["max"]) == (10.0, 69.0)
    assert told["mean"] == pytest.approx(float(values[inside].mean()), rel=1e-12)
    assert told["std"] == pytest.approx(float(values[inside].std()), rel=1e-12)
    slope = np.polyfit((times[inside] - low) / 3.6e6, values[inside], 1)[0]
    assert told["trend_per_h"] == pytest.approx(float(slope), rel=1e-6)
    nothing = (await house.get(path, tag="p", **{"from": 0, "to": 60_000})).json()
    assert (nothing["count"], nothing["mean"], nothing["min_t"]) == (0, None, None)
    wrong = await house.get(path, tag="q", **{"from": 0, "to": 60_000})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (404, "unknown_tag")


async def test_rows_that_came_since_the_rollup_count_at_once(house: House) -> None:
    await house.commit(5.0, at_ms=WALL)
    times = MINUTE + 1000 * np.arange(1800)
    await fill(house, float_rows(times, np.ones(1800)))
    await fill(house, float_rows(np.array([MINUTE + 600_500]), np.array([99.0])), rolled=False)
    stretch = {"from": MINUTE, "to": MINUTE + 1_800_000}
    told = (await house.get(f"/devices/{house.device}/features", tag="p", **stretch)).json()
    assert (told["count"], told["max"], told["max_t"]) == (1801, 99.0, MINUTE + 600_500)
    assert told["from_rollups"] == 29  # one is due


async def test_a_history_without_rollups_is_read_from_rows(house: House) -> None:
    await house.commit(*(float(i) for i in range(20)), at_ms=WALL)
    stretch = {"from": WALL - 3_600_000, "to": WALL + 3_600_000}
    told = (await house.get(f"/devices/{house.device}/features", tag="p", **stretch)).json()
    assert (told["count"], told["max"], told["from_rollups"]) == (20, 19.0, 0)
