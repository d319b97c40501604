"""The WebSocket /live: reads what a client asks for, writes what its queue holds, and ends when either side must."""

import asyncio
import contextlib
from typing import Any, Literal

import orjson
import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import Field, TypeAdapter, ValidationError

from cloud import fleet
from cloud.auth import Principal, authenticate, still_good
from cloud.errors import ApiError, respond, translate
from cloud.live import HEARTBEAT_S, MAX_DEVICES, MAX_SUBSCRIPTIONS, QUEUE, Client
from cloud.services import Services, services_of
from ingest.historian.base import HistorianError
from telemetry import clock
from telemetry.points import Strict

router = APIRouter()
_log = structlog.get_logger(__name__)

_TOO_SLOW, _TOKEN_ENDED = 1013, 3000  # RFC 6455 registry: try again later; unauthorized
_CLOSE_S = 2.0
_ENDED = "the token has ended"


class Subscribe(Strict):
    """A client's wish."""

    op: Literal["subscribe"]
    id: str = Field(min_length=1, max_length=64)
    devices: list[str] = Field(min_length=1, max_length=MAX_DEVICES)


class Unsubscribe(Strict):
    """A client's wish."""

    op: Literal["unsubscribe"]
    id: str = Field(min_length=1, max_length=64)


_WISH: TypeAdapter[Subscribe | Unsubscribe] = TypeAdapter(Subscribe | Unsubscribe)


@router.websocket("/live")
async def live(socket: WebSocket) -> None:
    """Live values, for a token or for a session on a page of this host."""
    try:
        principal = await asyncio.to_thread(authenticate, socket)
    except ApiError as error:
        await socket.send_denial_response(respond(error))
        return
    await serve(socket, principal, services_of(socket))


async def serve(socket: WebSocket, principal: Principal, house: Services) -> None:
    """Accept a connection whose caller is known, and serve it to its end."""
    await socket.accept()
    client = Client(principal.enterprise, limit=QUEUE)
    house.hub.join(client)
    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(_read(socket, client, house), name="live read"),
        asyncio.create_task(_write(socket, client), name="live write"),
        asyncio.create_task(_beat(client, principal, house), name="live heartbeat"),
        asyncio.create_task(client.gone.wait(), name="live gone"),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        house.hub.leave(client)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect):
            _log.error("live connection failed", client=principal.name, reason=repr(error))
    if client.gone.is_set():
        _log.warning("live client let go", client=principal.name, reason=client.reason)
        code = _TOKEN_ENDED if client.reason == _ENDED else _TOO_SLOW
        with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
            await asyncio.wait_for(socket.close(code, client.reason), _CLOSE_S)


async def _write(socket: WebSocket, client: Client) -> None:
    while True:
        message = await client.next()
        await socket.send_text(orjson.dumps(message).decode())


async def _beat(client: Client, principal: Principal, house: Services) -> None:
    while True:
        wait_s = HEARTBEAT_S
        if principal.expires_ms is not None:
            wait_s = max(0.0, min(wait_s, (principal.expires_ms - clock.now_ms()) / 1000))
        await asyncio.sleep(wait_s)
        if not await still_good(house, principal):
            client.let_go(_ENDED)
            return
        client.heartbeat()


async def _read(socket: WebSocket, client: Client, house: Services) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        try:
            wish = _WISH.validate_python(orjson.loads(message.get("text") or message.get("bytes") or b""))
        except (orjson.JSONDecodeError, ValidationError):
            _refuse(client, None, 'expected {"op": "subscribe", "id", "devices"} or {"op": "unsubscribe", "id"}')
            continue
        if isinstance(wish, Unsubscribe):
            if not house.hub.unsubscribe(client, wish.id):
                _refuse(client, wish.id, "there is no subscription of this id")
        else:
            await _subscribe(client, house, wish)


async def _subscribe(client: Client, house: Services, wish: Subscribe) -> None:
    if wish.id in client.subscriptions:
        _refuse(client, wish.id, "this id is in use")
        return
    if len(client.subscriptions) >= MAX_SUBSCRIPTIONS:
        _refuse(client, wish.id, f"at most {MAX_SUBSCRIPTIONS} subscriptions a connection")
        return
    carried = await fleet.devices(house.catalogue, client.enterprise)
    unknown = [uid for uid in wish.devices if uid not in carried]
    if unknown:
        _refuse(client, wish.id, f"there is no device {unknown[0]}")
        return
    try:
        await house.hub.subscribe(client, wish.id, {uid: carried[uid].spec.simulated for uid in wish.devices})
    except HistorianError as error:
        _refuse(client, wish.id, translate(error).en)


def _refuse(client: Client, name: str | None, reason: str) -> None:
    message: dict[str, Any] = {"type": "error", "reason": reason}
    if name is not None:
        message["id"] = name
    client.send(message)
