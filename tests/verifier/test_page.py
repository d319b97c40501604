"""The plant's pages as a viewer: a small web app over real sockets, with form, cookie, origin and live feed."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, TypeVar
from urllib.parse import parse_qs

import pytest
import uvicorn
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from tests.plant import eventually
from tests.verifier.paper_cloud import PaperCloud, trend_page
from tests.verifier.toy import free_port
from verifier.markup import read_page
from verifier.observing.browser import find_browser, look_at
from verifier.observing.cloud import Live
from verifier.observing.page import Viewer
from verifier.plan import PageSettings
from verifier.readers.base import steady_clock

SESSION, CSRF = "s3ss10n", "t0ken"
FORM = f"""<form method=post action="/login">
<input type=hidden name=csrf value="{CSRF}"><input type=hidden name=next value="/">
<input name=username><input type=password name=password></form>"""
# Draws the chart as a page of ours does: by script, from what stands in the page.
SCRIPT = """const c = document.createElement('canvas'); c.width = 300; c.height = 100;
document.querySelector('#chart').append(c); const x = c.getContext('2d');
x.fillStyle = '#456'; x.fillRect(10, 10, 80, 40); x.fillStyle = '#c30'; x.fillRect(100, 20, 90, 60);"""


@dataclass
class Web:
    """Pages of a paper cloud. `live` is what <body data-live> says; `draws` whether the page's script runs."""

    port: int = field(default_factory=free_port)
    live: str = "/live"
    draws: bool = True
    login: str = FORM
    big: int = 0
    onward: str = "/"
    seen: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def app(self) -> FastAPI:
        app, cloud = FastAPI(), PaperCloud()

        @app.middleware("http")
        async def guard(request: Request, call_next: Any) -> Response:
            if request.url.path not in ("/login", "/draw.js") and request.cookies.get("starproof_session") != SESSION:
                return RedirectResponse("/login", 303)
            return await call_next(request)

        @app.get("/login")
        def form() -> HTMLResponse:
            return HTMLResponse(f"<body>{self.login}{' ' * self.big}</body>")

        @app.post("/login")
        async def log_in(request: Request) -> Response:
            said = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
            if (said.get("username"), said.get("password"), said.get("csrf")) != ("观众", "secret", CSRF):
                return HTMLResponse(f"<body>{FORM}</body>", 401)
            answer = RedirectResponse(self.onward, 303)
            answer.set_cookie("starproof_session", SESSION, httponly=True, samesite="lax")
            return answer

        @app.get("/")
        def home() -> HTMLResponse:
            return HTMLResponse(f'<body data-live="{self.live}"><h1>总览</h1></body>')

        @app.get("/draw.js")
        def script() -> Response:
            return Response(SCRIPT if self.draws else "", media_type="text/javascript")

        @app.get("/trend")
        def trend(request: Request) -> HTMLResponse:
            asked = request.query_params
            html = trend_page(cloud, asked.getlist("s"), int(asked["from"]), int(asked["to"]))
            policy = {"Content-Security-Policy": "default-src 'none'; script-src 'self'; img-src 'self' data:"}
            return HTMLResponse(html.replace("</main>", '</main><script src="/draw.js"></script>'), headers=policy)

        @app.get("/missing")
        def missing() -> JSONResponse:
            return JSONResponse({}, 404)

        @app.websocket("/live")
        async def live(socket: WebSocket) -> None:
            own = f"http://127.0.0.1:{self.port}"
            self.seen.append(dict(socket.headers))
            if socket.cookies.get("starproof_session") != SESSION or socket.headers.get("origin") != own:
                await socket.close(1008)
                return
            await socket.accept()
            with contextlib.suppress(Exception):  # until the viewer goes
                while True:
                    asked = json.loads(await socket.receive_text())
                    await socket.send_json({"type": "snapshot", "id": asked["id"], "seq": 1, "rows": []})

        return app


T = TypeVar("T", bound=Web)


@contextlib.asynccontextmanager
async def serving(web: T) -> AsyncGenerator[T]:
    server = uvicorn.Server(
        uvicorn.Config(web.app(), host="127.0.0.1", port=web.port, log_level="error", ws="websockets-sansio")
    )
    task = asyncio.create_task(server.serve(), name="pages")
    try:
        await eventually(lambda: server.started, within_s=15)
        yield web
    finally:
        server.should_exit = True
        await asyncio.wait({task}, timeout=5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def viewing(web: Web, *, password: str = "secret") -> AsyncGenerator[Viewer]:
    settings = PageSettings(url=f"http://127.0.0.1:{web.port}", username="观众", password_file="-")
    viewer = Viewer(settings, password, timeout_s=3, clock=steady_clock())
    try:
        await viewer.log_in()
        yield viewer
    finally:
        await viewer.close()


async def test_a_viewer_logs_in_with_the_form_and_reads_pages() -> None:
    async with serving(Web()) as web, viewing(web) as viewer:
        assert viewer.record() == {"planned": True, "fault": "", "details": "", "live": "/live"}
        seen = await viewer.get("/trend?s=m1:active_power&from=1700000010000&to=1700000040000")
        assert seen["status"] == 200
        page = read_page(seen["html"])
        assert page.by_id["chart"]["data-from"] == "1700000010000"
        assert set(page.features["m1:active_power"]) == {"min", "max", "mean", "std", "trend"}
        assert (await viewer.get("/missing"))["status"] == 404
        assert "secret" not in json.dumps(viewer.record())


async def test_the_pages_own_feed_is_opened_with_cookie_and_origin() -> None:
    async with serving(Web()) as web, viewing(web) as viewer:
        live = Live(("m1",), steady_clock())
        await live.open(viewer)
        await eventually(lambda: bool(live.log["m1"]), within_s=5, what="a snapshot")
        await live.close()
        assert live.reason == ""
        assert live.log["m1"][0]["m"]["type"] == "snapshot"
        assert web.seen[0]["origin"] == viewer.origin
        assert "authorization" not in web.seen[0]


@pytest.mark.parametrize(
    ("web", "reason"),
    [
        (Web(live=""), "page_not_live"),
        (Web(live="http://127.0.0.1:9/live"), "page_live_elsewhere"),
        (Web(live="/nothing"), "InvalidStatus"),
    ],
)
async def test_a_page_without_a_feed_of_its_own(web: Web, reason: str) -> None:
    async with serving(web), viewing(web) as viewer:
        assert viewer.fault == ""
        assert await viewer.live() == reason


async def test_a_wrong_password() -> None:
    async with serving(Web()) as web, viewing(web, password="guess") as viewer:
        assert viewer.fault == "page_login_refused"
        assert await viewer.live() == "page_login_refused"


@pytest.mark.parametrize(
    ("web", "fault", "details"),
    [
        (Web(login="<p>closed</p>"), "page_without_form", ""),
        (Web(big=2 << 20), "page_unreachable", "too_much"),
        (Web(login=FORM.replace("/login", "http://127.0.0.1:9/steal")), "page_unreachable", "leads_elsewhere"),
        (Web(onward="http://127.0.0.1:9/"), "page_unreachable", "leads_elsewhere"),
    ],
)
async def test_a_login_that_leads_nowhere(web: Web, fault: str, details: str) -> None:
    async with serving(web), viewing(web) as viewer:
        assert (viewer.fault, viewer.details) == (fault, details)


async def test_nobody_listens() -> None:
    async with viewing(Web()) as viewer:
        assert viewer.fault == "page_unreachable"
        assert viewer.details == "ConnectError"


async def test_a_page_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    web = Web(port=server.sockets[0].getsockname()[1])
    settings = PageSettings(url=f"http://127.0.0.1:{web.port}", username="观众", password_file="-")
    viewer = Viewer(settings, "secret", timeout_s=0.4, clock=steady_clock())
    async with asyncio.timeout(5):
        await viewer.log_in()
    assert (viewer.fault, viewer.details) == ("page_unreachable", "too_slow")
    await viewer.close()
    server.close()


# ---------------------------------------------------------------- a browser


def has_browser() -> bool:
    return find_spec("playwright") is not None and find_browser(None) is not None


needs_browser = pytest.mark.skipif(not has_browser(), reason="no browser here")
PATH = "/trend?s=m1:active_power&s=m1:winding_temp_u&from=1700000010000&to=1700000040000"


@needs_browser
@pytest.mark.parametrize("draws", [True, False])
async def test_a_browser_sees_whether_the_chart_was_drawn(draws: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.observing.browser.DRAWN_S", 0.5)
    async with serving(Web(draws=draws)) as web, viewing(web) as viewer:
        urls = {"m1": viewer.origin + PATH}
        reason, shown = await look_at(urls, viewer.cookies, browser=None, within_s=20)
    assert reason == ""
    seen = shown["m1"]
    assert seen["reason"] == ""
    assert len(seen["query"]) == 64
    assert set(seen["features"]) == {"m1:active_power", "m1:winding_temp_u"}
    colours = [c["colours"] for c in seen["canvas"]]
    assert (colours[0] >= 2) if draws else (colours == [])
    assert len(seen["picture_sha256"]) == 64


@needs_browser
async def test_a_page_that_does_not_answer_a_browser() -> None:
    reason, shown = await look_at({"m1": "http://127.0.0.1:9/"}, [], browser=None, within_s=5)
    assert reason == ""
    assert shown["m1"]["reason"].startswith("page: ")


async def test_no_browser_is_no_exception(tmp_path: Any) -> None:
    assert await look_at({"m1": "http://x/"}, [], browser=str(tmp_path / "none"), within_s=1) == ("no_browser", {})
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    if has_browser():
        reason, shown = await look_at({"m1": "http://x/"}, [], browser=str(broken), within_s=1)
        assert reason == "browser_failed"
        assert shown["m1"] == {"reason": "browser_failed"}


# ---------------------------------------------------------------- reading pages


def test_a_page_is_read_without_running_it() -> None:
    text = """<html><body data-live=/live data-role=viewer><table id=other><tr data-series="a:b">
    <td data-feature=min data-value=9></td></tr></table>
    <div id=chart data-query=ab data-from=1 data-to=2><div id=chart data-query=second></div></div>
    <table id=features><thead><tr><th>x</thead><tr data-series="m:p"><th>功率</th>
    <td data-feature="min" data-value="1.5"><b>1.50</b>
    kW</td><td data-feature=max data-value=2></td></tr></table>"""
    page = read_page(text)
    assert page.body["data-live"] == "/live"
    assert page.by_id["chart"]["data-query"] == "ab"
    assert set(page.features) == {"m:p"}
    assert page.features["m:p"]["min"][0] == "1.5"
    assert " ".join(page.features["m:p"]["min"][1].split()) == "1.50 kW"
    assert page.features["m:p"]["max"] == ("2", "")


@pytest.mark.parametrize(
    "text", ["", "<", "<![", "<td data-feature=x", "&#x110000;", "<!DOCTYPE [", "\x00" * 100, "<a" * 5000]
)
def test_whatever_a_page_is_reading_it_ends(text: str) -> None:
    read_page(text)
    read_page(f"<body>{text}")
