"""A whole plant in one process: machines stepped in real time, each behind its own server, and the control socket.

The physics runs on the monotonic clock: `speed` seconds of it pass in a real second. A loop that falls behind catches up
by at most MAX_LAG_S and then lets the machines run late rather than burst.
"""

import asyncio
import contextlib
import logging
import math
import os
import secrets
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from simulators.catalogue import make_machine
from simulators.control import ControlError, ControlServer
from simulators.faults import FaultError
from simulators.journal import Journal
from simulators.machine import MAX_STEP_S, PanelAction, PanelRefused, WriteRefused
from simulators.maps import point_list, protocol_of
from simulators.modbus_server import ModbusServer
from simulators.opcua_server import Credentials, OpcUaServer
from simulators.pki import Identity
from simulators.registers import RegisterMap
from simulators.settings import MachineSettings, PlantSettings
from simulators.source import Source
from simulators.sunspec_server import SunSpecMap
from telemetry import clock
from telemetry.points import Machine as PointList
from telemetry.points import ModbusPoint

log = structlog.get_logger(__name__)

MAX_LAG_S = 1.0


class MachineServer(Protocol):
    """What the plant asks of a server."""

    async def start(self, host: str, port: int) -> int: ...
    async def open(self) -> None: ...
    async def shut(self) -> None: ...
    async def stop(self) -> None: ...
    async def update(self) -> None: ...


@dataclass
class Unit:
    """One machine of the plant with all that belongs to it."""

    settings: MachineSettings
    source: Source
    server: MachineServer
    journal: Journal
    port: int
    listening: bool = True

    async def follow_faults(self) -> None:
        """Stop or start listening as the faults say. Raises OSError where the port has been taken meanwhile."""
        wanted = not self.source.faults.stopped
        if wanted == self.listening:
            return
        self.listening = wanted
        await (self.server.open() if wanted else self.server.shut())


class Plant:
    """Start, then `run`; or `async with`, which steps in the background."""

    def __init__(self, settings: PlantSettings) -> None:
        self.settings = settings
        self.units: dict[str, Unit] = {}
        self.control_port = 0
        self._control = ControlServer(self._handle)
        self._stepping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Make the machines and listen. Raises OSError naming the machine whose port is taken."""
        quiet_libraries()
        self.settings.state.mkdir(parents=True, exist_ok=True)
        try:
            for machine in self.settings.machines:
                self.units[machine.uid] = await self._unit(machine)
            self.control_port = await self._control.start(self.settings.host, self.settings.control_port)
        except BaseException:
            await self.stop()
            raise
        self._stepping = asyncio.create_task(self._step_forever(), name="plant")
        log.info(
            "plant is ready",
            control=f"{self.settings.host}:{self.control_port}",
            machines={uid: unit.port for uid, unit in self.units.items()},
            simulated=True,
        )

    async def run(self) -> None:
        """Until cancelled; raises what stops the plant."""
        if self._stepping is not None:
            await self._stepping

    async def stop(self) -> None:
        """Close everything. Raises what had stopped the machines, if something had."""
        try:
            if self._stepping is not None:
                self._stepping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._stepping
        finally:
            await self._control.stop()
            for unit in self.units.values():
                await unit.server.stop()
                unit.journal.close()
            self.units.clear()

    async def __aenter__(self) -> "Plant":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _unit(self, settings: MachineSettings) -> Unit:
        state, host = self.settings.state, self.settings.host
        hours, minutes = map(int, self.settings.solar_time.split(":"))
        options: dict[str, Any] = {"start_local_time_s": hours * 3600.0 + minutes * 60.0, **settings.options}
        source = Source(make_machine(settings.type, settings.uid, settings.seed, **options))
        journal = Journal(state / "journal" / f"{settings.uid}.jsonl")
        server = self._server(settings, source, journal)
        try:
            port = await server.start(host, settings.port)
        except OSError as error:
            journal.close()
            raise OSError(error.errno, f"{settings.uid}: cannot listen on {host}:{settings.port}: {error}") from error
        return Unit(settings, source, server, journal, port)

    def _server(self, settings: MachineSettings, source: Source, journal: Journal) -> MachineServer:
        connection: dict[str, Any] = {"order": settings.order} if settings.order else {}
        points = point_list(settings.type, uid=settings.uid, port=settings.port or 1, **connection)
        if protocol_of(settings.type) == "opcua":
            folder = self.settings.state
            secure = points.connection.protocol == "opcua" and points.connection.policy != "None"
            who = Credentials(settings.username, password(folder, settings.uid)) if secure else None
            return OpcUaServer(source, points, pki=folder / "pki", credentials=who, journal=journal)
        if protocol_of(settings.type) == "sunspec":
            return ModbusServer(source, SunSpecMap(source.kind, source.machine.nameplate), journal=journal)
        modbus = [p for p in points.points if isinstance(p, ModbusPoint)]
        order = points.connection.order if points.connection.protocol == "modbus_tcp" else "ABCD"
        writable = frozenset(t.id for t in source.kind.tags if t.writable)
        return ModbusServer(source, RegisterMap(modbus, order, writable=writable), journal=journal)

    def point_list(self, uid: str, **connection: Any) -> PointList:
        """The true list of points of a running machine, with the password and certificate files of a secured server;
        `connection` adds or overrides fields. Raises KeyError."""
        unit = self.units[uid]
        fields: dict[str, Any] = {"order": unit.settings.order} if unit.settings.order else {}
        if isinstance(unit.server, OpcUaServer) and unit.server.identity is not None:
            fields["username"] = unit.settings.username
            fields["password_file"] = str(password_file(self.settings.state, uid))
            fields["server_certificate"] = str(unit.server.identity.certificate)
        return point_list(
            unit.settings.type,
            uid=uid,
            host=self.settings.host,
            port=unit.port,
            name=unit.settings.name,
            nameplate=dict(unit.source.machine.nameplate),
            **{**fields, **connection},
        )

    def server_identity(self, uid: str) -> Identity | None:
        """Certificate and key of a secured machine's server. Raises KeyError."""
        server = self.units[uid].server
        return server.identity if isinstance(server, OpcUaServer) else None

    def journal_path(self, uid: str) -> Path:
        """Where a machine's journal is. Raises KeyError."""
        return self.units[uid].journal.path

    async def _step_forever(self) -> None:
        step_s, next_ms = self.settings.step_s, clock.mono_ms()
        while True:
            for unit in self.units.values():
                dt, parts = step_s * self.settings.speed, 1
                if dt > MAX_STEP_S:
                    parts = math.ceil(dt / MAX_STEP_S)
                for _ in range(parts):
                    unit.source.step(dt / parts, real_s=step_s / parts)
                await unit.server.update()
            next_ms += round(step_s * 1000)
            late_s = (clock.mono_ms() - next_ms) / 1000
            if late_s > MAX_LAG_S:
                log.warning("plant runs late", seconds=round(late_s, 1))
                next_ms = clock.mono_ms()
            await asyncio.sleep(max(-late_s, 0.0))

    async def _handle(self, request: dict[str, Any]) -> dict[str, Any]:
        op = request.get("op")
        handler = self._operations().get(str(op))
        if handler is None:
            raise ControlError(f"no operation {op!r}; there are {', '.join(self._operations())}")
        try:
            return await handler(request)
        except KeyError as error:
            raise ControlError(f"{op}: {error.args[0]} is missing") from error
        except (FaultError, WriteRefused, PanelRefused) as error:
            raise ControlError(str(error)) from error
        except (TypeError, ValueError, OSError) as error:
            raise ControlError(f"{op}: {error}") from error

    def _operations(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]]:
        return {
            "status": self._status,
            "values": self._values,
            "fault": self._fault,
            "clear": self._clear,
            "panel": self._panel,
            "write": self._write,
        }

    def _find(self, request: dict[str, Any]) -> Unit:
        uid = request["uid"]
        if uid not in self.units:
            raise ControlError(f"no machine {uid!r}; there are {', '.join(self.units)}")
        return self.units[uid]

    async def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        machines = [
            {
                "uid": uid,
                "type": unit.settings.type,
                "name": unit.settings.name or unit.source.kind.zh,
                "protocol": protocol_of(unit.settings.type),
                "port": unit.port,
                "listening": unit.listening,
                "run_state": unit.source.values[unit.source.kind.status.run_state],
                "faults": [{"fault": f.name, "tag": f.tag, "args": f.arguments} for f in unit.source.faults.in_force],
            }
            for uid, unit in self.units.items()
        ]
        return {"simulated": True, "host": self.settings.host, "speed": self.settings.speed, "machines": machines}

    async def _values(self, request: dict[str, Any]) -> dict[str, Any]:
        source = self._find(request).source
        return {"true": dict(source.machine.values), "shown": dict(source.values)}

    async def _fault(self, request: dict[str, Any]) -> dict[str, Any]:
        unit = self._find(request)
        unit.source.set_fault(request["fault"], tag=request.get("tag"), **request.get("args", {}))
        await unit.follow_faults()
        log.info("fault set", uid=request["uid"], fault=request["fault"], tag=request.get("tag"))
        return {}

    async def _clear(self, request: dict[str, Any]) -> dict[str, Any]:
        units = [self._find(request)] if "uid" in request else list(self.units.values())
        cleared = 0
        for unit in units:
            cleared += unit.source.faults.clear(request.get("fault"), tag=request.get("tag"))
            unit.source.refresh()
            await unit.follow_faults()
        log.info("faults cleared", uid=request.get("uid"), count=cleared)
        return {"cleared": cleared}

    async def _panel(self, request: dict[str, Any]) -> dict[str, Any]:
        unit, action = self._find(request), request["action"]
        if action not in list(PanelAction):
            raise ControlError(f"no panel action {action!r}; there are {', '.join(PanelAction)}")
        unit.source.machine.panel(action)
        unit.source.refresh()
        log.info("panel", uid=request["uid"], action=action)
        return {}

    async def _write(self, request: dict[str, Any]) -> dict[str, Any]:
        self._find(request).source.write(request["tag"], float(request["value"]))
        return {}


def password_file(state: Path, uid: str) -> Path:
    """Where the password of a secured machine is kept."""
    return state / f"{uid}.password"


def password(state: Path, uid: str) -> str:
    """The password of a secured machine, made on first use."""
    path = password_file(state, uid)
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(18), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def quiet_libraries() -> None:
    """The protocol libraries log what is normal for a simulator, such as a client that goes away."""
    for name in ("asyncua", "pymodbus", "pymodbus.logging"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


async def run(settings: PlantSettings) -> None:
    """A plant until SIGTERM or SIGINT. Raises OSError where a port is taken."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if os.name == "posix":
            loop.add_signal_handler(number, stopping.set)
    async with Plant(settings) as plant:
        running = asyncio.create_task(plant.run(), name="plant watch")
        waiting = asyncio.create_task(stopping.wait(), name="plant stop")
        done, _ = await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if running in done:
            running.result()
        log.info("plant stops")
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
