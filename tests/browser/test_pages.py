"""The pages in a real browser: values move, a stop is said, forms work, nothing is refused by the policy."""

import re
from typing import Any

import pytest

from cloud.live import LiveBatch
from telemetry import clock
from tests.browser.conftest import SIZES, Site, enter
from tests.ingest.edge_kit import ENTERPRISE

pytestmark = pytest.mark.browser


def push(site: Site, value: float | None, *, quality: int = 0) -> None:
    """A value of tag p, as if just committed."""
    now = clock.now_ms()
    batch = LiveBatch(ENTERPRISE, site.house.device, False, now, [["p", now, value, quality]])
    site.house.services.hub.publish(batch)


async def eventually_reads(page: Any, selector: str, text: str) -> None:
    await page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.textContent === text", arg=[selector, text]
    )


async def test_a_value_moves_and_a_stop_is_said(site: Site, chromium: Any) -> None:
    await site.house.commit(1.0, at_ms=clock.now_ms())
    page = await enter(chromium, site, site.person("lin"))
    await page.goto(f"{site.url}/machines/{site.house.device}")
    await page.wait_for_function("document.querySelector('[data-tag=p] .value').dataset.t")
    while site.house.services.hub.clients == 0:  # until the page's subscription stands
        await page.wait_for_timeout(20)
    push(site, 7.25)
    await eventually_reads(page, "tr[data-tag=p] td.value", "7.25")
    assert await page.get_attribute("tr[data-tag=p] td.value", "data-v") == "7.25"
    await page.wait_for_selector("#stopped", state="hidden")
    push(site, None, quality=0xA002)
    await eventually_reads(page, "tr[data-tag=p] td.value", "—")
    assert "设备无应答" in await page.inner_text("tr[data-tag=p] td.quality")
    await page.wait_for_selector("#stopped", state="visible", timeout=10_000)  # nothing for 5 s
    assert await page.get_attribute("main", "data-stale") is not None
    assert await page.get_attribute("tr[data-tag=p] td.value", "data-stale") is not None
    push(site, 8.5)
    await page.wait_for_selector("#stopped", state="hidden")
    assert await page.get_attribute("main", "data-stale") is None
    assert page.complaints == []


async def test_a_lost_connection_is_said_and_found_again(site: Site, chromium: Any) -> None:
    await site.house.commit(1.0, at_ms=clock.now_ms())
    page = await enter(chromium, site, site.person("lin"))
    await page.goto(f"{site.url}/machines/{site.house.device}")
    while site.house.services.hub.clients == 0:
        await page.wait_for_timeout(20)
    for one in tuple(site.house.services.hub._joined):
        one.let_go("a test")
    await page.wait_for_selector("#stopped", state="visible")
    assert "断开" in await page.inner_text("#stopped")
    while site.house.services.hub.clients == 0:
        await page.wait_for_timeout(20)
    push(site, 3.0)
    await eventually_reads(page, "tr[data-tag=p] td.value", "3.00")
    await page.wait_for_selector("#stopped", state="hidden")


async def test_an_administrator_makes_a_user_and_a_token(site: Site, chromium: Any) -> None:
    page = await enter(chromium, site, site.person("boss", "administrator"))
    await page.goto(f"{site.url}/admin/users")
    await page.fill("#new-name", "wang")
    await page.select_option("#new-role", "operator")
    await page.fill("#new-password", "short")
    await page.fill("#new-password", "wang")  # the browser's own check
    await page.fill("#new-password", "wangs long password")
    async with page.expect_navigation():
        await page.click("form[data-api='POST /api/v1/users'] button")
    assert "操作员" in await page.inner_text("tr[data-user=wang]")
    await page.fill("#new-name", "wang")
    await page.fill("#new-password", "wangs long password")
    await page.click("form[data-api='POST /api/v1/users'] button")
    await page.wait_for_selector("form[data-api='POST /api/v1/users'] .wrong", state="visible")
    await page.goto(f"{site.url}/admin/tokens")
    await page.fill("#i-name", "inspector-1")
    await page.click("form[data-api='POST /api/v1/tokens/inspector'] button")
    await page.wait_for_selector("#secret", state="visible")
    secret = await page.inner_text("#secret output")
    assert re.fullmatch(r"[\w-]{30,}", secret)
    assert (await site.house.get("/devices", secret)).status_code == 200
    await page.goto(f"{site.url}/admin/tokens")
    page.on("dialog", lambda dialog: dialog.accept())
    async with page.expect_navigation():
        await page.locator("tr[data-token]", has_text="inspector-1").get_by_role("button").click()
    assert (await site.house.get("/devices", secret)).status_code == 401


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_pages_fit_break_no_rule_and_are_accessible(site: Site, chromium: Any, size: str, lang: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.async_playwright").Axe()
    await site.house.commit(1.0, at_ms=clock.now_ms())
    page = await enter(chromium, site, site.person("boss", "administrator"), size=size, lang=lang)
    for path in (
        "/",
        f"/machines/{site.house.device}",
        *(f"/admin/{n}" for n in ("edges", "users", "tokens", "audit")),
    ):
        await page.goto(site.url + path)
        await page.wait_for_load_state("networkidle")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        found = await axe.run(page)
        serious = [one for one in found.response["violations"] if one["impact"] in ("serious", "critical")]
        assert serious == [], (path, [(one["id"], [n["html"] for n in one["nodes"]][:3]) for one in serious])
    assert page.complaints == []
