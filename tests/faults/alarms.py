"""Faults of alarms, notices and packages (device.mon.alarm)."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from cloud.cli import add_token
from starproof.demo.files import database_of
from starproof.demo.layout import ENTERPRISE
from starproof.demo.run import DemoPlant
from telemetry import clock
from tests.faults.kinds import Fault, Inject, every, flowing, nothing, of

ALARM = "device.mon.alarm"


def database(plant: DemoPlant) -> sqlite3.Connection:
    """The cloud's database, behind the cloud's back."""
    url = yaml.safe_load(plant.layout.file("web.yaml").read_text(encoding="utf-8"))["database"]
    return sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30, isolation_level=None)


@asynccontextmanager
async def rules_disabled(plant: DemoPlant) -> AsyncIterator[None]:
    """Somebody has switched off every alarm of the motors."""
    engineer = add_token(database_of(plant.layout), name="engineer", enterprise=ENTERPRISE, role="engineer", hours=1)
    rules = [rule for rule in plant.get("/api/v1/rules")["rules"] if rule["type"] == "large_motor" and rule["enabled"]]

    def switch(rule: dict[str, Any], *, on: bool) -> None:
        body = {k: v for k, v in rule.items() if k not in ("id", "version", "retired_ms", "changed_ms", "changed_by")}
        plant.ask("PUT", f"/api/v1/rules/{rule['id']}", body | {"enabled": on}, token=engineer)

    for rule in rules:
        switch(rule, on=False)
    try:
        yield
    finally:
        for rule in rules:
            switch(rule, on=True)


@asynccontextmanager
async def channel_dead(plant: DemoPlant) -> AsyncIterator[None]:
    """Whatever channel is entered, its notices go where nobody listens."""
    with contextlib.closing(database(plant)) as db:
        db.execute(
            "CREATE TRIGGER dead_channel AFTER INSERT ON alarm_channels BEGIN "
            "UPDATE alarm_channels SET url = 'json://127.0.0.1:1/' WHERE channel = NEW.channel; END"
        )
        try:
            yield
        finally:
            db.execute("DROP TRIGGER dead_channel")


@asynccontextmanager
async def notice_invented(plant: DemoPlant) -> AsyncIterator[None]:
    """A notice by an inspector's rule of a value that the motor never had goes to every channel that an inspector enters."""

    async def invent() -> None:
        told: set[tuple[str, str]] = set()
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                for url, rule, tag in set(await asyncio.to_thread(_entered, plant)):
                    if (url, rule) not in told:
                        told.add((url, rule))
                        await client.post(url.replace("json://", "http://"), json=_invented(rule, tag))
                await asyncio.sleep(0.2)

    task = asyncio.create_task(invent(), name="invented notices")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _entered(plant: DemoPlant) -> list[tuple[str, str, str]]:
    """(URL, rule, tag) of each channel and each rule for motor-1 that inspectors have now."""
    query = """SELECT url, rule, json_extract(body, '$.tag') FROM alarm_channels, alarm_rule_versions
        WHERE until_ms > 0 AND removed_ms IS NULL AND json_extract(body, '$.source') = 'inspector'
        AND json_extract(body, '$.device') = 'motor-1'"""
    with contextlib.closing(database(plant)) as db:
        return db.execute(query).fetchall()


def _invented(rule: str, tag: str) -> dict[str, Any]:
    now = clock.now_ms()
    said = {
        "alarm": "a" * 32,
        "rule": rule,
        "rule_version": 1,
        "device": "motor-1",
        "tag": tag,
        "level": "high",
        "what": "raised",
        "value": 9999.0,
        "limit": 1600.0,
        "t_sample": now - 1500,
        "t_detect": now - 1000,
        "t_send": now - 500,
        "simulated": True,
    }
    return {"version": "1.0", "title": "报警", "message": f"9999\n{json.dumps({'starproof': said})}", "type": "warning"}


def packages(how: str) -> Inject:
    """An ingest that cheats with the packages (see tests/faults/lying_packages)."""

    @asynccontextmanager
    async def inject(plant: DemoPlant) -> AsyncIterator[None]:
        folder = str(Path(__file__).parent / "lying_packages")
        plant.processes.stop("ingest")
        plant.start("ingest", environment={"PYTHONPATH": folder, "STARPROOF_TEST_PACKAGES": how})
        await flowing(plant)
        try:
            yield
        finally:
            plant.processes.stop("ingest")
            plant.start("ingest")

    return inject


ALARMS: tuple[Fault, ...] = (
    Fault("alarm_healthy", "无故障（异常报警）", nothing, criterion=ALARM),
    Fault(
        "rules_disabled",
        "报警策略被停用",
        rules_disabled,
        fail=of("motor-1", "al.2"),
        blocked=of("motor-1", "al.3", "al.4", "al.5"),
        criterion=ALARM,
    ),
    Fault("channel_dead", "通知渠道不通", channel_dead, fail=every("al.3"), criterion=ALARM),
    Fault("notice_invented", "为从未出现的数值发出通知", notice_invented, fail=of("motor-1", "al.3"), criterion=ALARM),
    Fault(
        "package_of_another_time",
        "数据包截取自其他时段",
        packages("another_time"),
        fail=every("al.4"),
        blocked=every("al.5"),
        criterion=ALARM,
    ),
    Fault("package_smoothed", "数据包内数据被平滑", packages("smoothed"), fail=every("al.5"), criterion=ALARM),
)
