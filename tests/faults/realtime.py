"""Faults of the link from machine to screen (device.mon.realtime)."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from simulators.control import ControlClient
from simulators.settings import MachineSettings
from starproof.demo import files
from starproof.demo.run import DemoPlant
from tests.chain.harness import until
from tests.faults.altered import Answer
from tests.faults.held_back import holding_back, repeating
from tests.faults.kinds import Fault, Inject, every, flowing, nothing, of, stopped, through


@asynccontextmanager
async def silent(plant: DemoPlant) -> AsyncIterator[None]:
    """The boiler answers nobody."""
    async with ControlClient("127.0.0.1", plant.layout.ports["control"]) as control:
        await control.fault("boiler-1", "no_reply")
        await until(lambda: _severity(plant, "boiler-1") == "bad", "the cloud to show that the boiler is gone")
        try:
            yield
        finally:
            await control.clear("boiler-1")


@asynccontextmanager
async def _edge_with(plant: DemoPlant, change: Callable[[dict[str, Any]], None]) -> AsyncIterator[None]:
    """The agent with a changed configuration."""
    path = plant.layout.file("edge.yaml")
    right = path.read_text(encoding="utf-8")
    data = yaml.safe_load(right)
    change(data)
    plant.processes.stop("edge")
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    plant.start("edge")
    try:
        await flowing(plant)
        yield
    finally:
        plant.processes.stop("edge")
        path.write_text(right, encoding="utf-8")
        plant.start("edge")


def _device(data: dict[str, Any], uid: str) -> dict[str, Any]:
    return next(device for device in data["devices"] if device["uid"] == uid)


@asynccontextmanager
async def wrong_word_order(plant: DemoPlant) -> AsyncIterator[None]:
    """The agent reads the boiler's 32-bit registers with the words swapped."""

    def change(data: dict[str, Any]) -> None:
        _device(data, "boiler-1")["connection"]["order"] = "ABCD"  # the boiler's is CDAB

    async with _edge_with(plant, change):
        yield


@asynccontextmanager
async def wrong_state_register(plant: DemoPlant) -> AsyncIterator[None]:
    """The agent reads the motor's run state where the motor counts its starts: 0, which means stopped, while it runs."""

    def change(data: dict[str, Any]) -> None:
        points = {point["tag"]: point for point in _device(data, "motor-1")["points"]}
        points["run_state"]["address"] = points["starts_last_hour"]["address"]

    async with _edge_with(plant, change):
        yield


def _spare_motor(plant: DemoPlant, *, same_nameplate: bool) -> MachineSettings:
    """Another motor: its own serial number, or a copy of the first one's nameplate."""
    original = next(m for m in files.machine_settings(plant.layout, plant.choices) if m.uid == "motor-1")
    uid, seed = ("motor-1", original.seed) if same_nameplate else ("motor-2", original.seed + 50)
    return original.model_copy(update={"uid": uid, "seed": seed, "port": 0, "options": {"start_local_time_s": 3600.0}})


def another_motor(*, same_nameplate: bool) -> Inject:
    """The values of a second motor go up as the first one's."""

    @asynccontextmanager
    async def inject(plant: DemoPlant) -> AsyncIterator[None]:
        from starproof.demo.layout import make

        spare = _spare_motor(plant, same_nameplate=same_nameplate)
        port = make(plant.layout.folder, extra=("spare",)).ports["spare"]
        config = plant.layout.file("spare.yaml")
        machine = spare.model_dump(exclude_defaults=True) | {"port": port}
        config.write_text(
            yaml.safe_dump({"state": str(plant.layout.state / "spare"), "speed": 3.0, "machines": [machine]}),
            encoding="utf-8",
        )
        plant.layout.ports["spare"] = port
        plant.processes.start("spare", "simulate", "run", config)
        await plant.wait_for_port("spare", "spare")

        def change(data: dict[str, Any]) -> None:
            _device(data, "motor-1")["connection"]["port"] = port

        try:
            async with _edge_with(plant, change):
                yield
        finally:
            plant.processes.stop("spare")

    return inject


@asynccontextmanager
async def cloud_clock_off(plant: DemoPlant) -> AsyncIterator[None]:
    """Ingest and web live an hour in the future."""
    shift = {"PYTHONPATH": str(Path(__file__).parent / "shifted_clock"), "STARPROOF_TEST_SHIFT_S": "3600"}
    for name in ("ingest", "web"):
        plant.processes.stop(name)
        plant.start(name, environment=shift)
    await plant.wait_for_port("web", "web")
    await flowing(plant)
    try:
        yield
    finally:
        for name in ("ingest", "web"):
            plant.processes.stop(name)
            plant.start(name)


@asynccontextmanager
async def live_feed_stopped(plant: DemoPlant) -> AsyncIterator[None]:
    """The web process cannot hear what ingest publishes: it still answers every question, but pushes nothing."""
    path = plant.layout.file("web.yaml")
    right = path.read_text(encoding="utf-8")
    data = yaml.safe_load(right)
    data["broker"]["port"] = 1  # nobody listens there
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    plant.processes.stop("web")
    plant.start("web")
    await plant.wait_for_port("web", "web")
    try:
        yield
    finally:
        path.write_text(right, encoding="utf-8")
        plant.processes.stop("web")
        plant.start("web")


HELD_S = 8.0  # older than any fresh value may be, and still short enough that some messages come within the watch


@asynccontextmanager
async def live_feed_old(plant: DemoPlant) -> AsyncIterator[None]:
    """Something before the web service holds its live messages back: old values, shown as good, still one after another."""
    async with through(plant, bridge=holding_back(HELD_S)):
        yield


def _polling(answer: Answer) -> bytes:
    return answer.body.replace(b"data-live=", b"data-poll=") if answer.body.startswith(b"<!") else answer.body


@asynccontextmanager
async def page_polls(plant: DemoPlant) -> AsyncIterator[None]:
    """The pages have no live feed of their own: they would have to ask again and again."""
    async with through(plant, answer=_polling, bridge=None):
        yield


@asynccontextmanager
async def page_goes_on(plant: DemoPlant) -> AsyncIterator[None]:
    """Behind the pages the data have stopped; what was shown last is pushed on and on, as if it were new."""
    async with through(plant, bridge=repeating):
        yield


@asynccontextmanager
async def honest_but_odd(plant: DemoPlant) -> AsyncIterator[None]:
    """Nothing that anyone should be blamed for: a machine whose clock is 3 s ahead, and one that answers slowly."""
    async with ControlClient("127.0.0.1", plant.layout.ports["control"]) as control:
        await control.fault("cnc-1", "clock_off", seconds=3.0)
        await control.fault("motor-1", "slow_reply", seconds=0.3)
        try:
            await flowing(plant)
            yield
        finally:
            await control.clear("cnc-1")
            await control.clear("motor-1")


def _severity(plant: DemoPlant, uid: str) -> str:
    from telemetry.samples import severity_name

    values = plant.get(f"/api/v1/devices/{uid}/latest")["values"]
    return "bad" if all(severity_name(row["q"]) == "bad" for row in values.values()) else "good"


LINK_GONE: dict[str, frozenset[str]] = {"fail": every("rt.1"), "blocked": every("rt.2", "rt.3", "rt.4", "rt.5")}

REALTIME: tuple[Fault, ...] = (
    Fault("healthy", "无故障", nothing),
    Fault("honest_but_odd", "设备时钟快三秒、应答慢，均属正常", honest_but_odd),
    Fault("agent_stopped", "边缘代理停止", stopped("edge"), **LINK_GONE),
    Fault("broker_stopped", "消息代理停止", stopped("broker"), **LINK_GONE),
    Fault("ingest_stopped", "入库停止", stopped("ingest"), **LINK_GONE),
    Fault("web_stopped", "云端接口停止", stopped("web"), **LINK_GONE),
    Fault(
        "device_silent",
        "一台设备不应答",
        silent,
        open=of("boiler-1", "rt.1"),
        blocked=of("boiler-1", "rt.2", "rt.3", "rt.4", "rt.5"),
    ),
    Fault("wrong_word_order", "代理配置字序错误", wrong_word_order, fail=of("boiler-1", "rt.3"), quick=True),
    Fault(
        "another_machine",
        "以另一台设备的数据冒充",
        another_motor(same_nameplate=False),
        fail=of("motor-1", "rt.1"),
        blocked=of("motor-1", "rt.2", "rt.3", "rt.4", "rt.5"),
    ),
    Fault(
        "another_machine_same_nameplate",
        "以铭牌相同的另一台设备冒充",
        another_motor(same_nameplate=True),
        fail=of("motor-1", "rt.3"),
    ),
    # The run state is a declared tag as well, and every declared tag is compared: rt.3 sees it too.
    Fault(
        "wrong_state_register",
        "代理读错运行状态寄存器",
        wrong_state_register,
        fail=of("motor-1", "rt.2", "rt.3"),
    ),
    Fault("live_feed_stopped", "实时推送停止", live_feed_stopped, fail=every("rt.5"), blocked=every("rt.4")),
    Fault("live_feed_old", "实时推送滞后，旧值当作新值", live_feed_old, fail=every("rt.4")),
    Fault("page_polls", "页面靠轮询而非推送", page_polls, fail=every("rt.5"), blocked=every("rt.4")),
    Fault(
        "page_goes_on",
        "数据已停，页面仍推送最后的值",
        page_goes_on,
        fail=every("rt.5"),
        blocked=every("rt.4"),
    ),
    Fault("cloud_clock_off", "云端时钟快一小时", cloud_clock_off, review=every("rt.4")),
)
