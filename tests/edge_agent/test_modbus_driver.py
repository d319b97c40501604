"""The Modbus driver against a real server on a real socket (pymodbus' own, and one that only listens)."""

import asyncio
import contextlib
import itertools
import struct
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge_agent.drivers.base import LinkState
from telemetry.clock import mono_ms
from telemetry.samples import Reason
from tests.edge_agent.harness import Edge, free_port, lost, until

BIG = (1 << 63) + 12345


def words(data: bytes) -> list[int]:
    return list(struct.unpack(f">{len(data) // 2}H", data))


@contextlib.asynccontextmanager
async def server(port: int, holding: dict[int, list[int]], *, coils: list[bool] | None = None) -> AsyncGenerator[Any]:
    """A pymodbus server; addresses not in `holding` are illegal."""
    blocks = [SimData(at, values=list(v), datatype=DataType.REGISTERS) for at, v in sorted(holding.items())]
    bits = [SimData(0, values=coils or [False], datatype=DataType.BITS)]
    other = [SimData(0, values=0, datatype=DataType.REGISTERS)]
    identity = ModbusDeviceIdentification(info_name={"VendorName": "SIMULATED motors", "ModelName": "M 7"})
    running = ModbusTcpServer(
        SimDevice(0, simdata=(bits, [SimData(0, values=[False], datatype=DataType.BITS)], blocks, other)),
        address=("127.0.0.1", port),
        identity=identity,
    )
    await running.serve_forever(background=True)
    try:
        yield running
    finally:
        await running.shutdown()


def device(uid: str, port: int, points: list[dict[str, Any]], **connection: Any) -> dict[str, Any]:
    return {
        "uid": uid,
        "type": "large_motor",
        "connection": {"protocol": "modbus_tcp", "host": "127.0.0.1", "port": port, "timeout_s": 0.3, **connection},
        "period_ms": 50,
        "points": points,
    }


@pytest.mark.parametrize("order", ["ABCD", "CDAB", "BADC", "DCBA"])
async def test_values_and_word_orders_arrive_exact(order: str) -> None:
    def lay(data: bytes) -> list[int]:
        parts = [data[i : i + 2] for i in range(0, len(data), 2)]
        if order in ("CDAB", "DCBA"):
            parts.reverse()
        if order in ("BADC", "DCBA"):
            parts = [p[::-1] for p in parts]
        return words(b"".join(parts))

    port = free_port()
    holding = {
        10: lay(struct.pack(">i", -123456)) + lay(struct.pack(">f", 400.25)) + lay(struct.pack(">Q", BIG)),
        18: lay(struct.pack(">H", 0x0008)),
    }
    points = [
        {"tag": "speed", "address": 10, "type": "int32", "scale": 0.1},
        {"tag": "voltage_avg", "address": 12, "type": "float32"},
        {"tag": "energy", "address": 14, "type": "uint64"},
        {"tag": "mo_trip", "address": 18, "type": "bool", "bit": 3},
        {"tag": "remote_mode", "address": 2, "table": "coil", "type": "bool"},
    ]
    async with server(port, holding, coils=[False, False, True]), Edge(device("m", port, points, order=order)) as edge:
        await until(lambda: edge.batches)
        for tag, value in [
            ("speed", -12345.6),
            ("voltage_avg", 400.25),
            ("energy", BIG),
            ("mo_trip", True),
            ("remote_mode", True),
        ]:
            assert edge.last("m", tag) == (value, 0)
        assert edge.nameplates["m"] == {"maker": "SIMULATED motors", "model": "M 7"}
        assert edge.links == [("m", LinkState.CONNECTED)]


async def test_an_exception_spoils_its_block_and_no_more() -> None:
    port = free_port()
    points = [{"tag": "speed", "address": 0, "type": "int16"}, {"tag": "frequency", "address": 500}]
    async with server(port, {0: [7]}), Edge(device("m", port, points)) as edge:
        await until(lambda: len(edge.batches) > 3)
        assert edge.last("m", "speed") == (7.0, 0)
        assert edge.last("m", "frequency") == lost(Reason.MODBUS_EXCEPTION + 2)
        assert edge.drivers[0].counters.losses == 0


async def test_a_gap_that_the_device_does_not_have_is_read_around() -> None:
    port = free_port()
    points = [{"tag": "speed", "address": 0, "type": "int16"}, {"tag": "frequency", "address": 5}]
    async with server(port, {0: [7], 5: [50]}), Edge(device("m", port, points)) as edge:
        await until(lambda: edge.last("m", "frequency") == (50.0, 0))
        assert edge.last("m", "speed") == (7.0, 0)


async def test_a_dead_device_does_not_delay_another() -> None:
    port, silent_port, closed_port = free_port(), free_port(), free_port()
    point = [{"tag": "speed", "address": 0, "type": "int16"}]

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                pass
        writer.close()

    silent = await asyncio.start_server(swallow, "127.0.0.1", silent_port)
    devices = [device("silent", silent_port, point), device("closed", closed_port, point), device("ok", port, point)]
    async with silent, server(port, {0: [7]}), Edge(*devices) as edge:
        await until(lambda: edge.last("ok", "speed"))
        begin, before = mono_ms(), len(edge.rows("ok", "speed"))
        await until(lambda: edge.last("silent", "speed") and len(edge.rows("ok", "speed")) > before + 20)
        assert mono_ms() - begin < 3000
        assert edge.drivers[2].counters.skipped <= 5
        assert edge.rows("silent", "speed") == [lost(Reason.NO_REPLY)]
        assert edge.rows("closed", "speed") == [lost(Reason.NOT_CONNECTED)]


async def test_a_restart_of_the_server_is_survived_and_said_once() -> None:
    port = free_port()
    point = [{"tag": "speed", "address": 0, "type": "int16"}]
    async with Edge(device("m", port, point)) as edge:
        await until(lambda: edge.last("m", "speed"))
        assert edge.rows("m", "speed") == [lost(Reason.NOT_CONNECTED)]
        async with server(port, {0: [7]}):
            await until(lambda: edge.last("m", "speed") == (7.0, 0))
        await until(lambda: edge.last("m", "speed") == lost(Reason.NO_REPLY))
        async with server(port, {0: [8]}):
            await until(lambda: edge.last("m", "speed") == (8.0, 0))
        bad = [row for row in edge.rows("m", "speed") if row[0] is None]
        assert bad == [lost(Reason.NOT_CONNECTED), lost(Reason.NO_REPLY)]
        assert [state for state, _ in itertools.groupby(state for _, state in edge.links)] == [
            LinkState.CANNOT_REACH,
            LinkState.CONNECTED,
            LinkState.CANNOT_REACH,
            LinkState.CONNECTED,
        ]


async def test_scans_keep_to_their_grid() -> None:
    port = free_port()
    points = [
        {"tag": "speed", "address": 0, "type": "int16"},
        {"tag": "frequency", "address": 1, "period_ms": 200},
    ]
    async with server(port, {0: [7, 50]}), Edge(device("m", port, points)) as edge:
        await until(lambda: len(edge.rows("m", "frequency")) >= 6)
        fast, slow = len(edge.rows("m", "speed")), len(edge.rows("m", "frequency"))
        assert 3 <= fast / slow <= 5
        number = edge.dictionary.number("m", "frequency")
        times = [int(b.time[0]) for b in edge.batches if b.tag[0] == number]
        assert abs((times[-1] - times[0]) / (len(times) - 1) - 200) < 25
