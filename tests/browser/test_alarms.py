"""Alarms in a browser."""

import pytest

from tests.browser.pages_kit import DESKTOP, PHONE, tab
from tests.cloud.conftest import House, house
from tests.dashboards.pages_kit import raise_alarm

__all__ = ["house"]


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
async def test_an_alarm_is_acknowledged_and_shelved(house: House, size: tuple[int, int]) -> None:
    raise_alarm(house)
    async with tab(house, "operator", size=size) as one:
        await one.open("/alarms")
        await one.check()
        await one.page.click("tr[data-alarm] th a")
        await one.page.fill("[name=note]", "去看了")
        await one.page.click("#acknowledge button")
        await one.page.select_option("[name=hours]", "1")
        await one.page.fill("[name=reason]", "检修")
        await one.page.click("#shelve button")
        await one.page.wait_for_selector("#unshelve")
        assert "去看了" in await one.page.inner_text("#events")
        await one.check()


async def test_a_new_alarm_comes_by_itself(house: House) -> None:
    raise_alarm(house)
    async with tab(house, "viewer") as one:
        await one.open("/alarms")
        await one.page.wait_for_selector("tr[data-alarm=a0]")
        raise_alarm(house, "a1")
        await one.page.wait_for_selector("tr[data-alarm=a1]", timeout=15_000)
