"""What the pages show, to whom, and under which headers."""

import re

import pytest

from cloud.auth import ROLES, Role
from dashboards.security import POLICY
from telemetry import clock
from tests.dashboards.conftest import Site

EVERYBODY = ("/", "/parts/machines", "/parts/alarms")
ADMIN = ("/admin/edges", "/admin/users", "/admin/tokens", "/admin/audit")


async def test_the_overview_and_a_machine_show_values_with_quality(site: Site) -> None:
    await site.house.commit(7.25, at_ms=clock.now_ms())
    uid = site.house.device
    async with site.logged_in() as client:
        overview = (await client.get("/")).text
        assert f'data-device="{uid}"' in overview and f'href="/machines/{uid}"' in overview
        shown = (await client.get(f"/machines/{uid}")).text
        assert re.search(rf'<main id="content" data-device="{uid}" data-simulated="(true|false)"', shown)
        row = re.search(r'<tr data-tag="p".*?</tr>', shown, re.DOTALL)
        assert row and re.search(r'<td class="value figure" data-v="7.25" data-t="\d+" data-q="0"', row[0])
        assert 'class="quality"' in row[0] and "data-age" in row[0]


async def test_a_machine_of_another_enterprise_is_not_there(site: Site) -> None:
    await site.house.commit(1.0, at_ms=clock.now_ms())
    async with site.logged_in(enterprise="E2") as client:
        answer = await client.get(f"/machines/{site.house.device}")
        assert answer.status_code == 404 and "text/html" in answer.headers["content-type"]
        assert site.house.device not in (await client.get("/")).text


async def test_a_simulated_machine_says_so(site: Site) -> None:
    await site.house.commit(1.0, at_ms=clock.now_ms())
    async with site.logged_in() as client:
        simulated = (await client.get("/api/v1/devices")).json()["devices"][0]["simulated"]
        for path in ("/", f"/machines/{site.house.device}"):
            assert ("仿真数据 SIMULATED" in (await client.get(path)).text) == simulated


@pytest.mark.parametrize("role", ROLES)
async def test_who_sees_which_page(site: Site, role: Role) -> None:
    await site.house.commit(1.0, at_ms=clock.now_ms())
    async with site.logged_in(role) as client:
        for path in EVERYBODY:
            assert (await client.get(path)).status_code == 200, path
        for path in ADMIN:
            allowed = role == "administrator" or (role == "inspector" and path == "/admin/audit")
            assert (await client.get(path)).status_code == (200 if allowed else 403), path
        menu = (await client.get("/")).text
        assert ('href="/admin/users"' in menu) == (role == "administrator")


async def test_every_answer_has_the_policy_and_no_page_has_anything_inline(site: Site) -> None:
    await site.house.commit(1.0, at_ms=clock.now_ms())
    async with site.logged_in("administrator") as client:
        for path in (*EVERYBODY, *ADMIN, f"/machines/{site.house.device}", "/nowhere", "/static/js/live.js", "/login"):
            answer = await client.get(path)
            assert answer.headers["content-security-policy"] == POLICY, path
            assert answer.headers["x-content-type-options"] == "nosniff"
            if "text/html" in answer.headers.get("content-type", ""):
                assert answer.headers["cache-control"] == "no-store"
                assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", answer.text), path
                scripts = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", answer.text)
                assert all('type="application/json"' in one for one in scripts), path


async def test_a_name_cannot_become_markup(site: Site) -> None:
    async with site.logged_in("administrator") as client:
        csrf = (await client.get("/api/v1/me")).json()["csrf"]
        wish = {"name": "<script>alert(1)</script>"}
        done = await client.patch("/api/v1/enterprise", json=wish, headers={"X-CSRF-Token": csrf})
        assert done.status_code == 200
        shown = (await client.get("/admin/users")).text
        assert "<script>alert" not in shown and "&lt;script&gt;alert" in shown
        assert "<script>alert" not in (await client.get("/admin/audit")).text


async def test_an_error_is_a_page_for_people_and_json_for_programs(site: Site) -> None:
    async with site.logged_in() as client:
        page = await client.get("/machines/none")
        assert page.status_code == 404 and "<h1>" in page.text
        body = (await client.get("/api/v1/devices/none")).json()
        assert body["error"]["code"] == "unknown_device"


async def test_the_language_is_remembered(site: Site) -> None:
    async with site.logged_in() as client:
        assert '<html lang="zh-CN">' in (await client.get("/")).text
        english = await client.get("/?lang=en")
        assert '<html lang="en">' in english.text and "Overview" in english.text
        assert '<html lang="en">' in (await client.get("/")).text
        assert '<html lang="zh-CN">' in (await client.get("/?lang=zh")).text


async def test_the_audit_page_says_that_the_chain_holds(site: Site) -> None:
    async with site.logged_in("administrator") as client:
        whole = (await client.get("/admin/audit")).text
        assert 'class="done"' in whole and 'class="problem"' not in whole
