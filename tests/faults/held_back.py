"""Live feeds that lie: one that is held back (what it pushes is true, in order, and old), one that repeats itself."""

import asyncio
import json

from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection

from tests.faults.altered import Bridge, first_of


def holding_back(seconds: float) -> Bridge:
    """Every message comes `seconds` late. What is still held when its subscription ends is dropped, so the feed is as silent
    afterwards as it should be."""

    async def bridge(viewer: WebSocket, cloud: ClientConnection) -> None:
        held: asyncio.Queue[tuple[float, str]] = asyncio.Queue()
        ended: set[str] = set()

        async def up() -> None:
            while True:
                text = await viewer.receive_text()
                message = json.loads(text)
                if message["op"] == "unsubscribe":
                    ended.add(message["id"])
                await cloud.send(text)

        await first_of(_take_in(cloud, held, seconds), _hand_out(viewer, held, ended), up())

    return bridge


async def _take_in(cloud: ClientConnection, held: asyncio.Queue[tuple[float, str]], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    async for text in cloud:
        held.put_nowait((loop.time() + seconds, str(text)))


async def _hand_out(viewer: WebSocket, held: asyncio.Queue[tuple[float, str]], ended: set[str]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due, text = await held.get()
        await asyncio.sleep(due - loop.time())
        message = json.loads(text)
        if not (message["type"] in ("snapshot", "data") and message["id"] in ended):
            await viewer.send_text(text)


async def repeating(viewer: WebSocket, cloud: ClientConnection) -> None:
    """Every message of a machine's values has the rows of its first one."""
    first: dict[tuple[str, str], object] = {}

    async def down() -> None:
        async for text in cloud:
            message = json.loads(text)
            if message["type"] == "data":
                message["rows"] = first.setdefault((message["id"], message["device"]), message["rows"])
            await viewer.send_text(json.dumps(message))

    async def up() -> None:
        while True:
            await cloud.send(await viewer.receive_text())

    await first_of(down(), up())
