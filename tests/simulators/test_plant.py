"""The plant as a program: its configuration, its commands, its control socket, its end."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulators.cli import app
from simulators.control import ControlClient, ControlError
from simulators.settings import PlantSettings
from telemetry.commands import UNUSABLE
from telemetry.settings import SettingsError, parse
from tests.plant import eventually, simulated_plant

RUN = [sys.executable, "-c", "from simulators.cli import app; app()", "run"]


def config(folder: Path, **extra: object) -> Path:
    path = folder / "plant.yaml"
    lines = [f"state: {folder / 'state'}", "machines:", "  - {uid: motor-1, type: large_motor, seed: 3}"]
    path.write_text("\n".join([*lines, *(f"{k}: {v}" for k, v in extra.items())]), encoding="utf-8")
    return path


@contextmanager
def running(path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`simulate run` as a process, and HOST:PORT of its control socket; it is gone afterwards, whatever happened."""
    said = path.with_name("log.jsonl")  # a file: a pipe that nobody empties would stop the plant
    with said.open("wb") as log:
        process = subprocess.Popen([*RUN, str(path)], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process, control_of(process, said)
    finally:
        process.kill()
        process.wait(10)


def control_of(process: subprocess.Popen[bytes], said: Path, within_s: float = 30.0) -> str:
    """Where the plant says that its control socket is, once it says that it is ready."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and process.poll() is None:
        for line in said.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and line.endswith("}") and (event := json.loads(line))["event"] == "plant is ready":
                return event["control"]
        time.sleep(0.05)
    raise AssertionError(
        f"the plant is not ready (code {process.poll()}); it said:\n{said.read_text(encoding='utf-8')}"
    )


def test_a_plant_runs_answers_commands_and_stops_on_sigterm(tmp_path: Path) -> None:
    with running(config(tmp_path)) as (process, control):
        cli = CliRunner()
        shown = cli.invoke(app, ["status", "--control", control], env={"COLUMNS": "200"})
        assert shown.exit_code == 0 and "motor-1" in shown.output and "SIMULATED" in shown.output
        done = cli.invoke(
            app, ["fault", "motor-1", "drift", "--tag", "speed", "--arg", "per_s=5", "--control", control]
        )
        assert done.exit_code == 0 and "drift in force at speed" in done.output
        done = cli.invoke(app, ["panel", "motor-1", "lockout_on", "--control", control])
        assert done.exit_code == 0
        done = cli.invoke(app, ["fault", "motor-1", "clear", "--control", control])
        assert "1 faults cleared" in done.output
        for wrong, says in (
            (["fault", "motor-9", "freeze"], "there are motor-1"),
            (["fault", "motor-1", "melt"], "there are freeze"),
            (["fault", "motor-1", "drift", "--arg", "fast"], "NAME=NUMBER"),
            (["panel", "motor-1", "kick"], "lockout_on"),
        ):
            result = cli.invoke(app, [*wrong, "--control", control])
            assert result.exit_code == UNUSABLE and says in result.output + result.stderr, result
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    gone = CliRunner().invoke(app, ["status", "--control", control])
    assert gone.exit_code == UNUSABLE and "no plant answers" in gone.output + gone.stderr


def test_a_mistake_in_the_configuration_is_named(tmp_path: Path) -> None:
    path = config(tmp_path, sped=2)
    result = CliRunner().invoke(app, ["run", str(path)])
    said = (result.output + result.stderr).replace("\n", "")
    assert result.exit_code == UNUSABLE and f"{path.name}:4: sped: unknown key" in said
    twice = "state: x\nmachines: [{uid: a, type: large_motor, port: 1}, {uid: a, type: large_motor, port: 1}]"
    with pytest.raises(SettingsError, match="uid given twice: a"):
        parse(twice, PlantSettings)
    with pytest.raises(SettingsError, match="type"):
        parse("state: x\nmachines: [{uid: a, type: toaster}]", PlantSettings)


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path / "a", machines=["motor-1:large_motor"]) as plant:
        taken = {"uid": "motor-2", "type": "large_motor", "port": plant.units["motor-1"].port}
        with pytest.raises(OSError, match="motor-2: cannot listen"):
            async with simulated_plant(tmp_path / "b", machines=[taken]):
                pass


async def test_the_control_socket_survives_nonsense(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path, machines=["motor-1:large_motor"]) as plant:
        reader, writer = await asyncio.open_connection("127.0.0.1", plant.control_port)
        for line, says in (
            (b"{", b"not JSON"),
            (b"[]", b"expected an object"),
            (b"{}", b"no operation"),
            (b'{"op": "values"}', b"uid is missing"),
            (b'{"op": "fault", "uid": "motor-1", "fault": "drift", "args": {"per_s": "x"}}', b'"ok":false'),
        ):
            writer.write(line + b"\n")
            assert says in await reader.readline()
        writer.close()
        with pytest.raises(ControlError, match="within 30 to 50"):
            await plant.control.write("motor-1", "frequency_sp", 99)
        await plant.control.write("motor-1", "frequency_sp", 40)
        assert (await plant.control.values("motor-1"))[0]["frequency_sp"] == 40
    with pytest.raises(ControlError, match="no plant answers"):
        async with ControlClient("127.0.0.1", 1):
            pass


async def test_physics_runs_in_real_time_or_faster(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path, machines=["pv-1:photovoltaic"], speed=50, solar_time="09:30") as plant:
        machine = plant.units["pv-1"].source.machine
        assert machine.local_time_s >= 9.5 * 3600
        loop = asyncio.get_running_loop()
        start, began = loop.time(), machine.elapsed_s
        await eventually(lambda: machine.elapsed_s - began >= 50, what="50 s of the plant's time")
        assert 0.7 < loop.time() - start < 3
