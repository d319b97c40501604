"""A Modbus TCP server in front of one machine: registers are made from its values when a request arrives.

Framing and PDUs are pymodbus'; the data path is ours, because its own servers share one identification per process and
drop requests that arrive together. Requests of a connection are answered in order, connections independently. Function
codes 1-4 read, 6 and 16 write set-points, 43/14 identifies; any other address or register answers exception 2, a refused
set-point 3 (out of its range) or 4 (the machine says no).
"""

import asyncio
import struct
from collections.abc import Mapping

import structlog
from pymodbus.constants import DeviceInformation, ExcCodes
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu import bit_message as bits
from pymodbus.pdu import mei_message as mei
from pymodbus.pdu import register_message as regs

from simulators.journal import Journal
from simulators.machine import WriteRefused
from simulators.maps import ascii_text
from simulators.registers import IllegalAddress, Registers
from simulators.source import Source, quantise

log = structlog.get_logger(__name__)

_READS: dict[int, tuple[str, type[ModbusPDU]]] = {
    1: ("coil", bits.ReadCoilsResponse),
    2: ("discrete", bits.ReadDiscreteInputsResponse),
    3: ("holding", regs.ReadHoldingRegistersResponse),
    4: ("input", regs.ReadInputRegistersResponse),
}
MAX_PENDING = 64
SERIAL_OBJECT = 0x80
"""The private identification object with the serial number: the standard has none for it (V1.1b3, 6.21)."""


def identification(nameplate: Mapping[str, str]) -> dict[int, bytes]:
    """Objects of FC 43/14 from a nameplate; the protocol's strings are ASCII, so other characters are left out."""

    def text(key: str) -> bytes:
        return ascii_text(nameplate.get(key, "")).encode("ascii")

    model, version = text("model"), text("version") or b"1.0"
    objects = {
        0: text("maker"),
        1: model,
        2: version,
        4: model,
        5: model,
        6: b"SIMULATED",
        SERIAL_OBJECT: text("serial"),
    }
    return {number: value for number, value in objects.items() if value}


class ModbusServer:
    """Serves `source` through the register map `registers`. `unit` 0 answers to every unit id."""

    def __init__(self, source: Source, registers: Registers, *, journal: Journal | None = None, unit: int = 0) -> None:
        self.source = source
        self.registers = registers
        self.journal = journal
        self.unit = unit
        self.objects = identification(source.machine.nameplate)
        self._address = "127.0.0.1", 0
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; gives the port (`port` 0: a free one). Raises OSError."""
        self._address = host, port
        await self.open()
        return self._address[1]

    async def open(self) -> None:
        """Listen (again) on the same port. Raises OSError."""
        loop = asyncio.get_running_loop()
        host, port = self._address
        self._server = await loop.create_server(lambda: _Connection(self, self._connections), host, port)
        self._address = host, self._server.sockets[0].getsockname()[1]

    async def update(self) -> None:
        """Nothing to do: registers are made when a request arrives."""

    async def stop(self) -> None:
        """The end."""
        await self.shut()

    async def shut(self) -> None:
        """Refuse new connections and cut the present ones."""
        if self._server is None:
            return
        self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        await self._server.wait_closed()
        self._server = None

    def answer(self, request: ModbusPDU, peer: str) -> ModbusPDU:
        """The response to a request; a write acts on the machine here."""
        fc = request.function_code
        try:
            if fc in _READS:
                return self._read(request)
            if isinstance(request, mei.ReadDeviceInformationRequest):
                return self._identify(request)
            if isinstance(request, regs.WriteSingleRegisterRequest | regs.WriteMultipleRegistersRequest):
                return self._write(request, peer)
        except IllegalAddress:
            return ExceptionResponse(fc, ExcCodes.ILLEGAL_ADDRESS)
        known = fc in (5, 15, 22, 23)
        return ExceptionResponse(fc, ExcCodes.ILLEGAL_ADDRESS if known else ExcCodes.ILLEGAL_FUNCTION)

    def _read(self, request: ModbusPDU) -> ModbusPDU:
        table, response = _READS[request.function_code]
        contents = self.registers.read(table, request.address, request.count, self.source.values)
        return (
            response(bits=[bool(x) for x in contents])
            if table in ("coil", "discrete")
            else response(registers=contents)
        )

    def _write(self, request: ModbusPDU, peer: str) -> ModbusPDU:
        contents = list(request.registers)
        if not contents or (isinstance(request, regs.WriteMultipleRegistersRequest) and len(contents) != request.count):
            return ExceptionResponse(request.function_code, ExcCodes.ILLEGAL_VALUE)
        kind = self.source.kind
        # Onto the tag's grid first: 1.1 as a float32 is a little more than 1.1.
        asked = [
            (tag, quantise(value, kind.tag(tag).resolution))
            for tag, value in self.registers.writes(request.address, contents)
        ]
        if any(not kind.tag(tag).lo <= value <= kind.tag(tag).hi for tag, value in asked):
            return ExceptionResponse(request.function_code, ExcCodes.ILLEGAL_VALUE)
        for tag, value in asked:
            try:
                self.source.write(tag, value)
            except WriteRefused as refusal:
                log.info("write refused", uid=self.source.machine.uid, tag=tag, value=value, reason=str(refusal))
                return ExceptionResponse(request.function_code, ExcCodes.DEVICE_FAILURE)
        if self.journal:
            self.journal.modbus(
                peer=peer,
                how="modbus_write",
                fc=request.function_code,
                address=request.address,
                count=len(contents),
                values=dict(asked),
            )
        if isinstance(request, regs.WriteSingleRegisterRequest):
            return regs.WriteSingleRegisterResponse(address=request.address, registers=contents)
        return regs.WriteMultipleRegistersResponse(address=request.address, count=len(contents))

    def _identify(self, request: mei.ReadDeviceInformationRequest) -> ModbusPDU:
        code, first = request.read_code, request.object_id
        if code == DeviceInformation.SPECIFIC:
            if first not in self.objects:
                return ExceptionResponse(request.function_code, ExcCodes.ILLEGAL_ADDRESS)
            return mei.ReadDeviceInformationResponse(code, {first: self.objects[first]})
        last = {1: 2, 2: 0x7F, 3: 0xFF}.get(int(code))  # basic, regular, extended
        if last is None:
            return ExceptionResponse(request.function_code, ExcCodes.ILLEGAL_VALUE)
        start = first if first in self.objects and first <= last else 0
        return mei.ReadDeviceInformationResponse(
            code, {n: value for n, value in sorted(self.objects.items()) if start <= n <= last}
        )

    def served(self, request: ModbusPDU, response: ModbusPDU, peer: str) -> None:
        """Journal a reply that was handed to the socket."""
        if self.journal is None or request.function_code not in _READS or response.isError():
            return
        table = _READS[request.function_code][0]
        contents = response.registers or [int(b) for b in response.bits][: request.count]
        self.journal.modbus(
            peer=peer,
            how="modbus",
            fc=request.function_code,
            address=request.address,
            count=request.count,
            values=self.registers.tags(table, request.address, contents),
        )


class _Connection(asyncio.Protocol):
    """One client. Frames are cut out of the stream as they arrive and answered one after the other."""

    def __init__(self, server: ModbusServer, connections: "set[_Connection]") -> None:
        self._server = server
        self._all = connections
        self._framer = FramerSocket(DecodePDU(True))
        self._buffer = b""
        self._requests: asyncio.Queue[tuple[ModbusPDU | None, bytes]] = asyncio.Queue(MAX_PENDING)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._all.add(self)
        host, port = transport.get_extra_info("peername")[:2]
        self._peer = f"{host}:{port}"
        self._task = asyncio.create_task(self._serve(), name=f"modbus {self._peer}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.discard(self)
        if self._task:
            self._task.cancel()

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 8:
            size = 6 + struct.unpack_from(">H", self._buffer, 4)[0]
            if self._buffer[2:4] != b"\0\0" or not 8 <= size <= 260:
                self.abort()  # not Modbus: the stream cannot be found again
                return
            if len(self._buffer) < size:
                return
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            self._frame(frame)

    def _frame(self, frame: bytes) -> None:
        try:
            request = self._framer.handleFrame(frame, 0, 0)[1]
        except (ModbusException, ValueError, KeyError, IndexError, struct.error):
            request = None  # an unknown function, or a body that does not fit it
        try:
            self._requests.put_nowait((request, frame))
        except asyncio.QueueFull:
            self.abort()

    async def _serve(self) -> None:
        while True:
            request, frame = await self._requests.get()
            faults = self._server.source.faults
            if delay := faults.reply_delay_s:
                await asyncio.sleep(delay)
            unit = frame[6]
            if faults.no_reply or (self._server.unit and unit != self._server.unit):
                continue
            if request is None:
                self._send(ExceptionResponse(frame[7] & 0x7F, ExcCodes.ILLEGAL_FUNCTION), frame)
                continue
            response = self._server.answer(request, self._peer)
            if self._send(response, frame):
                self._server.served(request, response, self._peer)

    def _send(self, response: ModbusPDU, frame: bytes) -> bool:
        if self._transport is None or self._transport.is_closing():
            return False
        response.transaction_id = struct.unpack_from(">H", frame)[0]
        response.dev_id = frame[6]
        self._transport.write(self._framer.buildFrame(response))
        return True
