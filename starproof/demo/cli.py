"""`starproof demo`."""

import asyncio
import contextlib
import os
import signal
import sys
import time
import webbrowser
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from starproof.demo import layout, webhook
from starproof.demo.files import ADMINISTRATOR, Choices
from starproof.demo.folder import FolderRefusedError, take
from starproof.demo.run import DemoPlant, NotReady, ProcessEnded, output_folder
from telemetry import logs
from telemetry.commands import fail
from telemetry.keys import KeyFileError
from verifier.plan import PlanError
from verifier.report import show
from verifier.rules.pack import load_pack
from verifier.run import Result, run_plan

app = typer.Typer()

_BANNER = "仿真数据 / SIMULATED：五台虚拟设备，真实协议 · five virtual machines, real protocols"
_ENDINGS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@app.callback(invoke_without_command=True)
def demo(
    exit: Annotated[
        bool, typer.Option("--exit", help="Stop after the verdict instead of running until Ctrl-C.")
    ] = False,
    dir: Annotated[
        Path, typer.Option("--dir", help="Where all state goes; an earlier demo there is continued.")
    ] = Path("demo-plant"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove an earlier demo in DIR first.")] = False,
    historian: Annotated[Literal["sqlite", "influxdb"], typer.Option(help="Where values are stored.")] = "sqlite",
    influx_url: Annotated[
        str, typer.Option(envvar="STARPROOF_INFLUX_URL", help="Address of InfluxDB.")
    ] = "http://127.0.0.1:8086",
    influx_database: Annotated[
        str, typer.Option(envvar="STARPROOF_INFLUX_DATABASE", help="Database; made if absent.")
    ] = "starproof",
    influx_token: Annotated[
        str | None,
        typer.Option(envvar="STARPROOF_INFLUX_TOKEN", help="Token, or user:password on 1.8; better by environment."),
    ] = None,
) -> None:
    """Run a whole plant on this machine: broker, five simulated machines, edge agent, ingest, web; then verify it.

    Prints each statement's verdict per machine with the figure measured beside its threshold, and where the evidence
    lies. Exit code: 0 all pass, 100 something failed or erred, 101 something not checked or for review, 2 the demo
    cannot run; ended before the verdict: 128 and the signal's number. 一键演示：启动整条链路并核验。
    """
    logs.set_up("warning")
    os.umask(0o077)  # here and in every service: a plant's data is for its own user only
    console = Console()
    console.rule(_BANNER, style="yellow")
    try:
        held = take(dir, fresh=fresh)
        stored = _influx(dir, influx_url, influx_database, influx_token) if historian == "influxdb" else None
        plant = DemoPlant(layout.make(dir), Choices(historian=stored), keep=(held,))
        code = asyncio.run(_run(console, plant, stop_after=exit))
    except (FolderRefusedError, NotReady, ProcessEnded, PlanError, KeyFileError, OSError) as error:
        raise fail(str(error)) from error
    raise typer.Exit(code)


def _influx(folder: Path, url: str, database: str, token: str | None) -> dict[str, Any]:
    settings: dict[str, Any] = {"kind": "influxdb", "url": url, "database": database}
    if token is not None:
        path = (folder / "state" / "influx.token").absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(token)
        settings["token_file"] = str(path)
    return settings


async def _run(console: Console, plant: DemoPlant, *, stop_after: bool) -> int:
    told = _end_when_told()
    try:
        async with _phone(plant, console):
            result = await _up_and_verified(console, plant, show=not stop_after)
            if not stop_after:
                await _until_interrupted(console, plant)
        return result.exit_code
    except asyncio.CancelledError:
        if not told:
            raise
        console.print(f"ended by {told[0].name} before the verdict", highlight=False)
        return 128 + told[0]
    finally:
        await asyncio.to_thread(plant.stop)


async def _up_and_verified(console: Console, plant: DemoPlant, *, show: bool) -> Result:
    began = time.monotonic()
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console
    ) as bar:
        task = bar.add_task("writing files", total=None)

        def say(what: str) -> None:
            bar.update(task, description=what)
            if not console.is_terminal:
                console.print(what, highlight=False)

        await asyncio.to_thread(plant.write)
        await plant.start_all(say)
        await plant.wait_for_data(say)
        _show_app(console, plant, time.monotonic() - began, show=show)
        result = await _verify(plant, bar, task, console)
    _tell(console, plant, result)
    return result


def _phone(plant: DemoPlant, console: Console) -> contextlib.AbstractAsyncContextManager[int]:
    """The webhook that stands for a phone: what it is told is shown here."""

    def ring(notice: dict[str, Any]) -> None:
        first_line = str(notice.get("message", "")).partition("\n")[0]
        console.print(f"[yellow]notice[/] {escape(str(notice.get('title', '')))} {escape(first_line)}", highlight=False)

    return webhook.listening(plant.layout.ports["webhook"], plant.layout.state / "notices.jsonl", ring)


def _show_app(console: Console, plant: DemoPlant, took_s: float, *, show: bool) -> None:
    """Say where the web app is, and open it where there is a desktop to open it on."""
    url = f"http://127.0.0.1:{plant.layout.ports['web']}/"
    word = plant.first_password or "(as it was printed when this demo was first started 首次启动时已显示)"
    console.print(
        f"web app 网页: {url}  live after {took_s:.0f} s  user 用户 {ADMINISTRATOR}  password 口令 {escape(word)}",
        highlight=False,
        soft_wrap=True,
    )
    if show and console.is_terminal and (sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()):
        webbrowser.open(url)


def _end_when_told() -> list[signal.Signals]:
    """Let Ctrl-C, SIGTERM and SIGHUP cancel this task, once: what stops the services is not to be interrupted. Gives the
    list in which the signal will stand. One that this process was started to ignore (nohup) stays ignored."""
    task, loop, told = asyncio.current_task(), asyncio.get_running_loop(), list[signal.Signals]()

    def tell(number: signal.Signals) -> None:
        if task is not None and not told:
            told.append(number)
            task.cancel()

    for number in _ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, tell, number)
    return told


async def _verify(plant: DemoPlant, bar: Progress, task: Any, console: Console) -> Result:
    said: set[str] = set()

    def progress(step: str, share: float) -> None:
        bar.update(task, description=step, total=1.0, completed=share)
        if not console.is_terminal and step not in said:
            said.add(step)
            console.print(step, highlight=False)

    return await run_plan(plant.layout.file("plan.yaml"), output_folder(plant.layout), progress=progress)


def _tell(console: Console, plant: DemoPlant, result: Result) -> None:
    show(result.findings, load_pack(), console)
    table = Table(title="processes", title_justify="left")
    for heading in ("process", "CPU s", "of a core", "memory MB"):
        table.add_column(heading, justify="left" if heading == "process" else "right")
    for one in plant.processes.usage():
        table.add_row(one.name, f"{one.cpu_s:.1f}", f"{100 * one.cpu_s / one.wall_s:.1f} %", f"{one.rss_mb:.0f}")
    console.print(table)
    console.print(f"findings and evidence: {result.path.parent}", highlight=False, soft_wrap=True)
    console.print(f"exit code {result.exit_code}", highlight=False)


async def _until_interrupted(console: Console, plant: DemoPlant) -> None:
    port = plant.layout.ports["web"]
    console.print(
        f"running: web app http://127.0.0.1:{port}/, API at /api/v1 (token in {plant.layout.state / 'inspector' / 'token'}); "
        f"faults: starproof simulate fault UID FAULT --control 127.0.0.1:{plant.layout.ports['control']}; Ctrl-C ends it",
        highlight=False,
        soft_wrap=True,
    )
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            plant.processes.check()
            await asyncio.sleep(1)
