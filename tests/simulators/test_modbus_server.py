"""Modbus machines over real sockets: every tag, every order, writes that act, refusals, identification."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient

from telemetry.points import ModbusPoint
from tests.plant import TestPlant, eventually, simulated_plant

BADC: dict[str, Any] = {"uid": "motor-2", "type": "large_motor", "order": "BADC"}
FORMATS = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float32": "f", "float64": "d"
}  # fmt: skip


@asynccontextmanager
async def connected(plant: TestPlant, uid: str) -> AsyncIterator[AsyncModbusTcpClient]:
    client = AsyncModbusTcpClient("127.0.0.1", port=plant.units[uid].port, timeout=2, retries=0)
    assert await client.connect()
    try:
        yield client
    finally:
        client.close()


def swapped(registers: list[int], order: str) -> bytes:
    """Registers as big-endian bytes, told differently from the server: bytes first, then words."""
    words = [struct.pack("<H" if order in ("BADC", "DCBA") else ">H", r) for r in registers]
    return b"".join(reversed(words) if order in ("CDAB", "DCBA") else words)


async def read(client: AsyncModbusTcpClient, point: ModbusPoint, order: str) -> float:
    """One tag with a plain client."""
    if point.table in ("coil", "discrete"):
        call = client.read_coils if point.table == "coil" else client.read_discrete_inputs
        return float((await call(point.address, count=1)).bits[0])
    size = {"16": 1, "32": 2, "64": 4}.get(point.type[-2:], 1)
    call = client.read_holding_registers if point.table == "holding" else client.read_input_registers
    reply = await call(point.address, count=size)
    assert not reply.isError(), point
    data = swapped(list(reply.registers), point.order or order)
    if point.type == "bool":
        return float(int.from_bytes(data, "big") >> (point.bit or 0) & 1)
    return struct.unpack(">" + FORMATS[point.type], data)[0] * point.scale + point.offset


async def write(client: AsyncModbusTcpClient, plant: TestPlant, uid: str, tag: str, value: float) -> Any:
    """A set-point with FC 16."""
    points = plant.point_list(uid)
    point = next(p for p in points.points if p.tag == tag)
    assert isinstance(point, ModbusPoint) and points.connection.protocol == "modbus_tcp"
    raw = value if point.type.startswith("float") else round(value / point.scale)
    data = struct.pack(">" + FORMATS[point.type], raw)
    registers = list(struct.unpack(f">{len(data) // 2}H", data))
    mixed = swapped(registers, point.order or points.connection.order)
    return await client.write_registers(point.address, list(struct.unpack(f">{len(mixed) // 2}H", mixed)))


async def test_every_tag_of_every_order_reads_as_the_machine_shows_it(tmp_path: Path) -> None:
    machines = ["boiler-1:industrial_boiler", "motor-1:large_motor", BADC]
    async with simulated_plant(tmp_path, machines=machines) as plant:
        for uid, order in (("boiler-1", "CDAB"), ("motor-1", "DCBA"), ("motor-2", "BADC")):
            points = plant.point_list(uid)
            assert points.connection.protocol == "modbus_tcp" and points.connection.order == order
            await plant.control.fault(uid, "freeze")
            _, shown = await plant.control.values(uid)
            async with connected(plant, uid) as client:
                for point in points.points:
                    assert isinstance(point, ModbusPoint)
                    assert await read(client, point, order) == pytest.approx(shown[point.tag], rel=1e-6), point
            assert {p.tag for p in points.points} == shown.keys()


async def test_writes_act_and_refusals_are_explicit(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path, machines=["boiler-1:industrial_boiler", "motor-1:large_motor"]) as plant:
        async with connected(plant, "boiler-1") as client:
            assert not (await write(client, plant, "boiler-1", "steam_pressure_sp", 1.02)).isError()
            assert (await plant.control.values("boiler-1"))[0]["steam_pressure_sp"] == pytest.approx(1.02)
            assert not (
                await write(client, plant, "boiler-1", "steam_pressure_sp", 1.1)
            ).isError()  # the float32 is above
            assert not (await client.write_register(103, 400)).isError()  # FC 6: o2_trim_sp
            assert (await client.read_holding_registers(103)).registers == [400]
            assert not (await client.write_registers(102, [90, 380])).isError()
            assert (await plant.control.values("boiler-1"))[0]["burner_max_load_sp"] == 90
            assert (await client.write_register(103, 900)).exception_code == 3  # out of range
            assert (await write(client, plant, "boiler-1", "steam_pressure_sp", float("nan"))).exception_code == 3
            assert (await client.write_register(100, 1)).exception_code == 2  # half of a 32-bit value
            assert (await client.write_registers(101, [1, 2])).exception_code == 2
            assert (await client.write_register(5000, 1)).exception_code == 2
            assert (await client.write_coil(0, True)).exception_code == 2
            await plant.control.panel("boiler-1", "remote_off")
            assert (await client.write_register(103, 350)).exception_code == 4  # the machine says no
            assert (await client.read_holding_registers(103)).registers == [380]
        async with connected(plant, "motor-1") as client:
            assert not (await write(client, plant, "motor-1", "frequency_sp", 45.0)).isError()
            assert (await client.write_register(1015, 1)).exception_code == 2  # a measured value

            async def slower() -> bool:
                return ((await plant.control.values("motor-1"))[1]["frequency"] or 99) < 49.6

            await eventually(slower, what="the motor follows its set-point")


async def test_illegal_addresses_and_functions(tmp_path: Path) -> None:
    async with (
        simulated_plant(tmp_path, machines=["boiler-1:industrial_boiler"]) as plant,
        connected(plant, "boiler-1") as client,
    ):
        assert not (await client.read_input_registers(0, count=46)).isError()  # over small gaps
        assert (await client.read_input_registers(40, count=21)).exception_code == 2  # over one of 14 registers
        assert (await client.read_holding_registers(0)).exception_code == 2
        assert (await client.read_discrete_inputs(0, count=3)).bits[:3] == [True, False, True]
        assert (await client.read_exception_status()).exception_code == 1


async def test_identification_says_simulated(tmp_path: Path) -> None:
    machines = ["boiler-1:industrial_boiler", "motor-1:large_motor"]
    async with simulated_plant(tmp_path, machines=machines) as plant:
        serials = set[bytes]()
        for uid in ("boiler-1", "motor-1"):
            async with connected(plant, uid) as client:
                plate = plant.point_list(uid).nameplate
                basic = (await client.read_device_information(read_code=1)).information
                assert (basic[0].decode(), basic[1].decode()) == (plate["maker"], plate["model"])
                assert plate["maker"].startswith("SIMULATED") and plant.point_list(uid).simulated
                extended = (await client.read_device_information(read_code=3)).information
                assert extended[0x80].decode() == plate["serial"]
                one = (await client.read_device_information(read_code=4, object_id=0x80)).information
                assert one == {0x80: extended[0x80]}
                assert (await client.read_device_information(read_code=4, object_id=0x33)).exception_code == 2
                serials.add(extended[0x80])
        assert len(serials) == 2  # each machine has a nameplate of its own


async def test_requests_that_arrive_together_are_answered_in_order(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path, machines=["motor-1:large_motor"]) as plant:
        reader, writer = await asyncio.open_connection("127.0.0.1", plant.units["motor-1"].port)
        frames = b"".join(struct.pack(">HHHBBHH", tid, 0, 6, 1, 3, 1000 + 2 * tid, 2) for tid in range(8))
        writer.write(frames[:30])
        await writer.drain()
        writer.write(frames[30:])
        answers = [await reader.readexactly(13) for _ in range(8)]
        assert [struct.unpack(">H", a[:2])[0] for a in answers] == list(range(8))
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""  # what is not Modbus is cut off
        writer.close()


async def test_several_clients_at_once(tmp_path: Path) -> None:
    async with (
        simulated_plant(tmp_path, machines=["motor-1:large_motor"]) as plant,
        connected(plant, "motor-1") as one,
        connected(plant, "motor-1") as two,
    ):
        replies = await asyncio.gather(*(c.read_holding_registers(1000, count=52) for c in (one, two) * 10))
        assert not any(r.isError() for r in replies)
