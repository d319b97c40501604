"""The pages on a socket, in a real browser, logged in; every error of the page and every block by its policy is kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, async_playwright

from cloud.auth import SESSION_COOKIE, Role
from cloud.settings import ListenSettings
from cloud.web import running
from tests.cloud.conftest import House
from tests.dashboards.pages_kit import application, session

CHROMIUM = Path("/usr/bin/chromium")
DESKTOP, PHONE = (1440, 900), (390, 844)


class Tab:
    """A page and what went wrong on it."""

    def __init__(self, page: Page, base: str) -> None:
        self.page, self.base = page, base
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if "Content Security" in said.text else None)

    async def open(self, path: str) -> None:
        await self.page.goto(self.base + path)

    async def check(self) -> None:
        """No error, nothing blocked, nothing wider than the screen, no serious fault of accessibility."""
        assert not self.errors
        assert not await self.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        found = (await Axe().run(self.page)).response["violations"]
        assert not [f"{one['id']}" for one in found if one["impact"] in ("serious", "critical")]


@asynccontextmanager
async def tab(
    house: House, role: Role, *, size: tuple[int, int] = DESKTOP, verifications: Path | None = None
) -> AsyncIterator[Tab]:
    """A browser's tab of somebody with a role."""
    if not CHROMIUM.exists():  # noqa: ASYNC240  # a look at the local disk
        pytest.skip("there is no chromium")
    secret = session(house, role)
    async with running(application(house, verifications), ListenSettings(port=0)) as server, async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        base = f"http://127.0.0.1:{server.port}"
        context = await browser.new_context(viewport={"width": size[0], "height": size[1]})
        await context.add_cookies([{"name": SESSION_COOKIE, "value": secret, "url": base}])
        yield Tab(await context.new_page(), base)
        await browser.close()
