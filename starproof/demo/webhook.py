"""The demo's phone: a webhook that takes notices, keeps them in a file and hands each to whoever shows them.

One JSON line a notice, with the time at which it came. It stands for the channel that a plant would use (WeCom, DingTalk,
Feishu, e-mail, SMS); what the verifier judges by is its own receiver, not this.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import orjson

from telemetry import clock

MAX_HEAD, MAX_BODY = 16 << 10, 1 << 20
_READ_S = 5.0


class BadRequest(ValueError):
    """Not a POST of a JSON object."""


@contextlib.asynccontextmanager
async def listening(port: int, file: Path, show: Callable[[dict[str, Any]], None]) -> AsyncGenerator[int]:
    """Take notices while the block runs; gives the port. Raises OSError."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_READ_S):
                notice = {"came_ms": clock.now_ms(), **await _notice(reader)}
            await asyncio.to_thread(_keep, file, notice)
            show(notice)
            answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
        except (BadRequest, asyncio.IncompleteReadError, TimeoutError):
            answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        with contextlib.suppress(ConnectionError):
            writer.write(answer)
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=MAX_HEAD)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _notice(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The JSON object of one request. Raises BadRequest."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.LimitOverrunError as error:
        raise BadRequest("its head is too long") from error
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    length = fields.get("content-length", "")
    if not head[0].startswith("POST ") or not length.isdigit() or int(length) > MAX_BODY:
        raise BadRequest("not a POST of known length")
    try:
        body = orjson.loads(await reader.readexactly(int(length)))
    except orjson.JSONDecodeError as error:
        raise BadRequest("not JSON") from error
    if not isinstance(body, dict):
        raise BadRequest("not an object")
    return body


def _keep(file: Path, notice: dict[str, Any]) -> None:
    with file.open("ab") as lines:
        lines.write(orjson.dumps(notice, option=orjson.OPT_APPEND_NEWLINE))
