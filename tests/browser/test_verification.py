"""Findings in a browser."""

from pathlib import Path

import pytest

from tests.browser.pages_kit import DESKTOP, PHONE, tab
from tests.cloud.conftest import House, house
from tests.dashboards.test_verification_pages import run

__all__ = ["house"]


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
async def test_every_state_is_seen(house: House, tmp_path: Path, size: tuple[int, int]) -> None:
    run(tmp_path)
    async with tab(house, "viewer", size=size, verifications=tmp_path) as one:
        await one.open("/verification")
        for state in ("pass", "fail", "review", "not_checked"):
            assert await one.page.locator(f".finding[data-state={state}] h4 .verdict").is_visible()
        await one.check()
