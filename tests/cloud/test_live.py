"""The WebSocket: no holes, no strangers, no stalled neighbours, silence after unsubscribing."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cloud import live_socket
from cloud.live import Client, LiveBatch, LiveHub
from tests.cloud.conftest import FOREIGN, House
from tests.ingest.edge_kit import ENTERPRISE, WALL


def batch(number: int, device: str = "edge-1-boiler", enterprise: str = ENTERPRISE) -> LiveBatch:
    return LiveBatch(enterprise, device, False, WALL + number, [["p", WALL + number, float(number), 0]])


async def ask(socket: ClientConnection, op: str, name: str = "a", **more: Any) -> None:
    await socket.send(json.dumps({"op": op, "id": name, **more}))


async def heard(socket: ClientConnection) -> dict[str, Any]:
    return json.loads(await asyncio.wait_for(socket.recv(), 10))


async def told(socket: ClientConnection) -> dict[str, Any]:
    """The next message that is no heartbeat."""
    while (message := await heard(socket))["type"] == "heartbeat":
        pass
    return message


async def test_a_snapshot_then_data_numbered_without_holes(house: House) -> None:
    await house.commit(1.25, at_ms=WALL)
    async with house.live() as socket:
        await ask(socket, "subscribe", devices=[house.device])
        assert (await told(socket)) | {"sent_ms": 0} == {"type": "subscribed", "id": "a", "sent_ms": 0}
        snapshot = await told(socket)
        assert (snapshot["type"], snapshot["seq"], snapshot["device"]) == ("snapshot", 1, house.device)
        assert (snapshot["rows"], snapshot["simulated"]) == ([["p", WALL, 1.25, 0]], False)
        for i in range(50):
            house.services.hub.publish(batch(i))
        got = [await told(socket) for _ in range(50)]
        assert [m["seq"] for m in got] == list(range(2, 52))
        assert [m["rows"] for m in got] == [[["p", WALL + i, float(i), 0]] for i in range(50)]
        assert {m["type"] for m in got} == {"data"}
        assert all(m["arrival_ms"] == WALL + i and m["sent_ms"] > 0 for i, m in enumerate(got))


async def test_silence_after_unsubscribing(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    async with house.live() as socket:
        for name in ("a", "b"):
            await ask(socket, "subscribe", name, devices=[house.device])
            assert [(await told(socket))["type"] for _ in range(2)] == ["subscribed", "snapshot"]
        await ask(socket, "unsubscribe", "a")
        assert (await told(socket))["type"] == "unsubscribed"
        for i in range(20):
            house.services.hub.publish(batch(i))
        got = [await told(socket) for _ in range(20)]
        assert {m["id"] for m in got} == {"b"}
        await ask(socket, "unsubscribe", "a")
        assert (await told(socket))["type"] == "error"
        await ask(socket, "subscribe", "a", devices=[house.device])
        assert (await told(socket))["type"] == "subscribed"
        assert (await told(socket))["seq"] == 1


async def test_strangers_hear_nothing(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    for token in ("guess", "old"):
        with pytest.raises(InvalidStatus) as refused:
            async with house.live(token):
                pass
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body)["error"]["code"] == "bad_token"
    async with house.live("foreign") as socket:
        await ask(socket, "subscribe", devices=[house.device])
        assert (await told(socket))["reason"] == f"there is no device {house.device}"
    async with house.live() as socket:
        await ask(socket, "subscribe", devices=[house.device])
        await told(socket), await told(socket)
        house.services.hub.publish(batch(1, enterprise=FOREIGN))
        house.services.hub.publish(batch(2, device="another"))
        house.services.hub.publish(batch(3))
        assert (await told(socket))["rows"] == [["p", WALL + 3, 3.0, 0]]


@pytest.mark.parametrize(
    "nonsense",
    ["", "{", "[]", "null", '{"op": "subscribe"}', '{"op": "fly", "id": "a"}', '{"op": "subscribe", "id": "a", "devices": []}',
     '{"op": "subscribe", "id": 5, "devices": ["x"]}', b"\xff\x00", '{"op":"unsubscribe","id":"a","extra":1}'],
)  # fmt: skip
async def test_nonsense_is_answered_and_harms_nobody(house: House, nonsense: str | bytes) -> None:
    await house.commit(1.0, at_ms=WALL)
    async with house.live() as socket:
        await socket.send(nonsense)
        assert (await told(socket))["type"] == "error"
        await ask(socket, "subscribe", devices=[house.device])
        assert (await told(socket))["type"] == "subscribed"
        await ask(socket, "subscribe", devices=[house.device])
        assert [(await told(socket))["type"] for _ in range(2)] == ["snapshot", "error"]  # the id is in use


async def test_a_slow_client_is_let_go_and_stalls_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_socket, "QUEUE", 100)
    monkeypatch.setattr(live_socket, "HEARTBEAT_S", 3600)
    await house.commit(1.0, at_ms=WALL)
    big = LiveBatch(ENTERPRISE, house.device, False, WALL, [["p", WALL + i, 0.5, 0] for i in range(2000)])
    async with house.live() as slow, house.live() as quick:
        for socket in (slow, quick):
            await ask(socket, "subscribe", devices=[house.device])
            await told(socket), await told(socket)
        slow.transport.pause_reading()
        sent = 0
        while house.services.hub.clients == 2:
            house.services.hub.publish(big)
            sent += 1
            assert (await told(quick))["seq"] == sent + 1  # nobody else waits
            assert sent < 20_000
        slow.transport.resume_reading()
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await asyncio.wait_for(slow.recv(), 20)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "too slow: 100 messages behind")
        house.services.hub.publish(batch(1))
        assert (await told(quick))["seq"] == sent + 2


async def test_heartbeats_when_there_is_nothing_to_say(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_socket, "HEARTBEAT_S", 0.05)
    async with house.live() as socket:
        got = [await heard(socket) for _ in range(3)]
    assert all(set(m) == {"type", "sent_ms"} and m["type"] == "heartbeat" for m in got)


async def test_a_token_that_ends_ends_the_connection(house: House) -> None:
    house.token("plant", hours=3 / 3600)
    async with house.live() as socket:
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await told(socket)
        assert closed.value.rcvd is not None and closed.value.rcvd.reason == "the token has ended"


async def test_a_token_that_is_revoked_ends_the_connection(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_socket, "HEARTBEAT_S", 0.05)
    async with house.live() as socket:
        await heard(socket)
        house.revoke("plant")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await told(socket)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 3000


async def test_who_leaves_is_forgotten(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    for _ in range(3):
        async with house.live() as socket:
            await ask(socket, "subscribe", devices=[house.device])
            await told(socket)
    deadline = asyncio.get_running_loop().time() + 10
    while house.services.hub.clients:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


async def test_what_comes_during_the_snapshot_follows_it() -> None:
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def latest(_enterprise: str, _device: str) -> list[list[Any]]:
        reading.set()
        await go_on.wait()
        return [["p", WALL, 1.0, 0]]

    hub, client = LiveHub(latest), Client(ENTERPRISE)
    task = asyncio.create_task(hub.subscribe(client, "a", {"d": True}))
    await reading.wait()
    hub.publish(batch(1, device="d"))
    hub.publish(batch(2, device="d"))
    go_on.set()
    await task
    hub.publish(batch(3, device="d"))
    got = [await client.next() for _ in range(5)]
    assert [m["type"] for m in got] == ["subscribed", "snapshot", "data", "data", "data"]
    assert [m.get("seq") for m in got] == [None, 1, 2, 3, 4]
    assert got[1]["simulated"] is True
