"""The plant's control socket: JSON lines on 127.0.0.1, one answer a line, for tests and for the command line.

    {"op": "fault", "uid": …, "fault": …, "tag": …?, "args": {…}?}      {"op": "clear", "uid": …?, "fault": …?, "tag": …?}
    {"op": "panel", "uid": …, "action": …}                              {"op": "write", "uid": …, "tag": …, "value": …}
    {"op": "values", "uid": …}                                          {"op": "status"}

Answers carry "ok": true and the result, or "ok": false and "error". There is no password: whoever reaches this socket is
already on the simulator's machine.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import orjson

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
MAX_LINE = 1 << 20


class ControlError(Exception):
    """The plant refused a request, or cannot be reached; the message is for people."""


class ControlServer:
    """Answers each line with what `handler` gives; a handler refuses by raising ControlError."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}

    async def start(self, host: str, port: int) -> int:
        """Gives the port. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_LINE)
        return self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut every connection."""
        if self._server:
            self._server.close()
            for writer in self._serving:
                writer.close()
            await asyncio.gather(*(t for t in self._serving.values() if t is not None), return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving[writer] = asyncio.current_task()
        try:
            while line := await reader.readline():
                writer.write(orjson.dumps(await self._answer(line), option=orjson.OPT_APPEND_NEWLINE))
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # gone, or a line longer than MAX_LINE
        finally:
            self._serving.pop(writer, None)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = orjson.loads(line)
            if not isinstance(request, dict):
                raise ControlError("expected an object")
            return {"ok": True, **await self._handler(request)}
        except orjson.JSONDecodeError as error:
            return {"ok": False, "error": f"not JSON: {error}"}
        except ControlError as error:
            return {"ok": False, "error": str(error)}


class ControlClient:
    """A connection to a plant's control socket. Every call raises ControlError where the plant refuses or is gone."""

    def __init__(self, host: str, port: int, *, timeout_s: float = 10.0) -> None:
        self._address = host, port
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        host, port = self._address
        try:
            async with asyncio.timeout(self._timeout_s):
                self._streams = await asyncio.open_connection(host, port, limit=MAX_LINE)
        except (OSError, TimeoutError) as error:
            raise ControlError(f"no plant answers at {host}:{port}: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._streams:
            self._streams[1].close()
            self._streams = None

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        """One request; fields that are None are left out."""
        if self._streams is None:
            raise ControlError("not connected")
        reader, writer = self._streams
        body = {"op": op, **{k: v for k, v in fields.items() if v is not None}}
        try:
            async with self._lock, asyncio.timeout(self._timeout_s):
                writer.write(orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE))
                await writer.drain()
                line = await reader.readline()
        except (OSError, TimeoutError) as error:
            raise ControlError(f"the plant does not answer: {type(error).__name__}") from error
        if not line:
            raise ControlError("the plant has closed the connection")
        answer = orjson.loads(line)
        if not answer.pop("ok"):
            raise ControlError(answer["error"])
        return answer

    async def fault(self, uid: str, fault: str, *, tag: str | None = None, **arguments: float) -> None:
        """Put a fault in force (see simulators.faults)."""
        await self.request("fault", uid=uid, fault=fault, tag=tag, args=arguments)

    async def clear(self, uid: str | None = None, fault: str | None = None, *, tag: str | None = None) -> int:
        """Take faults back, of one machine or of all; gives their number."""
        return (await self.request("clear", uid=uid, fault=fault, tag=tag))["cleared"]

    async def panel(self, uid: str, action: str) -> None:
        """Do something at the machine's own panel."""
        await self.request("panel", uid=uid, action=action)

    async def values(self, uid: str) -> tuple[dict[str, float | None], dict[str, float | None]]:
        """True values, and those that the machine shows (None: not a number), by tag."""
        answer = await self.request("values", uid=uid)
        return answer["true"], answer["shown"]

    async def write(self, uid: str, tag: str, value: float) -> None:
        """Write a set-point past every protocol, as another master would."""
        await self.request("write", uid=uid, tag=tag, value=value)

    async def status(self) -> dict[str, Any]:
        """{"machines": [{uid, type, name, protocol, port, faults, run_state}], "simulated": true, …}."""
        return await self.request("status")
