"""Alarms over the whole chain: raised once and packaged; neither forgotten nor raised again when ingest is killed."""

import asyncio
import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

from starproof.demo.files import Choices
from starproof.demo.run import DemoPlant
from tests.chain.harness import chain, committed, until

EVERYTHING = ("broker", "plant", "ingest", "web", "edge")
DEVICE, TAG = "motor-1", "speed"
RULE: dict[str, Any] = {
    "device": DEVICE,
    "type": None,
    "tag": TAG,
    "zh": "转速高（试验）",
    "en": "speed high (test)",
    "kind": "limit",
    "high": 100.0,
    "hysteresis": 5.0,
    "delay_s": 0.0,
    "priority": 2,
    "related": ["active_power", "load_pct"],
    "enabled": True,
}


def raised_by(plant: DemoPlant, rule: str) -> list[dict[str, Any]]:
    """Every alarm of a rule, the newest first."""
    return plant.get(f"/api/v1/alarms?state=all&rule={rule}")["alarms"]


async def kill_and_start(plant: DemoPlant) -> None:
    """kill -9 of ingest, alarm engine and all; back when values are committed again."""
    plant.processes.kill("ingest")
    plant.start("ingest")
    more = committed(plant) + 5
    await until(lambda: committed(plant) > more, "values after the kill", 60)


@pytest.mark.timeout(240)
async def test_an_alarm_outlives_kills_of_ingest(tmp_path: Path) -> None:
    draw = random.Random(1)
    async with chain(tmp_path, Choices(profile="live"), EVERYTHING) as plant:
        await plant.wait_for_data(lambda _: None)
        rule = (await asyncio.to_thread(plant.ask, "POST", "/api/v1/rules", RULE))["rule"]
        await until(lambda: len(raised_by(plant, rule["id"])) == 1, "the alarm", 20)
        for _ in range(3):
            await asyncio.sleep(draw.uniform(0.1, 1.0))  # the moment of the kill is the thing tested
            await kill_and_start(plant)
        (alarm,) = raised_by(plant, rule["id"])
        assert alarm["state"] == "active" and alarm["trigger"]["v"] > RULE["high"]
        calm = {key: value for key, value in rule.items() if key in RULE} | {"high": 10_000.0}
        plant.ask("PUT", f"/api/v1/rules/{rule['id']}", calm)
        await until(lambda: raised_by(plant, rule["id"])[0]["state"] != "active", "the alarm to clear", 20)
        await kill_and_start(plant)
        (alarm,) = raised_by(plant, rule["id"])
        assert alarm["state"] == "cleared"
        told = plant.get(f"/api/v1/alarms/{alarm['id']}")["events"]
        assert [event["what"] for event in told if event["what"] in ("raised", "cleared")] == ["raised", "cleared"]


@pytest.mark.timeout(240)
async def test_the_package_of_an_alarm_is_what_the_machine_served(tmp_path: Path) -> None:
    async with chain(tmp_path, Choices(profile="live"), EVERYTHING) as plant:
        await plant.wait_for_data(lambda _: None)
        rule = (await asyncio.to_thread(plant.ask, "POST", "/api/v1/rules", RULE))["rule"]
        await until(lambda: len(raised_by(plant, rule["id"])) == 1, "the alarm", 20)
        (alarm,) = raised_by(plant, rule["id"])
        await until(lambda: raised_by(plant, rule["id"])[0]["package"]["state"] == "ready", "the package", 60)
        data = await asyncio.to_thread(plant.fetch, f"/api/v1/alarms/{alarm['id']}/package")
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            manifest = json.loads(package.read("manifest.json"))
            rows = [line.split(",") for line in package.read("samples.csv").decode().splitlines()[1:]]
        assert manifest["alarm"]["id"] == alarm["id"] and manifest["rule"]["version"] == rule["version"]
        packed = {int(t): float(v) for tag, t, v, _ in rows if tag == TAG and v}
        assert alarm["trigger"]["t"] in packed
        first, last = min(packed), max(packed)
        path = f"/api/v1/devices/{DEVICE}/history?tag={TAG}&from={first}&to={last + 1}"
        stored = {t: v for t, v, _ in plant.get(path)["rows"] if v is not None}
        assert stored and {t: packed.get(t) for t in stored} == stored  # equal to history where history has the point
