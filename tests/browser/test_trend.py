"""The trend chart in a browser."""

import pytest

from tests.browser.pages_kit import DESKTOP, PHONE, tab
from tests.cloud.conftest import House, house

__all__ = ["house"]

T0 = 1_700_000_000_000
WAIT = "before => document.getElementById('chart').dataset.query !== before"


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
async def test_zooming_asks_the_server_again(house: House, size: tuple[int, int]) -> None:
    await house.commit(*(float(n % 7) for n in range(60)), at_ms=T0)
    async with tab(house, "viewer", size=size) as one:
        await one.open(f"/trend?s={house.device}:p&from={T0}&to={T0 + 60_000}")
        await one.page.wait_for_selector("#chart canvas")
        before = await one.page.get_attribute("#chart", "data-query")
        await one.page.click("button[data-shift='0 0.5']")
        await one.page.wait_for_function(WAIT, arg=before)
        assert f"from={T0 + 15_000}&to={T0 + 45_000}" in one.page.url
        assert await one.page.get_attribute("#chart", "data-from") == str(T0 + 15_000)
        await one.check()


async def test_a_series_is_chosen(house: House) -> None:
    await house.commit(1.0, 2.0, at_ms=T0)
    async with tab(house, "viewer") as one:
        await one.open(f"/trend?from={T0}&to={T0 + 60_000}")
        await one.page.select_option("[name=tag]", "p")
        await one.page.click("#add")
        row = one.page.locator(f'#features tr[data-series="{house.device}:p"] td[data-feature=max]')
        await row.wait_for()
        assert float(await row.get_attribute("data-value") or "nan") == 2.0
