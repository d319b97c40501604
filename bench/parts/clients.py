"""Live clients in a process of their own: `count` WebSockets, each subscribed to one machine, and the lag of every message.

python -m bench.parts.clients URL TOKEN_FILE COUNT SECONDS DEVICE [DEVICE …]      prints one JSON line
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import orjson
from websockets.asyncio.client import connect

CONNECT_AT_ONCE = 20


async def client(
    url: str, token: str, number: int, device: str, gate: asyncio.Semaphore, ready: asyncio.Barrier, seconds: float
) -> list[float]:
    """Milliseconds from the commit of a frame to its arrival here, for each message pushed while all are connected."""
    async with gate:
        socket = await connect(url, additional_headers={"Authorization": f"Bearer {token}"}, compression=None)
    lags: list[float] = []
    async with socket:
        await socket.send(orjson.dumps({"op": "subscribe", "id": f"c{number}", "devices": [device]}).decode())
        while orjson.loads(await socket.recv())["type"] != "snapshot":
            pass
        reader = asyncio.create_task(_listen(socket, lags), name=f"client {number}")
        await ready.wait()
        lags.clear()
        await asyncio.sleep(seconds)
        measured = list(lags)
        reader.cancel()
    return measured


async def _listen(socket, lags: list[float]) -> None:
    async for text in socket:
        now = time.time() * 1000
        message = orjson.loads(text)
        if message["type"] == "data":
            lags.append(now - message["arrival_ms"])


async def main(url: str, token: str, count: int, seconds: float, devices: list[str]) -> None:
    gate, ready = asyncio.Semaphore(CONNECT_AT_ONCE), asyncio.Barrier(count + 1)
    clients = [
        asyncio.create_task(client(url, token, n, devices[n % len(devices)], gate, ready, seconds))
        for n in range(count)
    ]
    await ready.wait()
    print(json.dumps({"began": time.time()}), flush=True)
    lags = sorted(lag for one in await asyncio.gather(*clients) for lag in one)
    per_second = len(lags) / count / seconds
    quantiles = {f"p{q}": lags[min(len(lags) - 1, int(len(lags) * q / 100))] for q in (50, 95, 99)}
    print(json.dumps({"messages": len(lags), "per_client_per_s": per_second, **quantiles, "ended": time.time()}))


if __name__ == "__main__":
    _, where, token_file, how_many, how_long, *uids = sys.argv
    secret = Path(token_file).read_text(encoding="utf-8").strip()
    asyncio.run(main(where, secret, int(how_many), float(how_long), uids))
