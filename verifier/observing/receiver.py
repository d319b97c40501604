"""The verifier's own receiver of notices: a small HTTP server with a secret path, so that nobody else's word counts.

What comes is written down with the time of its receipt; whoever asks for another path gets 404 and is counted. A notice is
a web hook as apprise sends it (json://): a JSON object whose `message` ends with a line that is JSON itself.
"""

import asyncio
import contextlib
import json
import secrets
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import h11
import httpx
import structlog

from verifier.readers.base import Clock

_log = structlog.get_logger(__name__)

MAX_BODY = 64 << 10
MAX_NOTICES = 500
MAX_CONNECTIONS = 32
REQUEST_S = 10.0
SELF_TEST_S = 5.0
SELF_TEST = "self-test"


class Receiver:
    """`listen` is host:port (port 0: any free one); `url` the json:// address under which the cloud reaches it, None where
    that is the same. `fault` says why there is none."""

    def __init__(self, listen: str, url: str | None, clock: Clock) -> None:
        self._listen, self._url, self._clock = listen, url, clock
        self._secret = secrets.token_urlsafe(24)
        self._server: asyncio.Server | None = None
        self._busy = 0
        self.notices: list[dict[str, Any]] = []
        self.strays = 0
        self.fault = ""
        self.tested: list[str] = []

    async def open(self) -> None:
        """Listen. `fault` is set where that cannot be."""
        host, _, port = self._listen.rpartition(":")
        try:
            self._server = await asyncio.start_server(self._serve, host.strip("[]"), int(port))
        except (OSError, ValueError, OverflowError) as error:
            self.fault = "cannot_listen"
            _log.warning("receiver of notices cannot listen", listen=self._listen, reason=type(error).__name__)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), 2)

    @property
    def url(self) -> str:
        """The address for the cloud's channel, secret path and all."""
        if self._url is None:
            host, port = self._bound()
            return f"json://{host}:{port}/{self._secret}"
        parts = urlsplit(self._url)
        return urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/{self._secret}", parts.query, ""))

    def _bound(self) -> tuple[str, int]:
        sockets = self._server.sockets if self._server is not None else ()
        host, port = sockets[0].getsockname()[:2] if sockets else ("127.0.0.1", 0)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return (f"[{host}]" if ":" in host else host), port

    async def self_test(self) -> str:
        """Post to the address that the cloud will be given, and hear it. Why not, "" where it was heard."""
        if self.fault:
            return self.fault
        parts = urlsplit(self.url)
        scheme = "https" if parts.scheme == "jsons" else "http"
        word = secrets.token_hex(8)
        try:
            async with asyncio.timeout(SELF_TEST_S), httpx.AsyncClient(trust_env=False, verify=False) as client:
                answer = await client.post(
                    urlunsplit((scheme, parts.netloc, parts.path, "", "")), json={"message": f"{SELF_TEST} {word}"}
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return type(error).__name__
        return "" if answer.status_code == 200 and word in self.tested else "not_heard"

    def record(self) -> dict[str, Any]:
        """What came: {"notices": [{"at", "title", "said", "size"}, …], "strays"}. The secret is not in it."""
        return {"notices": list(self.notices), "strays": self.strays, "fault": self.fault}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._busy >= MAX_CONNECTIONS:
            writer.close()
            return
        self._busy += 1
        try:
            async with asyncio.timeout(REQUEST_S):
                await self._answer(reader, writer)
        except (TimeoutError, OSError, h11.ProtocolError):
            self.strays += 1
        finally:
            self._busy -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        link = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_BODY)
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = link.next_event()
            if event is h11.NEED_DATA:
                if link.they_are_waiting_for_100_continue:
                    writer.write(link.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                link.receive_data(await reader.read(16 << 10))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY:
                    break
            elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
                break
            else:
                return
        at = self._clock()
        known = request is not None and self._is_mine(request)
        kept = known and len(body) <= MAX_BODY and self._keep(at, bytes(body))
        if not kept:
            self.strays += 1
        status = 200 if kept else 413 if known else 404
        with contextlib.suppress(h11.ProtocolError):
            head = h11.Response(status_code=status, headers=[("Content-Length", "0"), ("Connection", "close")])
            writer.write((link.send(head) or b"") + (link.send(h11.EndOfMessage()) or b""))
            await writer.drain()

    def _is_mine(self, request: h11.Request) -> bool:
        path = request.target.decode("ascii", "replace").partition("?")[0].rstrip("/")
        return request.method == b"POST" and secrets.compare_digest(path.rpartition("/")[2], self._secret)

    def _keep(self, at: int, body: bytes) -> bool:
        try:
            raw = json.loads(body)
        except (ValueError, RecursionError):
            raw = None
        said = raw if isinstance(raw, dict) else {}
        message = said.get("message")
        text = message if isinstance(message, str) else ""
        if text.startswith(f"{SELF_TEST} "):
            self.tested.append(text.removeprefix(f"{SELF_TEST} "))
            return True
        if len(self.notices) >= MAX_NOTICES:
            return False
        self.notices.append(
            {"at": at, "title": str(said.get("title") or "")[:200], "said": told(text), "size": len(body)}
        )
        return True


def told(message: str) -> dict[str, Any] | None:
    """What the last line of a message says to programs: {"starproof": {…}}; None where it does not."""
    line = message.rstrip().rpartition("\n")[2]
    try:
        raw = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    said = raw.get("starproof") if isinstance(raw, dict) else None
    if not isinstance(said, dict):
        return None
    plain = (str, int, float, bool, type(None))
    return {k: v for k, v in list(said.items())[:40] if isinstance(v, plain) and len(str(v)) < 1000}
