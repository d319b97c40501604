"""A cloud that wants to hang the inspector's computer or to fill it: real sockets, and always an answer with a reason."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.plant import eventually
from verifier.evidence import canonical
from verifier.observing import cloud as observing
from verifier.observing.cloud import Cloud, Live
from verifier.readers.base import steady_clock

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextlib.asynccontextmanager
async def answering(
    answer: Callable[[asyncio.StreamWriter], Awaitable[None]], *, timeout_s: float = 3.0
) -> AsyncGenerator[Cloud]:
    """A server that answers every request in its own way, and a client of it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = Cloud(f"http://127.0.0.1:{port}", "token", timeout_s=timeout_s, clock=steady_clock())
    try:
        yield client
    finally:
        await client.close()
        server.close()


async def test_an_answer_that_drips_ends_in_time() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with answering(drip, timeout_s=0.4) as client, asyncio.timeout(5):
        answer = await client.get("/devices")
    assert (answer["status"], answer["body"], answer["reason"]) == (0, None, "too_slow")
    assert answer["after"] - answer["before"] < 3000


@pytest.mark.parametrize("honest_length", [True, False])
async def test_an_answer_without_end_is_cut_off(honest_length: bool) -> None:
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(HEAD + (b"Content-Length: 99999999999\r\n\r\n" if honest_length else b"\r\n"))
        while True:
            writer.write(bytes(1 << 16))
            await writer.drain()
            sent += 1 << 16

    async with answering(flood, timeout_s=20) as client:
        answer = await client.get("/devices")
    assert (answer["status"], answer["reason"]) == (0, "too_much")
    assert sent < 4 * observing.MAX_ANSWER_BYTES


async def test_many_large_answers_are_limited_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "MAX_ALL_BYTES", 1 << 20)

    async def large(writer: asyncio.StreamWriter) -> None:
        body = json.dumps({"rows": "x" * (300 << 10)}).encode()
        writer.write(HEAD + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()

    async with answering(large) as client:
        answers = [await client.get("/history") for _ in range(5)]
    assert [a["status"] for a in answers] == [200, 200, 200, 0, 0]
    assert answers[-1]["reason"] == "too_much"


@pytest.mark.parametrize("depth", [20, 900, 100_000])
async def test_a_deep_answer_is_no_answer(depth: int) -> None:
    async def deep(writer: asyncio.StreamWriter) -> None:
        body = b'{"a":' * depth + b"1" + b"}" * depth
        writer.write(HEAD + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()

    async with answering(deep) as client:
        answer = await client.get("/devices")
    assert (answer["body"] is None) == (depth > 20)
    canonical({"in": {"evidence": answer}})


@contextlib.asynccontextmanager
async def feed(handler: Callable[[ServerConnection], Awaitable[None]]) -> AsyncGenerator[tuple[Cloud, Live]]:
    clock = steady_clock()
    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        client = Cloud(f"http://127.0.0.1:{port}", "token", timeout_s=2, clock=clock)
        live = Live(("m1",), clock)
        try:
            await live.open(client)
            yield client, live
        finally:
            async with asyncio.timeout(10):
                await live.close()
            await client.close()


async def test_a_feed_without_end_is_cut_off_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "MAX_LIVE_BYTES", 2 << 20)
    monkeypatch.setattr(observing, "MAX_LIVE_MESSAGES", 500)

    async def flood(connection: ServerConnection) -> None:
        while True:
            await connection.send(json.dumps({"type": "data", "id": "rt-0", "seq": 1, "rows": [["x" * 10_000]]}))

    async with feed(flood) as (_, live):
        await eventually(lambda: live.closed_ms is not None, within_s=10, what="the end of listening")
    record: dict[str, Any] = live.record("m1")
    assert record["reason"] == "too_much"
    assert 0 < len(record["messages"]) <= 500
    assert len(canonical(record)) < 3 << 20


async def test_a_feed_of_very_many_small_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "MAX_LIVE_MESSAGES", 100)

    async def flood(connection: ServerConnection) -> None:
        while True:
            await connection.send('{"type":"heartbeat"}')

    async with feed(flood) as (_, live):
        await eventually(lambda: live.closed_ms is not None, within_s=10, what="the end of listening")
    assert live.record("m1")["reason"] == "too_much"


async def test_a_feed_that_never_says_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "CLOSE_S", 0.3)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(30)

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    clock = steady_clock()
    client = Cloud(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "t", timeout_s=1, clock=clock)
    live = Live(("m1",), clock)
    async with asyncio.timeout(9):
        await live.open(client)
        await live.unsubscribe()
        await live.close()
    assert live.record("m1")["reason"]
    await client.close()
    server.close()
