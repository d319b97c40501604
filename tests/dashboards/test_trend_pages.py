"""The trend page: what it asks, and what it shows without a script."""

from html import unescape

import pytest

from dashboards.pages.trend import lasting_ms, range_of
from tests.cloud.conftest import House, house
from tests.dashboards.pages_kit import application, browser, marked

__all__ = ["house"]

T0 = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "ms"), [("15m", 900_000), ("8h", 28_800_000), ("1d", 86_400_000), ("0h", None), ("x", None), (None, None)]
)
def test_relative_ranges(text: str | None, ms: int | None) -> None:
    assert lasting_ms(text) == ms


def test_a_range_is_from_to_or_the_last_so_long() -> None:
    assert range_of(1, 5, "8h", 100) == (1, 5)
    assert range_of(5, 1, "1m", 100_000) == (40_000, 100_000)
    assert range_of(None, None, None, 4_000_000) == (400_000, 4_000_000)


async def test_tags_of_a_machine_that_curves_can_be_drawn_of(house: House) -> None:
    await house.commit(1.0, at_ms=T0)
    async with browser(application(house), house, "viewer") as one:
        answer = await one.get(f"/trend/tags/{house.device}")
        assert [tag["id"] for tag in answer.json()["tags"]] == ["p", "n"]
        assert (await one.get("/trend/tags/gone")).status_code == 404


async def test_features_and_query_come_with_the_page(house: House) -> None:
    await house.commit(1.25, 2.5, 3.75, at_ms=T0)
    async with browser(application(house), house, "viewer") as one:
        series = f"{house.device}:p"
        page = (await one.get(f"/trend?s={series}&from={T0}&to={T0 + 60_000}")).text
        params = {"series": series, "from": T0, "to": T0 + 60_000, "points": 1000}
        answer = (await house.get("/trend", **params)).json()
        assert marked(page, "query") == [answer["query"]]
        assert marked(page, "from")[0] == str(T0) and marked(page, "series") == [series]
        values = dict(zip(marked(page, "feature"), marked(page, "value"), strict=False))
        for name in ("min", "max", "mean", "std"):
            assert float(values[name]) == answer["series"][0]["features"][name]


async def test_a_series_that_does_not_exist_is_said(house: House) -> None:
    await house.commit(1.0, at_ms=T0)
    async with browser(application(house), house, "viewer") as one:
        page = await one.get("/trend?s=gone:p&last=1h")
        assert page.status_code == 200 and 'id="trend-status"' in unescape(page.text)
        assert not marked(page.text, "query")
