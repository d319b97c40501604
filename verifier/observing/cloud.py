"""The cloud as a client sees it: HTTP requests and one WebSocket, everything written down as it came.

No answer is an exception here: what the cloud does not answer is recorded with the reason. Nor may a cloud hold up the
inspector or fill his computer: every request ends in time, and what is taken in is limited, each answer and all together.
"""

import asyncio
import contextlib
import json
import math
from typing import Any, Protocol

import httpx
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from verifier.readers.base import Clock

_log = structlog.get_logger(__name__)

API = "/api/v1"
MAX_ANSWER_BYTES = 8 << 20
MAX_ALL_BYTES = 64 << 20
MAX_MESSAGE_BYTES = 8 << 20
MAX_LIVE_BYTES = 16 << 20
MAX_LIVE_MESSAGES = 50_000
MAX_DEPTH = 32
SEND_S = 5.0
CLOSE_S = 2.0
Param = str | int | list[str]
TOO_MUCH, TOO_SLOW = "too_much", "too_slow"


class Cloud:
    """The cloud's API. Nothing here raises for what the cloud or network does."""

    def __init__(self, url: str, token: str, *, timeout_s: float, clock: Clock, parallel: int = 8) -> None:
        self._base = url.rstrip("/") + API
        self._headers = {"Authorization": f"Bearer {token}"}
        # Not compressed: a small answer could unpack to a huge one.
        headers = {**self._headers, "Accept-Encoding": "identity"}
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout_s, trust_env=False)
        self._timeout_s = timeout_s
        self._left = MAX_ALL_BYTES
        self._clock = clock
        self._gate = asyncio.Semaphore(parallel)

    async def get(self, path: str, **params: Param) -> dict[str, Any]:
        """{"before", "after", "status", "body"}; status 0 and "reason" where there was no answer in time or too much of
        one, body None where it is not a JSON object."""
        answer, data = await self._ask("GET", path, params=params)
        return {**answer, "body": _object(data) if answer["status"] else None}

    async def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask for a change (POST, PUT, DELETE …); as `get`."""
        answer, data = await self._ask(method, path, json=body)
        return {**answer, "body": _object(data) if answer["status"] else None}

    async def fetch(self, path: str) -> tuple[dict[str, Any], bytes]:
        """The bytes of an answer that is no JSON; the answer itself is as in `get`, its body None."""
        answer, data = await self._ask("GET", path)
        return {**answer, "body": None}, data if answer["status"] == 200 else b""

    async def _ask(self, method: str, path: str, **content: Any) -> tuple[dict[str, Any], bytes]:
        async with self._gate:
            before = self._clock()
            try:
                async with asyncio.timeout(self._timeout_s):
                    status, data = await self._read(method, path, content)
                reason = ""
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                status, data, reason = 0, b"", type(error).__name__
            except TimeoutError:
                status, data, reason = 0, b"", TOO_SLOW
            except _TooMuch:
                status, data, reason = 0, b"", TOO_MUCH
            after = self._clock()
        answer: dict[str, Any] = {"before": before, "after": after, "status": status}
        return answer | ({"reason": reason} if reason else {}), data

    async def _read(self, method: str, path: str, content: dict[str, Any]) -> tuple[int, bytes]:
        """(status, body as it came over the wire). Raises _TooMuch."""
        data = bytearray()
        async with self._client.stream(method, self._base + path, **content) as answer:
            async for part in answer.aiter_raw():
                self._left -= len(part)
                if len(data) + len(part) > MAX_ANSWER_BYTES or self._left < 0:
                    raise _TooMuch
                data += part
            return answer.status_code, bytes(data)

    async def live(self) -> ClientConnection | str:
        """The live feed's connection, or the reason why there is none."""
        url = "ws" + self._base.removeprefix("http") + "/live"
        try:
            return await connect(
                url,
                additional_headers=self._headers,
                open_timeout=5,
                close_timeout=CLOSE_S,
                max_size=MAX_MESSAGE_BYTES,
                max_queue=16,
                compression=None,
                proxy=None,
            )
        except (OSError, WebSocketException, TimeoutError) as error:
            _log.warning("live feed refused", url=url, reason=type(error).__name__)
            return type(error).__name__

    async def close(self) -> None:
        await self._client.aclose()


class _TooMuch(Exception):
    """More bytes than anything honest needs."""


def _object(data: bytes) -> dict[str, Any] | None:
    """A JSON object of ordinary depth, None for anything else."""
    try:
        found = json.loads(data, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and _shallow(found) else None


def _shallow(found: Any) -> bool:
    level = [found]
    for _ in range(MAX_DEPTH):
        level = [x for one in level for x in (one.values() if isinstance(one, dict) else one)]
        level = [x for x in level if isinstance(x, dict | list)]
        if not level:
            return True
    return False


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


class Feed(Protocol):
    """Whoever can open a live feed: the API's client, or a viewer of the page."""

    async def live(self) -> ClientConnection | str:
        """The connection, or the reason why there is none."""
        ...


class Live:
    """One connection to the live feed with one subscription a machine; `log` holds every message by subscription.

    A message is {"at": receipt in ms, "m": what came}. What belongs to no subscription goes under "". Where more comes than
    is taken in, listening ends, with that as the reason.
    """

    def __init__(self, uids: tuple[str, ...], clock: Clock) -> None:
        self._clock = clock
        self._connection: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._ids = {f"rt-{i}": uid for i, uid in enumerate(uids)}
        self.log: dict[str, list[dict[str, Any]]] = {uid: [] for uid in ("", *uids)}
        self._bytes_left, self._messages_left = MAX_LIVE_BYTES, MAX_LIVE_MESSAGES
        self.reason = ""
        self.subscribed_ms: int | None = None
        self.unsubscribed_ms: int | None = None
        self.closed_ms: int | None = None

    async def open(self, cloud: Feed) -> None:
        """Connect and subscribe; `reason` is set where that fails."""
        made = await cloud.live()
        if isinstance(made, str):
            self.reason = made
            return
        self._connection = made
        self._task = asyncio.create_task(self._read(made), name="live feed")
        self.subscribed_ms = self._clock()
        for name, uid in self._ids.items():
            await self._send({"op": "subscribe", "id": name, "devices": [uid]})

    async def unsubscribe(self) -> None:
        """End every subscription; the connection stays open to hear whether it falls silent."""
        self.unsubscribed_ms = self._clock()
        for name in self._ids:
            await self._send({"op": "unsubscribe", "id": name})

    async def close(self) -> None:
        self.closed_ms = self.closed_ms or self._clock()
        if self._connection is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2 * CLOSE_S):
                    await self._connection.close()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=2)
            self._task.cancel()

    async def _send(self, message: dict[str, Any]) -> None:
        if self._connection is None:
            return
        try:
            async with asyncio.timeout(SEND_S):
                await self._connection.send(json.dumps(message))
        except TimeoutError:
            self.reason = self.reason or TOO_SLOW
        except WebSocketException as error:
            self.reason = self.reason or type(error).__name__

    async def _read(self, connection: ClientConnection) -> None:
        try:
            async for raw in connection:
                at = self._clock()
                data = raw.encode() if isinstance(raw, str) else raw
                self._bytes_left -= len(data)
                self._messages_left -= 1
                if self._bytes_left < 0 or self._messages_left < 0:
                    self.reason = self.reason or TOO_MUCH
                    break
                message = _object(data)
                uid = self._ids.get(str(message.get("id")), "") if message else ""
                if message is None:
                    message = {"type": "unreadable"}
                if message.get("type") != "heartbeat":
                    self.log[uid].append({"at": at, "m": message})
        except WebSocketException as error:
            self.reason = self.reason or type(error).__name__
        self.closed_ms = self._clock()

    def record(self, uid: str) -> dict[str, Any]:
        """What was heard about one machine."""
        return {
            "reason": self.reason,
            "subscribed_ms": self.subscribed_ms,
            "unsubscribed_ms": self.unsubscribed_ms,
            "closed_ms": self.closed_ms,
            "messages": self.log[uid],
        }
