"""The plant's pages as an ordinary viewer sees them: logging in with the form, reading pages, opening the page's own feed.

Redirects are followed within the same origin only, a cookie goes nowhere else, and what is taken in is limited as in
`cloud.py`.
"""

import asyncio
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from verifier.judging.trend import LIVE_ELSEWHERE, NO_FEED
from verifier.markup import Form, Page, read_page
from verifier.observing.cloud import CLOSE_S, MAX_MESSAGE_BYTES, TOO_MUCH, TOO_SLOW
from verifier.plan import PageSettings
from verifier.readers.base import Clock

_log = structlog.get_logger(__name__)

MAX_PAGE_BYTES = 1 << 20
MAX_ALL_BYTES = 24 << 20
MAX_REDIRECTS = 5
LOGIN, HOME = "/login", "/"
UNREACHABLE, REFUSED, NO_FORM = "page_unreachable", "page_login_refused", "page_without_form"


class Viewer:
    """One viewer's session. `fault` says why there is none; nothing is raised for what the web service does."""

    def __init__(self, settings: PageSettings, password: str, *, timeout_s: float, clock: Clock) -> None:
        self._base = settings.url.rstrip("/")
        self._username, self._password = settings.username, password
        self._timeout_s, self._clock = timeout_s, clock
        self._left = MAX_ALL_BYTES
        self._client = httpx.AsyncClient(
            timeout=timeout_s, trust_env=False, follow_redirects=False, headers={"Accept-Encoding": "identity"}
        )
        self._gate = asyncio.Semaphore(4)
        self.fault = ""
        self.details = ""
        self.live_path = ""

    @property
    def origin(self) -> str:
        """scheme://host[:port] of the pages."""
        parts = urlsplit(self._base)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def cookies(self) -> list[dict[str, str]]:
        """The session's cookies, for a browser."""
        return [{"name": c.name, "value": c.value or "", "url": self.origin} for c in self._client.cookies.jar]

    async def log_in(self) -> None:
        """Fill in the form and send it; then look at the first page. Sets `fault` where that does not lead there."""
        form = await self._form()
        if form is None:
            return
        fields = {**form.fields, "username": self._username, "password": self._password}
        sent = await self._request("POST", urljoin(f"{self._base}{LOGIN}", form.action or LOGIN), fields)
        if sent["status"] == 0 or sent["status"] >= 500:
            self.fault, self.details = UNREACHABLE, str(sent.get("reason") or sent["status"])
            return
        home = await self.get(HOME)
        if home["status"] != 200:
            self.fault, self.details = (UNREACHABLE if home["status"] == 0 else REFUSED), str(home["status"])
            return
        page = read_page(home["html"])
        if any("password" in form.fields for form in page.forms):
            self.fault = REFUSED
            return
        self.live_path = page.body.get("data-live", "")

    async def _form(self) -> Form | None:
        shown = await self.get(LOGIN)
        if shown["status"] != 200:
            self.fault, self.details = UNREACHABLE, str(shown.get("reason") or shown["status"])
            return None
        page: Page = read_page(shown["html"])
        form = next((f for f in page.forms if "password" in f.fields), None)
        if form is None:
            self.fault = NO_FORM
        return form

    async def get(self, path: str) -> dict[str, Any]:
        """{"before", "after", "status", "html", "path"}: a page, redirects followed; status 0 and "reason" where there was
        no answer."""
        return await self._request("GET", self._base + path, None)

    async def _request(self, method: str, url: str, fields: dict[str, str] | None) -> dict[str, Any]:
        before, status, data, reason = self._clock(), 0, b"", ""
        async with self._gate:
            try:
                async with asyncio.timeout(self._timeout_s):
                    for _ in range(MAX_REDIRECTS):
                        if self._origin_of(url) != self.origin:
                            status, data, reason = 0, b"", "leads_elsewhere"
                            break
                        status, data, onward = await self._once(method, url, fields)
                        if not 300 <= status < 400 or not onward:
                            break
                        method, url, fields = "GET", urljoin(url, onward), None
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                status, data, reason = 0, b"", type(error).__name__
            except TimeoutError:
                status, data, reason = 0, b"", TOO_SLOW
            except _TooMuch:
                status, data, reason = 0, b"", TOO_MUCH
        html = data.decode("utf-8", errors="replace")
        answer = {"before": before, "after": self._clock(), "status": status, "html": html, "path": urlsplit(url).path}
        return answer | ({"reason": reason} if reason else {})

    @staticmethod
    def _origin_of(url: str) -> str:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc}"

    async def _once(self, method: str, url: str, fields: dict[str, str] | None) -> tuple[int, bytes, str]:
        data = bytearray()
        async with self._client.stream(method, url, data=fields, headers={"Origin": self.origin}) as answer:
            async for part in answer.aiter_raw():
                self._left -= len(part)
                if len(data) + len(part) > MAX_PAGE_BYTES or self._left < 0:
                    raise _TooMuch
                data += part
            return answer.status_code, bytes(data), answer.headers.get("location", "")

    async def live(self) -> ClientConnection | str:
        """The connection of the page's own live feed, opened as the page does: with the cookie and the page's origin. Else
        the reason why there is none."""
        if self.fault:
            return self.fault
        if not self.live_path:
            return NO_FEED
        url = urljoin(f"{self._base}{HOME}", self.live_path)
        if self._origin_of(url) != self.origin:
            return LIVE_ELSEWHERE
        cookie = "; ".join(f"{c.name}={c.value}" for c in self._client.cookies.jar)
        try:
            return await connect(
                "ws" + url.removeprefix("http"),
                additional_headers={"Cookie": cookie},
                origin=self.origin,  # type: ignore[arg-type]
                open_timeout=5,
                close_timeout=CLOSE_S,
                max_size=MAX_MESSAGE_BYTES,
                max_queue=16,
                compression=None,
                proxy=None,
            )
        except (OSError, WebSocketException, TimeoutError) as error:
            _log.warning("the page's live feed refused", url=url, reason=type(error).__name__)
            return type(error).__name__

    def record(self) -> dict[str, Any]:
        """What became of the login."""
        return {"planned": True, "fault": self.fault, "details": self.details, "live": self.live_path}

    async def close(self) -> None:
        await self._client.aclose()


class _TooMuch(Exception):
    """More bytes than any page needs."""


async def open_viewer(settings: PageSettings | None, password: str, *, timeout_s: float, clock: Clock) -> Viewer | None:
    """A viewer who has logged in, or with a fault; None where the plan names no page."""
    if settings is None:
        return None
    viewer = Viewer(settings, password, timeout_s=timeout_s, clock=clock)
    await viewer.log_in()
    return viewer
