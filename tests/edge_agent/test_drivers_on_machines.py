"""The drivers on simulated machines, whose servers encode with code of their own: what arrives is what the machine has."""

import math
from pathlib import Path
from typing import Any

import pytest

from simulators.source import Source
from telemetry.dictionary import DeviceSpec, TagSpec
from telemetry.equipment import TagKind
from telemetry.samples import Reason
from tests.edge_agent.harness import Edge, lost, until
from tests.plant import simulated_plant

MACHINES = ["boiler-1:industrial_boiler", "motor-1:large_motor", "pv-1:photovoltaic", "compressor-1:air_compressor"]


def arrived(edge: Edge, source: Source, device: DeviceSpec, spec: TagSpec) -> bool:
    """Whether a tag's last row is good and, within half a step of what the register can show and a float32's rounding,
    what the machine has; a counter may have gone on."""
    tag, true = source.kind.tag(spec.id), source.values[spec.id]
    row = edge.last(device.uid, spec.id)
    slack = float(spec.resolution or 0) / 2 + abs(true) * 2**-23
    if tag.kind is TagKind.COUNTER:
        slack += 2 * tag.resolution
    if (
        spec.source_time and tag.period_s > 1
    ):  # the server itself renews it that seldom: it may be from before the freeze
        slack += (tag.hi - tag.lo) / 20
    return row is not None and row[1] == 0 and math.isclose(row[0], true, rel_tol=0, abs_tol=slack)


@pytest.fixture
def uids() -> list[str]:
    return [m.partition(":")[0] for m in MACHINES]


async def test_every_tag_of_every_machine_arrives_as_it_is(tmp_path: Path, uids: list[str]) -> None:
    async with simulated_plant(tmp_path, machines=MACHINES) as plant:
        for unit in plant.units.values():
            unit.source.set_fault("freeze")
        devices = [plant.point_list(uid).model_dump() | {"period_ms": 100} for uid in uids]
        async with Edge(*devices, state_dir=str(tmp_path / "agent")) as edge:
            numbers = range(len(edge.dictionary.tags))
            await until(lambda: all(any(n in b.tag for b in edge.batches) for n in numbers), seconds=30)
            wrong: list[object] = []

            def agree() -> bool:
                """Servers sample their machine now and then, so the frozen value may take a moment."""
                wrong[:] = [x for x in edge.dictionary.tags if not arrived(edge, plant.units[x[0].uid].source, *x)]
                return not wrong

            await until(agree, seconds=30)
            assert all("SIMULATED" in str(edge.nameplates[uid]) and edge.nameplates[uid]["serial"] for uid in uids)


async def test_what_a_sunspec_device_does_not_have_is_not_available(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path, machines=["pv-1:photovoltaic"]) as plant:
        plant.units["pv-1"].source.set_fault("nan", tag="ac_power")
        device = plant.point_list("pv-1").model_dump() | {"period_ms": 100}
        async with Edge(device) as edge:
            await until(lambda: edge.last("pv-1", "ac_power"))
            assert edge.last("pv-1", "ac_power") == lost(Reason.NOT_AVAILABLE)
            current = edge.last("pv-1", "ac_current")
            assert current is not None
            assert current[1] == 0


async def test_a_device_without_sunspec_marker_is_said_to_be_unreachable(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path, machines=["pv-1:photovoltaic"]) as plant:
        listed = plant.point_list("pv-1").model_dump()
        device = listed | {"period_ms": 100, "connection": listed["connection"] | {"sunspec_base": 40001}}
        async with Edge(device) as edge:
            await until(lambda: edge.batches)
            assert edge.last("pv-1", "ac_power") == lost(Reason.NOT_CONNECTED)
            assert "SunSpec marker" in edge.details[-1]


async def test_a_server_that_falls_silent_without_closing_is_noticed_and_taken_up_again(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path, machines=["cnc-1:cnc_machine", "motor-1:large_motor"]) as plant:
        devices: list[dict[str, Any]] = [
            plant.point_list(uid).model_dump() | {"period_ms": 100} for uid in ("cnc-1", "motor-1")
        ]
        for device in devices:
            device["connection"] = device["connection"] | {"timeout_s": 1.0}
        async with Edge(*devices) as edge:
            watched = [("cnc-1", "spindle_speed"), ("motor-1", "speed")]
            await until(lambda: all((row := edge.last(*w)) is not None and row[1] == 0 for w in watched))
            for uid in ("cnc-1", "motor-1"):
                plant.units[uid].source.set_fault("no_reply")
            await until(lambda: all(edge.last(*w) == lost(Reason.NO_REPLY) for w in watched))
            for uid in ("cnc-1", "motor-1"):
                await plant.control.clear(uid)
            await until(lambda: all((row := edge.last(*w)) is not None and row[1] == 0 for w in watched), seconds=15)
