"""What 200 live clients at 2 Hz cost the web service, and how late they are served: the demo's plant, frames each 0.5 s."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from starproof.demo import layout
from starproof.demo.files import Choices
from starproof.demo.run import DemoPlant

CLIENTS, SECONDS, PERIOD_MS = 200, 20.0, 500
SCANNED = ("industrial_boiler", "large_motor", "photovoltaic")  # have something new at every scan
TARGET_CORE, TARGET_P95_MS = 0.30, 100.0


@dataclass(frozen=True, slots=True)
class Pushed:
    """`core`: share of a core that the web service used; lags in ms from commit to client."""

    core: float
    per_client_per_s: float
    p50: float
    p95: float
    p99: float


def measure(folder: Path) -> Pushed:
    """Run the plant, connect the clients, measure."""
    plant = DemoPlant(layout.make(folder), Choices(period_ms=PERIOD_MS, deadband=False))
    plant.write()
    config = plant.layout.file("edge.yaml")
    edge = yaml.safe_load(config.read_text(encoding="utf-8"))
    config.write_text(yaml.safe_dump(edge | {"frame": {"period_s": PERIOD_MS / 1000}}), encoding="utf-8")
    try:
        return asyncio.run(_measure(plant))
    finally:
        plant.stop()


async def _measure(plant: DemoPlant) -> Pushed:
    await plant.start_all(lambda _: None)
    await plant.wait_for_data(lambda _: None)
    url = f"ws://127.0.0.1:{plant.layout.ports['web']}/api/v1/live"
    token = plant.layout.state / "inspector" / "token"
    uids = [uid for uid, kind, _ in plant.layout.machines if kind in SCANNED]
    arguments = ["-m", "bench.parts.clients", url, str(token), str(CLIENTS), str(SECONDS), *uids]
    clients = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    assert clients.stdout is not None
    web = psutil.Process(plant.processes.pid("web"))
    began = json.loads(await clients.stdout.readline())["began"]
    before = sum(web.cpu_times()[:2])
    found = json.loads(await clients.stdout.readline())
    used = sum(web.cpu_times()[:2]) - before
    await clients.wait()
    core = used / (found["ended"] - began)
    return Pushed(core, found["per_client_per_s"], found["p50"], found["p95"], found["p99"])
