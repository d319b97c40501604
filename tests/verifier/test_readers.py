"""The verifier's readers against small real servers: pymodbus and asyncua."""

# pyright: reportPrivateImportUsage=false, reportArgumentType=false
# (asyncua's annotations contradict its use.)

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from asyncua import Server, ua
from pymodbus import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from telemetry.points import Machine, ModbusConnection, ModbusPoint, OpcUaConnection, OpcUaPoint, SunSpecPoint
from verifier.readers.base import Identity, steady_clock
from verifier.readers.modbus import ModbusReader, blocks
from verifier.readers.open import reader_for


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.asynccontextmanager
async def modbus(registers: dict[int, list[int]]) -> AsyncGenerator[int]:
    """A pymodbus server with some holding registers and a coil block."""
    data = [SimData(at, values=list(values), datatype=DataType.REGISTERS) for at, values in registers.items()]
    identity = ModbusDeviceIdentification(
        info_name={
            "VendorName": "SIMULATED Works",
            "ProductCode": "P1",
            "MajorMinorRevision": "1.2",
            "ModelName": "M-7",
        }
    )
    port = free_port()
    server = ModbusTcpServer(SimDevice(1, simdata=data), identity=identity, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        yield port
    finally:
        await server.shutdown()


def machine(port: int, points: list[Any], **connection: Any) -> Machine:
    fields = {"host": "127.0.0.1", "port": port, "timeout_s": 0.5, **connection}
    return Machine(uid="m1", type="large_motor", connection=ModbusConnection(**fields), points=points)


async def test_modbus_values_windows_and_identity() -> None:
    raw = struct.unpack(">4H", struct.pack(">Q", (1 << 63) + 5))
    temperature = list(struct.unpack(">2H", struct.pack(">f", 81.25)))[::-1]
    points: list[Any] = [
        ModbusPoint(tag="energy", address=10, type="uint64", order="ABCD"),
        ModbusPoint(tag="temp", address=14, type="float32"),
        ModbusPoint(tag="on", address=16, type="bool", bit=3, order="ABCD"),
    ]
    async with modbus({10: [*raw, *temperature, 0x0008]}) as port:
        clock = steady_clock()
        reader = ModbusReader(machine(port, points, order="CDAB"), clock)
        start = clock()
        scan = await reader.scan()
        assert {tag: read.value for tag, read in scan.reads.items()} == {
            "energy": (1 << 63) + 5,
            "temp": 81.25,
            "on": True,
        }
        assert all(start <= read.before <= read.after <= clock() for read in scan.reads.values())
        identity = await reader.identity()
        assert identity.nameplate["maker"] == "SIMULATED Works"
        assert identity.nameplate["model"] == "M-7"
        assert identity.simulated
        await reader.close()


async def test_one_bad_address_costs_one_tag() -> None:
    points: list[Any] = [ModbusPoint(tag="good", address=10), ModbusPoint(tag="bad", address=14)]
    async with modbus({10: [7, 8]}) as port:
        reader = ModbusReader(machine(port, points), steady_clock())
        scan = await reader.scan()
        assert (scan.reason, scan.reads["good"].value, scan.reads["bad"].value) == ("", 7, None)
        assert scan.reads["bad"].reason.startswith("modbus_exception_")
        await reader.close()


async def test_nobody_there_is_a_reason_and_the_reader_comes_back() -> None:
    port = free_port()
    reader = ModbusReader(machine(port, [ModbusPoint(tag="a", address=1)]), steady_clock())
    assert (await reader.scan()).reason == "not_connected"
    assert (await reader.identity()).reason == "not_connected"
    await reader.close()


async def test_a_machine_that_hangs_up_in_silence_is_no_reply() -> None:
    async def swallow(stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await stream.read(300):
                pass
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader = ModbusReader(machine(port, [ModbusPoint(tag="a", address=1)], timeout_s=0.2), steady_clock())
    assert (await reader.scan()).reason == "no_reply"
    await reader.close()
    server.close()


def test_requests_are_merged_only_as_the_list_lets_them() -> None:
    points = [ModbusPoint(tag=f"t{a}", address=a) for a in (0, 1, 5, 20)]
    connection = ModbusConnection(host="h", max_gap=3, max_registers=4)
    assert [(b.address, b.count) for b in blocks(points, connection)] == [(0, 2), (5, 1), (20, 1)]
    connection = ModbusConnection(host="h", max_gap=3)
    assert [(b.address, b.count) for b in blocks(points, connection)] == [(0, 6), (20, 1)]


def text(value: str, registers: int) -> list[int]:
    return list(struct.unpack(f">{registers}H", value.encode().ljust(2 * registers, b"\0")))


async def test_a_sunspec_chain_is_walked() -> None:
    common = [
        1,
        66,
        *text("SIMULATED", 16),
        *text("PV-100", 16),
        *text("", 8),
        *text("1.0", 8),
        *text("SN42", 16),
        1,
        0,
    ]
    inverter = [103, 50] + [0xFFFF] * 50
    inverter[14], inverter[15] = 7620, 1  # W, W_SF
    inverter[16], inverter[17] = 0xFFFF, 0xFFFE  # Hz not available
    inverter[24:27] = [0, 1234, 2]  # WH, WH_SF
    chain = [0x5375, 0x6E53, *common, *inverter, 0xFFFF, 0]
    points: list[Any] = [
        SunSpecPoint(tag="ac_power", model=103, point="W", scale=0.001),
        SunSpecPoint(tag="hz", model=103, point="Hz"),
        SunSpecPoint(tag="energy", model=103, point="WH", scale=0.001),
        SunSpecPoint(tag="strings", model=160, point="module.DCA", how="min"),
    ]
    async with modbus({40000: chain}) as port:
        reader = ModbusReader(machine(port, points, sunspec_base=40000), steady_clock())
        identity = await reader.identity()
        assert (identity.nameplate["model"], identity.nameplate["serial"]) == ("PV-100", "SN42")
        reads = (await reader.scan()).reads
        assert reads["ac_power"].value == pytest.approx(76.2)
        assert reads["energy"].value == pytest.approx(123.4)
        assert (reads["hz"].value, reads["hz"].reason) == (None, "not_available")
        assert reads["strings"].reason == "no_such_model"
        await reader.close()


async def test_no_marker_is_a_reason() -> None:
    points: list[Any] = [SunSpecPoint(tag="w", model=103, point="W")]
    async with modbus({40000: [1, 2, 3, 4]}) as port:
        reader = ModbusReader(machine(port, points, sunspec_base=40000), steady_clock())
        assert (await reader.scan()).reads["w"].reason.startswith("not_sunspec")
        assert (await reader.identity()).reason.startswith("not_sunspec")
        await reader.close()


@contextlib.asynccontextmanager
async def opcua() -> AsyncGenerator[str]:
    server = Server()
    await server.init()
    endpoint = f"opc.tcp://127.0.0.1:{free_port()}/cnc"
    server.set_endpoint(endpoint)
    await server.set_application_uri("urn:works:SIMULATED:cnc1")
    space = await server.register_namespace("urn:works:cnc")
    owner = await server.nodes.objects.add_object(ua.NodeId("Cnc", space), ua.QualifiedName("Cnc", space))
    plate = await owner.add_object(space, "Identification")
    await plate.add_property(space, "Manufacturer", ua.LocalizedText("SIMULATED 仿真"))
    await plate.add_property(space, "Model", ua.LocalizedText("C-5"))
    await plate.add_property(space, "SerialNumber", "S5")
    await owner.add_variable(ua.NodeId("Cnc.Speed", space), "Speed", 1200.5)
    await owner.add_variable(ua.NodeId("Cnc.Parts", space), "Parts", (1 << 63) + 1, ua.VariantType.UInt64)
    bad = await owner.add_variable(ua.NodeId("Cnc.Bad", space), "Bad", 1.0)
    stopped = ua.DataValue(ua.Variant(1.0), StatusCode=ua.StatusCode(ua.UInt32(ua.StatusCodes.BadSensorFailure)))
    await bad.write_attribute(ua.AttributeIds.Value, stopped)
    async with server:
        yield endpoint


async def test_opcua_values_status_clock_and_identity() -> None:
    points: list[Any] = [
        OpcUaPoint(tag=t, node=f"ns=2;s=Cnc.{n}")
        for t, n in (("speed", "Speed"), ("parts", "Parts"), ("bad", "Bad"), ("missing", "Nowhere"))
    ]
    async with opcua() as endpoint:
        clock = steady_clock()
        target = Machine(uid="c", type="cnc_machine", connection=OpcUaConnection(endpoint=endpoint), points=points)
        reader = reader_for(target, clock)
        scan = await reader.scan()
        assert (scan.reads["speed"].value, scan.reads["parts"].value) == (1200.5, (1 << 63) + 1)
        assert (scan.reads["bad"].value, scan.reads["bad"].reason) == (None, "BadSensorFailure")
        assert scan.reads["missing"].reason == "BadNodeIdUnknown"
        assert scan.machine_ms is not None and scan.machine_window is not None
        assert abs(scan.machine_ms - clock()) < 2000
        identity = await reader.identity()
        assert identity == Identity(
            {"maker": "SIMULATED 仿真", "model": "C-5", "serial": "S5"}, "urn:works:SIMULATED:cnc1"
        )
        assert identity.simulated
        await reader.close()


async def test_opcua_nobody_there_and_unusable_credentials_are_reasons() -> None:
    endpoint = f"opc.tcp://127.0.0.1:{free_port()}/x"
    points: list[Any] = [OpcUaPoint(tag="a", node="ns=2;s=a")]
    plain = OpcUaConnection(endpoint=endpoint, timeout_s=0.5)
    secure = OpcUaConnection(endpoint=endpoint, policy="Basic256Sha256", mode="SignAndEncrypt")
    for connection, reason in ((plain, "not_connected"), (secure, "credentials_unusable")):
        reader = reader_for(Machine(uid="a", type="cnc_machine", connection=connection, points=points), steady_clock())
        assert (await reader.scan()).reason == reason
        assert (await reader.identity()).reason == reason
        await reader.close()


def test_simulated_is_taken_from_plate_or_uri() -> None:
    assert Identity({"application": "SIMULATED"}).simulated
    assert Identity(uri="urn:simulated:x").simulated
    assert not Identity({"maker": "Works"}, "urn:works:x").simulated
