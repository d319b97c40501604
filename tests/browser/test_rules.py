"""Rules in a browser."""

import pytest

from tests.browser.pages_kit import DESKTOP, PHONE, tab
from tests.cloud.conftest import House, house

__all__ = ["house"]


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
async def test_a_rule_is_made_and_a_wrong_limit_is_said_at_its_field(house: House, size: tuple[int, int]) -> None:
    await house.commit(1.0, at_ms=1_700_000_000_000)
    async with tab(house, "engineer", size=size) as one:
        await one.open("/rules/new")
        await one.page.select_option("#f-scope", f"device:{house.device}")
        await one.page.wait_for_selector("#f-tag option[value=p]", state="attached")
        await one.page.select_option("#f-tag", "p")
        await one.page.fill("#f-zh", "压力高")
        await one.page.fill("#f-high", "abc")
        assert await one.page.is_hidden("#f-stale_s")
        await one.check()
        await one.page.click("#save")
        await one.page.wait_for_selector("#error-high")
        assert await one.page.input_value("#f-high") == "abc"
        await one.page.fill("#f-high", "90")
        await one.page.click("#save")
        await one.page.wait_for_selector("#versions tr[data-version='1']")
        await one.check()
