"""One Modbus TCP connection: requests in, raw bytes out.

pymodbus frames, matches transactions and times out; its decoding of registers into Python integers is replaced by
keeping the bytes, because that is where nearly all of a reply's cost would go.
"""

from collections.abc import Mapping
from typing import ClassVar

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest, ReadDeviceInformationResponse
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from edge_agent.drivers.base import CannotReach
from telemetry.points import ModbusConnection, Table
from telemetry.samples import Reason

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS = 1, 2  # Modbus Application Protocol V1.1b3, 7


class Refused(Exception):
    """The device answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class _Raw(ModbusPDU):
    """A reply whose data stays bytes: one count byte, then that many."""

    raw: bytes = b""

    def decode(self, data: bytes) -> None:
        self.raw = data[1 : 1 + data[0]]


class _RawCoils(_Raw):
    function_code = 1


class _RawDiscretes(_Raw):
    function_code = 2


class _RawHolding(_Raw):
    function_code = 3


class _RawInput(_Raw):
    function_code = 4


class Client:
    """One connection. Not reusable after `close`."""

    _requests: ClassVar[Mapping[Table, type[ModbusPDU]]] = {
        "coil": ReadCoilsRequest,
        "discrete": ReadDiscreteInputsRequest,
        "holding": ReadHoldingRegistersRequest,
        "input": ReadInputRegistersRequest,
    }

    def __init__(self, connection: ModbusConnection, *, name: str) -> None:
        self._unit = connection.unit
        self._where = f"{connection.host}:{connection.port}"
        self._timeout_s = connection.timeout_s
        self._client = AsyncModbusTcpClient(
            connection.host,
            port=connection.port,
            name=name,
            timeout=connection.timeout_s,
            retries=0,
            reconnect_delay=0,
        )
        for reply in (_RawCoils, _RawDiscretes, _RawHolding, _RawInput):
            self._client.register(reply)

    async def connect(self) -> None:
        """Raises CannotReach."""
        if not await self._client.connect():
            raise CannotReach(f"{self._where} accepts no connection")

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._client.close()

    async def read(self, table: Table, address: int, count: int) -> bytes:
        """The bytes of `count` registers (or packed bits). Raises Refused, CannotReach."""
        request = self._requests[table](address=address, count=count, dev_id=self._unit)
        reply = await self._execute(request)
        return reply.raw if isinstance(reply, _Raw) else b""

    async def identity(self, code: int) -> dict[int, bytes]:
        """Objects of Read Device Identification (function 43/14, V1.1b3 6.21) by id; `code` 1 basic, 2 regular, 3
        extended. Raises Refused, CannotReach."""
        objects: dict[int, bytes] = {}
        following = 0
        for _ in range(16):
            reply = await self._execute(ReadDeviceInformationRequest(code, following, dev_id=self._unit))
            if not isinstance(reply, ReadDeviceInformationResponse):
                break
            for number, data in reply.information.items():
                objects[number] = data[0] if isinstance(data, list) else data
            if not int(reply.more_follows) or reply.next_object_id <= following:
                break
            following = reply.next_object_id
        return objects

    async def _execute(self, request: ModbusPDU) -> ModbusPDU:
        if not self._client.connected:
            raise CannotReach(f"{self._where} closed the connection", Reason.NO_REPLY)
        try:
            reply: ModbusPDU = await self._client.execute(False, request)
        except ModbusException as error:
            gone = not self._client.connected
            detail = "closed the connection" if gone else f"gave no answer within {self._timeout_s:g} s"
            raise CannotReach(f"{self._where} {detail}", Reason.NO_REPLY) from error
        if reply.isError():
            raise Refused(reply.exception_code)
        return reply
