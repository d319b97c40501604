"""The alarm and notice pages."""

import pytest

from tests.cloud.conftest import House, house
from tests.dashboards.pages_kit import application, browser, marked, raise_alarm

__all__ = ["house"]


async def test_worst_first_and_acknowledged_from_the_list(house: House) -> None:
    app = application(house)
    for name, priority in (("a3", 3), ("a1", 1), ("a2", 2)):
        raise_alarm(house, name, priority=priority)
    async with browser(app, house, "operator") as one:
        page = await one.get("/alarms")
        assert marked(page.text, "alarm") == ["a1", "a2", "a3"]
        done = await one.post("/alarms/a1/acknowledge", note="seen", back="/alarms?state=open")
        assert (done.status_code, done.headers["location"]) == (303, "/alarms?state=open")
        shown = (await one.get("/alarms/a1")).text
        assert "seen" in shown and 'data-what="acknowledged"' in shown
        again = await one.post("/alarms/a1/acknowledge")
        assert again.status_code == 409 and "已被确认" in again.text


async def test_shelving_needs_a_reason_and_ends(house: House) -> None:
    app = application(house)
    raise_alarm(house)
    async with browser(app, house, "operator") as one:
        assert (await one.post("/alarms/a0/shelve", hours="1")).status_code == 422
        assert (await one.post("/alarms/a0/shelve", hours="168", reason="检修")).status_code == 303
        assert "检修" in (await one.get("/alarms/a0")).text
        assert (await one.post("/alarms/a0/unshelve")).status_code == 303
        assert 'id="shelve"' in (await one.get("/alarms/a0")).text


async def test_a_viewer_sees_but_cannot_act(house: House) -> None:
    app = application(house)
    raise_alarm(house)
    async with browser(app, house, "viewer") as one:
        page = await one.get("/alarms/a0")
        assert page.status_code == 200 and '<form method="post" action="/alarms' not in page.text
        for what in ("acknowledge", "shelve", "unshelve"):
            assert (await one.post(f"/alarms/a0/{what}", reason="x")).status_code == 403
        assert (await one.post("/notices/channels", name="n", url="json://h/")).status_code == 403


async def test_another_site_cannot_act_for_a_user(house: House) -> None:
    app = application(house)
    raise_alarm(house)
    async with browser(app, house, "operator") as one:
        assert (await one.post("/alarms/a0/acknowledge", csrf="wrong")).status_code == 403
        assert 'id="acknowledge"' in (await one.get("/alarms/a0")).text


async def test_another_enterprise_has_no_such_alarm(house: House) -> None:
    app = application(house)
    raise_alarm(house)
    async with browser(app, house, "administrator", enterprise="E2") as one:
        assert (await one.get("/alarms/a0")).status_code == 404
        assert (await one.get("/alarms/a0/chart.svg")).status_code == 404
        assert (await one.post("/alarms/a0/acknowledge")).status_code == 404


async def test_channels_are_added_tested_and_removed(house: House) -> None:
    app = application(house)
    async with browser(app, house, "engineer") as one:
        wrong = await one.post("/notices/channels", name="hook", url="nonsense")
        assert wrong.status_code == 400 and 'id="error-url"' in wrong.text
        assert (await one.post("/notices/channels", name="hook", url="json://127.0.0.1:1/x")).status_code == 303
        (channel,) = marked((await one.get("/notices")).text, "channel")
        assert (await one.post(f"/notices/channels/{channel}/test")).status_code == 303
        assert marked((await one.get("/notices")).text, "notice")
        assert (await one.post(f"/notices/channels/{channel}/remove")).status_code == 303
        assert not marked((await one.get("/notices")).text, "channel")


@pytest.mark.parametrize("path", ["/alarms", "/rules", "/notices", "/trend", "/verification", "/alarms/a0"])
async def test_who_has_not_logged_in_is_sent_to_do_so(house: House, path: str) -> None:
    app = application(house)
    async with browser(app, house, "viewer") as one:
        one.client.cookies.clear()
        answer = await one.get(path)
        assert answer.status_code == 303 and answer.headers["location"].startswith("/login")
