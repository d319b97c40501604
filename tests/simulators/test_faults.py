"""Faults: what each makes of the values, that they combine, and that a client sees each of them."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from asyncua import Client, ua
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from simulators.control import ControlError
from simulators.faults import NAMES, FaultError, Faults
from telemetry.equipment import equipment_types
from telemetry.points import OpcUaConnection
from tests.plant import TestPlant, eventually, simulated_plant

MOTOR = equipment_types()["large_motor"]
NORMAL = {t.id: t.normal for t in MOTOR.tags}


def played(faults: Faults, count: int, *, step_s: float = 0.1) -> list[dict[str, float]]:
    """What is shown while the load rises by 1 % a step."""
    return [faults.apply({**NORMAL, "load_pct": float(i)}, i * step_s) for i in range(count)]


def test_no_fault_changes_nothing() -> None:
    assert played(Faults(MOTOR), 3)[2] == {**NORMAL, "load_pct": 2.0}


def test_freeze_holds_everything_or_one_tag() -> None:
    faults = Faults(MOTOR)
    faults.set("freeze")
    assert [v["load_pct"] for v in played(faults, 4)] == [0, 0, 0, 0]
    faults.clear()
    faults.set("freeze", tag="speed")
    assert [v["load_pct"] for v in played(faults, 3)] == [0, 1, 2]


def test_spike_drift_noise_and_nan() -> None:
    faults = Faults(MOTOR)
    faults.set("spike", tag="load_pct", size=50, every_s=1, width_s=0.2)
    assert [v["load_pct"] for v in played(faults, 12)] == [50, 51, 2, 3, 4, 5, 6, 7, 8, 9, 60, 61]
    faults.clear()
    faults.set("drift", tag="load_pct", per_s=10)
    assert played(faults, 11)[10]["load_pct"] == 20
    faults.clear()
    faults.set("noise", tag="load_pct", sigma=2)
    errors = [v["load_pct"] - i for i, v in enumerate(played(faults, 400))]
    assert 1.5 < (sum(e * e for e in errors) / 400) ** 0.5 < 2.5
    faults.clear()
    faults.set("nan")
    shown = played(faults, 1)[0]
    assert math.isnan(shown["load_pct"]) and shown["run_state"] == 1 and shown["frequency_sp"] == 50


def test_replay_plays_what_it_recorded_for_ever() -> None:
    faults = Faults(MOTOR)
    faults.set("replay", seconds=0.5)
    loads = [v["load_pct"] for v in played(faults, 16)]
    assert loads[:6] == [0, 1, 2, 3, 4, 5] and set(loads[6:]) <= {0, 1, 2, 3, 4, 5}
    written = faults.apply({**NORMAL, "frequency_sp": 40.0}, 9.0)
    assert written["frequency_sp"] == 50.0  # a recording does not even echo
    faults.set("replay", seconds=0.5, echo=1)
    played(faults, 7)
    assert faults.apply({**NORMAL, "frequency_sp": 40.0}, 9.0)["frequency_sp"] == 40.0


def test_a_generator_stays_in_range_and_echoes_but_does_not_answer() -> None:
    faults = Faults(MOTOR)
    faults.set("random")
    rows = [faults.apply({**NORMAL, "frequency_sp": 40.0, "speed": 1190.0}, i * 0.1) for i in range(600)]
    tag = MOTOR.tag("speed")
    assert all(tag.lo <= r["speed"] <= tag.hi and r["frequency_sp"] == 40.0 for r in rows)
    assert sum(r["speed"] for r in rows) / 600 > 1250 and len({r["speed"] for r in rows}) > 500


def test_faults_combine_in_the_order_they_were_set() -> None:
    faults = Faults(MOTOR)
    faults.set("freeze", tag="load_pct")
    faults.set("drift", tag="load_pct", per_s=1)
    assert played(faults, 11)[10]["load_pct"] == 1
    assert faults.clear("freeze") == 1 and [f.name for f in faults.in_force] == ["drift"]
    assert faults.clear(tag="load_pct") == 1 and faults.clear() == 0


@given(st.sampled_from(["freeze", "spike", "nan", "drift", "noise", "replay", "random"]), st.lists(st.floats(0, 100)))
def test_a_value_fault_always_shows_every_tag(name: str, times: list[float]) -> None:
    faults = Faults(MOTOR)
    faults.set(name)
    for at in sorted(times):
        assert faults.apply(NORMAL, at).keys() == NORMAL.keys()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda f: f.set("melt"), "there are freeze"),
        (lambda f: f.set("drift", tag="steam"), "no tag 'steam'"),
        (lambda f: f.set("drift", speed=2), "it takes per_s"),
        (lambda f: f.set("stop", tag="speed"), "whole machine"),
        (lambda f: f.set("replay", seconds=0), "above 0"),
    ],
)
def test_mistakes_are_explained(call: Callable[[Faults], object], says: str) -> None:
    with pytest.raises(FaultError, match=says):
        call(Faults(MOTOR))


def modbus(plant: TestPlant) -> AsyncModbusTcpClient:
    return AsyncModbusTcpClient("127.0.0.1", port=plant.units["motor-1"].port, timeout=0.5, retries=0)


async def speed(client: AsyncModbusTcpClient) -> int:
    """Raw speed: int32 little endian."""
    reply = await client.read_holding_registers(1020, count=2)
    return int.from_bytes(b"".join(r.to_bytes(2, "big") for r in reply.registers), "little", signed=True)


async def test_a_modbus_client_sees_each_fault(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path, machines=["motor-1:large_motor"], step_s=0.02) as plant:
        control, client = plant.control, modbus(plant)
        assert await client.connect()

        async def becomes(condition: Callable[[int], bool]) -> Callable[[], Awaitable[bool]]:
            async def holds() -> bool:
                return condition(await speed(client))

            return holds

        async def passes(seconds: float) -> None:
            machine = plant.units["motor-1"].source.machine
            until = machine.elapsed_s + seconds
            await eventually(lambda: machine.elapsed_s > until, what=f"{seconds} s of the machine's time")

        await control.fault("motor-1", "spike", tag="speed", size=3000, every_s=1000, width_s=900)
        await eventually(await becomes(lambda n: n > 40_000), what="spike")
        await control.clear("motor-1")
        await control.fault("motor-1", "nan", tag="speed")
        assert await speed(client) == -(1 << 31)
        await control.clear("motor-1")
        await control.fault("motor-1", "drift", tag="speed", per_s=1000)
        await eventually(await becomes(lambda n: n > 20_000), what="drift")
        await control.clear("motor-1")
        await control.fault("motor-1", "noise", tag="speed", sigma=300)
        await eventually(await becomes(lambda n: abs(n - 14_910) > 1000), what="noise")
        await control.clear("motor-1")
        await control.fault("motor-1", "random")
        await eventually(await becomes(lambda n: abs(n - 14_910) > 300), what="random")
        await control.fault("motor-1", "freeze")
        first = await speed(client)
        await passes(0.3)
        assert await speed(client) == first
        await control.clear("motor-1")
        await control.fault("motor-1", "replay", seconds=0.2)
        await passes(0.25)  # the recording lasts 0.2 s
        await control.write("motor-1", "frequency_sp", 45)

        async def slower() -> bool:
            return ((await control.values("motor-1"))[0]["speed"] or 0) < 1480

        await eventually(slower, what="the true speed falls")
        assert all([await speed(client) > 14_850 for _ in range(30)])  # what is shown does not
        client.close()


async def test_a_modbus_client_sees_a_bad_link(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path, machines=["motor-1:large_motor"]) as plant:
        client, loop = modbus(plant), asyncio.get_running_loop()
        assert await client.connect()
        await plant.control.fault("motor-1", "slow_reply", seconds=0.3)
        start = loop.time()
        await speed(client)
        assert loop.time() - start >= 0.3
        await plant.control.clear("motor-1")
        await plant.control.fault("motor-1", "no_reply")
        with pytest.raises(ModbusException):
            await speed(client)
        await plant.control.clear("motor-1")
        await speed(client)
        await plant.control.fault("motor-1", "stop")
        client.close()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", plant.units["motor-1"].port)
        assert not (await plant.control.status())["machines"][0]["listening"]
        await plant.control.clear()
        client = modbus(plant)
        assert await client.connect() and await speed(client) > 0
        client.close()
        with pytest.raises(ControlError, match="no machine"):
            await plant.control.fault("motor-9", "stop")
        with pytest.raises(ControlError, match="no fault"):
            await plant.control.fault("motor-1", "melt")
        with pytest.raises(ControlError, match="panel action"):
            await plant.control.panel("motor-1", "kick")
    assert len(NAMES) == 11


async def test_an_opcua_client_sees_each_fault(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path, machines=["cnc-1:cnc_machine"], step_s=0.05) as plant:
        connection = plant.point_list("cnc-1").connection
        assert isinstance(connection, OpcUaConnection)
        async with Client(connection.endpoint, timeout=1) as client:
            await plant.control.fault("cnc-1", "nan")

            async def absent() -> bool:
                return math.isnan(await client.get_node("ns=2;s=Cnc.SpindleLoad").read_value())

            await eventually(absent, what="NaN in a Double")
            await plant.control.fault("cnc-1", "nan", tag="tool_number")  # an integer cannot carry it

            async def bad() -> bool:
                value = await client.get_node("ns=2;s=Cnc.ToolNumber").read_data_value(raise_on_bad_status=False)
                return value.StatusCode.value == ua.StatusCodes.BadSensorFailure

            await eventually(bad, what="bad status")
            await plant.control.clear()
            await plant.control.fault("cnc-1", "no_reply")
            with pytest.raises((asyncio.TimeoutError, TimeoutError)):
                await client.get_node("i=2258").read_value()
            await plant.control.clear()
        await plant.control.fault("cnc-1", "stop")
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", plant.units["cnc-1"].port)
        await plant.control.clear()
        async with Client(connection.endpoint, timeout=4) as client:
            assert await client.get_node("ns=2;s=Cnc.SpindleProgrammed").read_value() >= 0
