"""Logging in and out, and what stands between other sites and a session."""

import httpx
import pytest

from dashboards.sessions import safe_next
from tests.dashboards.conftest import PASSWORD, Site, log_in


async def test_a_page_asks_who_is_there_and_leads_back(site: Site) -> None:
    name = site.person("lin")
    async with site.browser() as client:
        asked = await client.get("/machines/x?a=1")
        assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=%2Fmachines%2Fx%3Fa%3D1")
        answer = await log_in(client, name, goal="/admin/edges")
        assert (answer.status_code, answer.headers["location"]) == (303, "/admin/edges")
        cookie = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("starproof_session"))
        assert "HttpOnly" in cookie and "SameSite=lax" in cookie
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/login")).status_code == 303


async def test_a_wrong_password_is_told_and_lets_nobody_in(site: Site) -> None:
    name = site.person("lin")
    async with site.browser() as client:
        answer = await log_in(client, name, "not this password")
        assert answer.status_code == 401 and 'role="alert"' in answer.text
        assert "starproof_session" not in client.cookies


async def test_no_other_site_can_log_a_browser_in(site: Site) -> None:
    name = site.person("lin")
    async with site.browser() as client:
        wish = {"username": name, "password": PASSWORD, "next": "/"}
        assert (await client.post("/login", data=wish)).status_code == 403
        await client.get("/login")
        assert (await client.post("/login", data=wish | {"csrf": "guessed"})).status_code == 403
        assert "starproof_session" not in client.cookies


async def test_logging_out_ends_the_session_and_needs_its_csrf(site: Site) -> None:
    async with site.logged_in() as client:
        assert (await client.post("/logout")).status_code == 403
        assert (await client.get("/")).status_code == 200
        csrf = (await client.get("/api/v1/me")).json()["csrf"]
        session = client.cookies["starproof_session"]
        assert (await client.post("/logout", data={"csrf": csrf})).headers["location"] == "/login"
        again = httpx.Cookies({"starproof_session": session})
        async with httpx.AsyncClient(base_url=site.url, cookies=again, trust_env=False) as thief:
            assert (await thief.get("/")).status_code == 303


async def test_a_part_for_htmx_makes_the_page_leave(site: Site) -> None:
    async with site.browser() as client:
        headers = {"HX-Request": "true", "HX-Current-URL": f"{site.url}/?x=1"}
        answer = await client.get("/parts/machines", headers=headers)
        assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/login?next=%2F%3Fx%3D1")


@pytest.mark.parametrize("bad", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil", "x", ""])
def test_no_way_leads_to_another_site(bad: str) -> None:
    assert safe_next(bad) == "/"


def test_ways_on_this_site_are_kept() -> None:
    assert safe_next("/trend?s=a:b&last=1h") == "/trend?s=a:b&last=1h"
