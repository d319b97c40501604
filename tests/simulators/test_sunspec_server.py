"""The photovoltaic inverter as a SunSpec device, read by walking its chain with a plain client."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient

from telemetry.points import SunSpecPoint
from telemetry.sunspec import definitions
from tests.plant import TestPlant, eventually, simulated_plant

BASE = 40000
CHAIN = [1, 103, 120, 121, 123, 160, 302, 303, 307, 64900]


@asynccontextmanager
async def inverter(folder: Path) -> AsyncIterator[tuple[TestPlant, AsyncModbusTcpClient]]:
    async with simulated_plant(folder, machines=["pv-1:photovoltaic"]) as plant:
        client = AsyncModbusTcpClient("127.0.0.1", port=plant.units["pv-1"].port, timeout=2, retries=0)
        assert await client.connect()
        try:
            yield plant, client
        finally:
            client.close()


async def registers(client: AsyncModbusTcpClient, address: int, count: int) -> list[int]:
    """Any number of registers, 100 a request."""
    out: list[int] = []
    while len(out) < count:
        reply = await client.read_holding_registers(address + len(out), count=min(100, count - len(out)))
        assert not reply.isError()
        out += reply.registers
    return out


async def walk(client: AsyncModbusTcpClient) -> dict[int, tuple[int, list[int]]]:
    """Model id → (address of its ID register, all its registers), in the chain's order."""
    assert await registers(client, BASE, 2) == [0x5375, 0x6E53]
    blocks: dict[int, tuple[int, list[int]]] = {}
    at = BASE + 2
    while True:
        model, length = await registers(client, at, 2)
        if model == 0xFFFF:
            return blocks
        blocks[model] = at, await registers(client, at, length + 2)
        at += length + 2


def number(block: list[int], at: int, kind: str) -> float | None:
    """One point, None for not available."""
    size = 2 if kind.endswith("32") else 1
    data = struct.pack(f">{size}H", *block[at : at + size])
    raw = int.from_bytes(data, "big")
    if raw == definitions().na[kind] and kind != "acc32":
        return None
    return int.from_bytes(data, "big", signed=kind in ("int16", "sunssf"))


def text(block: list[int], at: int, size: int) -> str:
    return struct.pack(f">{size}H", *block[at : at + size]).rstrip(b"\0").decode("ascii")


async def test_the_chain_is_the_declared_one(tmp_path: Path) -> None:
    async with inverter(tmp_path) as (plant, client):
        blocks = await walk(client)
        assert list(blocks) == CHAIN
        plate = plant.point_list("pv-1").nameplate
        common = blocks[1][1]
        assert text(common, 2, 16).startswith("SIMULATED") and text(common, 18, 16) == plate["model"]
        assert text(common, 50, 16) == plate["serial"]
        assert blocks[120][1][3] * 10 ** blocks[120][1][4] == 100_000  # WRtg, WRtg_SF: 100 kW
        assert blocks[103][1][3:6] == [0xFFFF] * 3  # AphA..C: not there
        assert blocks[160][1][8] == 16 and blocks[160][1][1] == 8 + 16 * 20


async def test_every_tag_reads_as_the_machine_shows_it(tmp_path: Path) -> None:
    async with inverter(tmp_path) as (plant, client):
        await plant.control.fault("pv-1", "freeze")
        _, shown = await plant.control.values("pv-1")
        blocks = await walk(client)
        points = plant.point_list("pv-1").points
        assert {p.tag for p in points} == shown.keys()
        for point in points:
            assert isinstance(point, SunSpecPoint)
            block, model = blocks[point.model][1], definitions().models[point.model]
            values: list[float] = []
            for at, spec in model.places(point.point, block[1]):
                sf = number(block, model.points[spec.sf].at, "sunssf") if isinstance(spec.sf, str) else spec.sf or 0
                raw = number(block, at, spec.type)
                assert raw is not None and sf is not None, point
                values.append(raw * 10.0**sf * point.scale)
            value = min(values) if point.how == "min" else sum(values) / len(values)
            assert value == pytest.approx(shown[point.tag], abs=1e-9, rel=1e-9), point
        assert number(blocks[307][1], 5, "int16") == round(shown["wind_speed"] or 0)  # the rough one, whole m/s


async def test_a_limit_and_its_enable_register_in_one_request(tmp_path: Path) -> None:
    async with inverter(tmp_path) as (plant, client):
        at = (await walk(client))[123][0]
        block = await registers(client, at, 26)
        # WMaxLimPct, WinTms, RvrtTms, RmpTms, WMaxLim_Ena; what is between goes back as it was read.
        assert not (await client.write_registers(at + 5, [500, block[6], 600, block[8], 1])).isError()
        true, _ = await plant.control.values("pv-1")
        assert (true["power_limit_sp"], true["power_limit_ena_sp"], true["power_limit_rvrt_sp"]) == (50.0, 1.0, 600.0)

        async def limited() -> bool:
            return ((await plant.control.values("pv-1"))[1]["power_limit_pct"] or 100) < 95

        await eventually(limited, what="the inverter limits its power")
        assert not (await client.write_register(at + 10, 990)).isError()  # OutPFSet
        assert (await client.write_register(at + 10, 900)).exception_code == 3
        assert (await client.write_register(at + 3, 5)).exception_code == 2  # Conn_RvrtTms is not implemented
        assert (await client.write_register(BASE + 5, 5)).exception_code == 2
        await plant.control.panel("pv-1", "lockout_on")
        assert (await client.write_register(at + 5, 800)).exception_code == 4


async def test_a_value_that_is_not_there_is_the_models_sentinel(tmp_path: Path) -> None:
    async with inverter(tmp_path) as (plant, client):
        await plant.control.fault("pv-1", "nan")
        blocks = await walk(client)
        assert blocks[103][1][14] == 0x8000  # W, int16
        assert blocks[103][1][2] == 0xFFFF  # A, uint16
        assert blocks[160][1][19] == 0xFFFF  # first module's DCA
        assert blocks[123][1][5] != 0xFFFF  # a set-point is still what it is


async def test_beyond_the_map_is_no_address(tmp_path: Path) -> None:
    async with inverter(tmp_path) as (_, client):
        assert (await client.read_holding_registers(BASE - 1, count=2)).exception_code == 2
        assert (await client.read_input_registers(BASE, count=2)).exception_code == 2
        assert (await client.read_holding_registers(BASE + 2000, count=1)).exception_code == 2
