"""A proxy before the cloud's web service that changes what passes: an answer, or a live message.

It stands for a web service that lies. Whatever is not changed passes as it is, cookies and bodies too.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from starproof.demo.layout import free_ports
from tests.chain.harness import until

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_NOT_PASSED = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "content-encoding"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer on its way to whoever asked."""

    method: str
    path: str
    status: int
    body: bytes


AlterAnswer = Callable[[Answer], bytes]
"""The body in place of an answer's."""
Bridge = Callable[[WebSocket, ClientConnection], Awaitable[None]]
"""Passes messages between a viewer and the cloud until either is gone."""


def as_it_is(answer: Answer) -> bytes:
    return answer.body


async def straight(viewer: WebSocket, cloud: ClientConnection) -> None:
    """What comes is passed on."""

    async def down() -> None:
        async for text in cloud:
            await viewer.send_text(str(text))

    async def up() -> None:
        while True:
            await cloud.send(await viewer.receive_text())

    await first_of(down(), up())


async def first_of(*some: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends; a connection that ends is no error."""
    tasks = [asyncio.create_task(one) for one in some]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception) and not isinstance(
            result, WebSocketDisconnect | ConnectionClosed | RuntimeError
        ):
            raise result


@asynccontextmanager
async def altering(url: str, *, answer: AlterAnswer = as_it_is, bridge: Bridge | None = straight) -> AsyncIterator[str]:
    """A proxy before the service at `url` (http://HOST:PORT) while the block runs; gives its own URL. `bridge` None: it
    refuses every WebSocket."""
    host = url.removeprefix("http://")
    (port,) = free_ports(1)
    mine = f"127.0.0.1:{port}"

    def passed(headers: dict[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in headers.items() if name.lower() not in _NOT_PASSED}
        return {name: value.replace(mine, host) if name == "origin" else value for name, value in kept.items()}

    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:

        async def ask(request: Request) -> Response:
            path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            found = await client.request(
                request.method, path, headers=passed(dict(request.headers)), content=await request.body()
            )
            body = answer(Answer(request.method, path, found.status_code, found.content))
            out = Response(body, found.status_code)
            for name, value in found.headers.multi_items():
                if name.lower() not in _NOT_PASSED:
                    out.headers.append(name, value.replace(host, mine) if name.lower() == "location" else value)
            return out

        async def feed(viewer: WebSocket) -> None:
            if bridge is None:
                await viewer.close()
                return
            wanted = ("authorization", "cookie", "origin")
            headers = passed({name: value for name, value in viewer.headers.items() if name in wanted})
            try:
                cloud = await connect(f"ws://{host}{viewer.url.path}", additional_headers=headers, max_size=None)
            except InvalidStatus:
                await viewer.close()
                return
            await viewer.accept()
            async with cloud:
                await bridge(viewer, cloud)
            with contextlib.suppress(RuntimeError):
                await viewer.close()

        routes = [Route("/{path:path}", ask, methods=METHODS), WebSocketRoute("/{path:path}", feed)]
        config = uvicorn.Config(Starlette(routes=routes), port=port, log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(), name="altering proxy")
        try:
            await until(lambda: server.started, "the proxy to listen")
            yield f"http://{mine}"
        finally:
            server.should_exit = server.force_exit = True
            await task
