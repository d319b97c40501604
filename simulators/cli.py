"""`starproof simulate`: run a simulated plant, and play tricks on it."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from simulators.control import ControlClient, ControlError
from simulators.faults import NAMES, FaultError, arguments_of
from simulators.machine import PanelAction
from simulators.settings import PlantSettings
from telemetry import logs
from telemetry.commands import fail, load
from telemetry.settings import load as read_settings

app = typer.Typer(
    no_args_is_help=True,
    help="Simulated machines with physics and faults behind real Modbus and OPC UA servers. 仿真设备：真实协议，虚拟机器。",
)
_out = Console()

Uid = Annotated[str, typer.Argument(help="The machine's uid, as in the plant's configuration.")]
Control = Annotated[
    str, typer.Option("--control", help="HOST:PORT of the plant's control socket.", envvar="STARPROOF_PLANT")
]


def _ask(control: str, act: Callable[[ControlClient], Coroutine[Any, Any, Any]]) -> Any:
    host, _, port = control.rpartition(":")
    if not (host and port.isdigit()):
        raise fail(f"--control: expected HOST:PORT, found {control!r}")

    async def go() -> Any:
        async with ControlClient(host, int(port)) as client:
            return await act(client)

    try:
        return asyncio.run(go())
    except ControlError as error:
        raise fail(str(error)) from error


@app.command()
def run(config: Annotated[Path, typer.Argument(help="YAML file: machines, control_port, state, speed, …")]) -> None:
    """Run the plant until Ctrl-C or SIGTERM. It says 'plant is ready' when every machine can be reached."""
    from simulators import plant  # the protocol libraries take a second to load; the other commands do not need them

    settings = load(lambda path: read_settings(path, PlantSettings), config)
    logs.set_up()
    os.umask(0o077)  # passwords, keys and journals are for the plant's own user
    try:
        asyncio.run(plant.run(settings))  # not uvloop: it sends later than it says, and the journal must not be ahead
    except OSError as error:
        raise fail(str(error)) from error


@app.command()
def fault(
    uid: Uid,
    name: Annotated[str, typer.Argument(metavar="FAULT", help=f"One of: {', '.join(NAMES)}; or clear.")],
    control: Control,
    tag: Annotated[str | None, typer.Option(help="One tag only; without it the whole machine.")] = None,
    seconds: Annotated[float | None, typer.Option(help="For slow_reply, clock_off and replay.")] = None,
    arg: Annotated[list[str] | None, typer.Option(help="Further arguments as NAME=NUMBER, e.g. size=20.")] = None,
) -> None:
    """Put a fault in force at a machine, or take it back (clear).

    freeze holds values; spike, drift and noise falsify them; nan says not available; replay records for some seconds and
    plays that for ever; random is a generator in place of the machine; no_reply and slow_reply make the device mute or
    slow; clock_off shifts an OPC UA machine's clock; stop takes its server down.
    """
    if name == "clear":
        count = _ask(control, lambda client: client.clear(uid, tag=tag))
        _out.print(f"{uid}: {count} faults cleared", highlight=False)
        return
    arguments: dict[str, float] = {} if seconds is None else {"seconds": seconds}
    try:
        arguments_of(name)
        for text in arg or ():
            key, _, value = text.partition("=")
            arguments[key] = float(value)
    except FaultError as error:
        raise fail(str(error)) from error
    except ValueError as error:
        raise fail("--arg: expected NAME=NUMBER") from error
    _ask(control, lambda client: client.fault(uid, name, tag=tag, **arguments))
    _out.print(f"{uid}: {name} in force{f' at {tag}' if tag else ''}", highlight=False)


@app.command()
def panel(
    uid: Uid,
    action: Annotated[str, typer.Argument(help=f"One of: {', '.join(PanelAction)}.")],
    control: Control,
) -> None:
    """Do something at the machine's own panel, as a person standing there would."""
    _ask(control, lambda client: client.panel(uid, action))
    _out.print(f"{uid}: {action} done", highlight=False)


@app.command()
def status(control: Control) -> None:
    """Which machines run, where they listen, and which faults are in force."""
    answer = _ask(control, lambda client: client.status())
    table = Table("uid", "type", "name", "protocol", "port", "run state", "faults", title="仿真 SIMULATED")
    for machine in answer["machines"]:
        faults = ", ".join(f["fault"] + (f" ({f['tag']})" if f["tag"] else "") for f in machine["faults"]) or "-"
        port = str(machine["port"]) if machine["listening"] else f"{machine['port']} (down)"
        row = (machine["uid"], machine["type"], machine["name"], machine["protocol"], port)
        table.add_row(*row, f"{machine['run_state']:g}", faults)
    _out.print(table)
