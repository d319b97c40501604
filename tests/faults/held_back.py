"""A proxy before the cloud's web service that holds the live feed back: what it pushes is true, in order, and old.

Questions (GET) are passed on at once. Messages still held when their subscription ends are dropped, so the feed is as silent
afterwards as it should be.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

_FEED = "/live"


@asynccontextmanager
async def holding_back(url: str, seconds: float) -> AsyncIterator[str]:
    """A proxy before the service at `url` (http://HOST:PORT) while the block runs. Gives the proxy's own URL."""
    async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client:

        async def ask(_: ServerConnection, request: Request) -> Response | None:
            if request.path.endswith(_FEED):
                return None
            answer = await client.get(request.path, headers=_authorization(request))
            headers = Headers(
                {"Content-Type": answer.headers["content-type"], "Content-Length": str(len(answer.content))}
            )
            return Response(answer.status_code, answer.reason_phrase, headers, answer.content)

        async def feed(viewer: ServerConnection) -> None:
            request = viewer.request
            assert request is not None
            headers = _authorization(request)
            async with connect("ws" + url.removeprefix("http") + request.path, additional_headers=headers) as cloud:
                held: asyncio.Queue[tuple[float, str | bytes]] = asyncio.Queue()
                ended: set[str] = set()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_take_in(cloud, held, seconds), name="take in")
                    tasks.create_task(_hand_out(viewer, held, ended), name="hand out")
                    async for text in viewer:
                        message = json.loads(text)
                        if message["op"] == "unsubscribe":
                            ended.add(message["id"])
                        await cloud.send(text)
                    raise _Gone

        async def watch(viewer: ServerConnection) -> None:
            try:
                await feed(viewer)
            except* (_Gone, ConnectionClosed):
                pass

        async with serve(watch, "127.0.0.1", 0, process_request=ask) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            yield f"http://127.0.0.1:{port}"


class _Gone(Exception):
    """The viewer has closed the feed."""


def _authorization(request: Request) -> dict[str, str]:
    return {"Authorization": request.headers["Authorization"]}


async def _take_in(cloud: ClientConnection, held: asyncio.Queue[tuple[float, str | bytes]], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    async for text in cloud:
        held.put_nowait((loop.time() + seconds, text))


async def _hand_out(viewer: ServerConnection, held: asyncio.Queue[tuple[float, str | bytes]], ended: set[str]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due, text = await held.get()
        await asyncio.sleep(due - loop.time())
        message = json.loads(text)
        if not (message["type"] in ("snapshot", "data") and message["id"] in ended):
            await viewer.send(text)
