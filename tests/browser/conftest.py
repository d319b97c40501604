"""Chromium on the machine, driven by playwright. Without it these tests say that they were skipped."""

import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.dashboards.conftest import PASSWORD, House, Site, house, site

__all__ = ["House", "Site", "house", "site"]

SIZES = {"phone": (390, 844), "desktop": (1440, 900), "wall": (2560, 1440)}
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
async def chromium() -> AsyncIterator[Any]:
    """A running browser."""
    playwright = pytest.importorskip("playwright.async_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


async def enter(browser: Any, site: Site, name: str, *, size: str = "desktop", lang: str = "zh") -> Any:
    """A page on which `name` has logged in. `page.complaints` collects what the browser says against it."""
    width, height = SIZES[size]
    context = await browser.new_context(viewport={"width": width, "height": height})
    page = await context.new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda said: page.complaints.append(said.text) if said.type in ("error", "warning") else None)
    await page.goto(f"{site.url}/login?lang={lang}")
    await page.fill("#username", name)
    await page.fill("#password", PASSWORD)
    await page.click("main button")
    await page.wait_for_selector("nav.main")
    return page
