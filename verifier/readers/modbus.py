"""The verifier's own Modbus reader: plain requests, plain decoding, one connection to one machine.

Requests are merged only where the point list lets them (`max_gap`, `max_registers`); a merged request that the machine
refuses is asked again point by point, so that one bad address costs one tag.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from telemetry.points import Machine, ModbusConnection, ModbusPoint
from verifier.readers import sunspec
from verifier.readers.base import Clock, Identity, NoAnswer, Scan, TagRead, number
from verifier.readers.registers import UndecodableError, decode, width

BIT_TABLES = ("coil", "discrete")
MAX_BITS = 2000
# Modbus application protocol 1.1b3, 6.21: objects 0 to 6 are named, from 0x80 on they are the maker's own. Where the
# maker's own first object is present it is read as the serial number.
OBJECTS = {
    0x00: "maker",
    0x01: "product_code",
    0x02: "version",
    0x03: "url",
    0x04: "product",
    0x05: "model",
    0x06: "application",
    0x80: "serial",
}
EXTENDED, REGULAR, BASIC = 3, 2, 1


@dataclass(frozen=True, slots=True)
class Block:
    """One request: `count` registers or bits from `address`, and the points inside."""

    table: str
    address: int
    count: int
    points: tuple[ModbusPoint, ...]


def blocks(points: list[ModbusPoint], connection: ModbusConnection) -> tuple[Block, ...]:
    """Requests that bring all points, in ascending order, gaps up to the point list's max_gap read along."""
    out: list[Block] = []
    for point in sorted(points, key=lambda p: (p.table, p.address)):
        limit = MAX_BITS if point.table in BIT_TABLES else connection.max_registers
        end = point.address + width(point)
        last = out[-1] if out else None
        if last and last.table == point.table and point.address <= last.address + last.count + connection.max_gap:
            count = max(last.count, end - last.address)
            if count <= limit:
                out[-1] = Block(last.table, last.address, count, (*last.points, point))
                continue
        out.append(Block(point.table, point.address, width(point), (point,)))
    return tuple(out)


class Link:
    """A Modbus TCP connection that is made anew when it is gone. Raises NoAnswer and nothing else."""

    def __init__(self, connection: ModbusConnection) -> None:
        self._connection = connection
        self._client: AsyncModbusTcpClient | None = None

    async def _connected(self) -> AsyncModbusTcpClient:
        if self._client is not None and self._client.connected:
            return self._client
        self.close()
        at = self._connection
        client = AsyncModbusTcpClient(at.host, port=at.port, timeout=at.timeout_s, retries=0, reconnect_delay=0)
        self._client = client
        try:
            if not await client.connect():
                raise NoAnswer("not_connected")
        except (OSError, ModbusException, TimeoutError) as error:
            raise NoAnswer("not_connected") from error
        return client

    async def ask(self, request: Callable[[AsyncModbusTcpClient], Any]) -> Any:
        """The answer to one request. Raises NoAnswer: not_connected, no_reply or modbus_exception_N."""
        client = await self._connected()
        try:
            answer = await request(client)
        except (ModbusException, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.close()
            raise NoAnswer("no_reply") from error
        if answer.isError():
            raise NoAnswer(f"modbus_exception_{getattr(answer, 'exception_code', 0)}")
        return answer

    async def registers(self, table: str, address: int, count: int) -> list[int]:
        """Registers, or bits as 0 and 1. Raises NoAnswer."""
        unit = self._connection.unit

        def request(client: AsyncModbusTcpClient) -> Any:
            ask = {
                "holding": client.read_holding_registers,
                "input": client.read_input_registers,
                "coil": client.read_coils,
                "discrete": client.read_discrete_inputs,
            }[table]
            return ask(address, count=count, device_id=unit)

        answer = await self.ask(request)
        found = [int(bit) for bit in answer.bits[:count]] if table in BIT_TABLES else list(answer.registers)
        if len(found) != count:
            raise NoAnswer("wrong_length")
        return found

    async def device_information(self, code: int, first: int) -> Any:
        """One part of the device identification, from object `first` on. Raises NoAnswer."""
        unit = self._connection.unit
        return await self.ask(lambda c: c.read_device_information(read_code=code, object_id=first, device_id=unit))

    def close(self) -> None:
        """Drop the connection; the next request makes a new one."""
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.close()
        self._client = None


class ModbusReader:
    """Reads a machine of the point list."""

    def __init__(self, machine: Machine, clock: Clock) -> None:
        if not isinstance(machine.connection, ModbusConnection):
            raise TypeError(f"{machine.uid} does not speak Modbus")
        self._machine = machine
        self._connection = machine.connection
        self._clock = clock
        self._link = Link(self._connection)
        self._points = [p for p in machine.points if isinstance(p, ModbusPoint)]
        self._blocks = blocks(self._points, self._connection)
        self._sunspec = sunspec.chain_reader(machine, self._link, clock)

    async def identity(self) -> Identity:
        """The SunSpec common model where the machine has a SunSpec map, else read device identification (43/14)."""
        if self._sunspec is not None:
            return await self._sunspec.identity()
        reason = "no_identification"
        for code in (EXTENDED, REGULAR, BASIC):
            try:
                return Identity(await self._identification(code))
            except NoAnswer as error:
                reason = str(error)
                if not reason.startswith("modbus_exception"):
                    break
        return Identity(reason=reason)

    async def _identification(self, code: int) -> dict[str, str]:
        found: dict[str, str] = {}
        at = 0
        for _ in range(16):  # answers may come in parts
            answer = await self._link.device_information(code, at)
            for number_, data in answer.information.items():
                raw = data[0] if isinstance(data, list) else data
                text = raw.decode("utf-8", errors="replace") if isinstance(raw, bytes) else str(raw)
                found[OBJECTS.get(number_, f"object_{number_:02x}")] = text.strip("\0 ")
            if answer.more_follows != 0xFF or answer.next_object_id <= at:
                break
            at = answer.next_object_id
        return found

    async def scan(self) -> Scan:
        """All points once."""
        reads: dict[str, TagRead] = {}
        try:
            for block in self._blocks:
                reads |= await self._block(block)
            if self._sunspec is not None:
                reads |= await self._sunspec.reads()
        except NoAnswer as error:
            return Scan(reason=str(error))
        return Scan(reads)

    async def _block(self, block: Block) -> dict[str, TagRead]:
        before = self._clock()
        try:
            registers = await self._link.registers(block.table, block.address, block.count)
        except NoAnswer as error:
            reason = str(error)
            if not reason.startswith("modbus_exception"):
                raise
            if len(block.points) == 1:
                return {block.points[0].tag: TagRead(before, self._clock(), None, reason)}
            out: dict[str, TagRead] = {}
            for point in block.points:
                out |= await self._block(Block(block.table, point.address, width(point), (point,)))
            return out
        after = self._clock()
        return {p.tag: self._read(p, registers[p.address - block.address :], before, after) for p in block.points}

    def _read(self, point: ModbusPoint, registers: list[int], before: int, after: int) -> TagRead:
        try:
            value, reason = number(decode(point, registers[: width(point)], self._connection.order))
        except UndecodableError:
            value, reason = None, "undecodable"
        return TagRead(before, after, value, reason)

    async def close(self) -> None:
        """Drop the connection."""
        self._link.close()
