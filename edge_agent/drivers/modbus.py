"""The Modbus TCP driver: one connection per device, scans on a fixed grid.

A device is its own task and connection, so a dead one delays no other. Scans of different periods share the connection
and run one at a time, each on its own grid of period multiples: no drift, and a grid point that has passed is skipped
and counted, never made up for. A value's time is when the reply that holds it arrived.

What a failure means: an exception reply makes that block's tags bad with the code and the rest goes on; no reply within
the timeout means that the connection is given up, all tags are bad, and the device is tried again with backoff.
"""

from collections.abc import Sequence

import structlog

from edge_agent.drivers import modbus_sunspec
from edge_agent.drivers.base import Backoff, CannotReach, DriverCounters, Outlet
from edge_agent.drivers.grid import Turn, next_turn
from edge_agent.drivers.modbus_client import ILLEGAL_ADDRESS, Client, Refused
from edge_agent.drivers.modbus_decode import Reply, Scan
from edge_agent.drivers.modbus_layout import Layout, plain_layout
from edge_agent.drivers.modbus_nameplate import read_nameplate
from edge_agent.drivers.modbus_plan import Block, split
from telemetry.clock import mono_ms, now_ms
from telemetry.points import ModbusConnection, ModbusPoint, SunSpecPoint
from telemetry.samples import Kind, Quality, Reason, make, quality

log = structlog.get_logger(__name__)


class ModbusDriver:
    """One device over Modbus TCP. `points[i]` is read into tag number outlet.base + i, as `outlet.tags[i]` says."""

    def __init__(
        self,
        outlet: Outlet,
        connection: ModbusConnection,
        points: Sequence[ModbusPoint | SunSpecPoint],
    ) -> None:
        self._outlet = outlet
        self._connection = connection
        self._points = tuple(points)
        self._up = False
        self._mute = False  # it does not answer function 43 at all
        self._split: set[Block] = set()  # requests that the device refused, to be read piecewise

    @property
    def uid(self) -> str:
        """The device."""
        return self._outlet.uid

    @property
    def counters(self) -> DriverCounters:
        """Running totals."""
        return self._outlet.counters

    async def run(self) -> None:
        """For ever; ends only by cancellation."""
        backoff = Backoff()
        while True:
            client = Client(self._connection, name=self.uid)
            try:
                await client.connect()
                await self._session(client)
            except Refused as error:
                self._outlet.lost(CannotReach(f"refuses to be read: {error}"))
            except CannotReach as error:
                self._outlet.lost(error)
            except Exception as error:  # whatever a broken device makes of the library: this device is lost, no other
                log.exception("driver_fault", device=self.uid)
                self._outlet.lost(CannotReach(f"not understood: {type(error).__name__}"))
            finally:
                client.close()
            if self._up:
                backoff.reset()
            self._up = False
            await backoff.wait()

    async def _session(self, client: Client) -> None:
        layout = await self._prepare(client)
        turns = [Turn(scan, scan.period_ms, mono_ms()) for scan in self._scans(layout)]
        while True:
            turn = await next_turn(turns)
            refused = await self._read(client, turn.what)
            self.counters.skipped += turn.advance()
            if refused - self._split:
                self._split |= refused
                due = {t.period_ms: t.due_ms for t in turns}
                turns = [Turn(scan, scan.period_ms, due[scan.period_ms]) for scan in self._scans(layout)]

    async def _prepare(self, client: Client) -> Layout:
        """Nameplate, and where the points are."""
        base, tags, connection = self._outlet.base, self._outlet.tags, self._connection
        if connection.sunspec_base is None:
            plain = [p for p in self._points if isinstance(p, ModbusPoint)]
            await self._identify(client)
            return plain_layout(plain, tags, base=base, connection=connection)
        models = await modbus_sunspec.walk(client, connection.sunspec_base)
        self._answered()
        nameplate = await modbus_sunspec.read_nameplate(client, models)
        if nameplate:
            self._outlet.on_nameplate(self.uid, nameplate)
        chained = [p for p in self._points if isinstance(p, SunSpecPoint)]
        layout = modbus_sunspec.sunspec_layout(chained, tags, models, base=base)
        if layout.absent:
            self._say_absent(layout.absent)
        return layout

    async def _identify(self, client: Client) -> None:
        if self._mute:
            return
        try:
            nameplate = await read_nameplate(client)
        except CannotReach:
            # Some devices drop what they do not know instead of refusing it: asked once, never again.
            self._mute = True
            return
        self._answered()
        if nameplate:
            self._outlet.on_nameplate(self.uid, nameplate)

    def _answered(self) -> None:
        if not self._up:
            self._up = True
            self._outlet.connected()

    def _say_absent(self, absent: Sequence[int]) -> None:
        names = [self._outlet.tags[number - self._outlet.base].id for number in absent]
        log.warning("sunspec_points_absent", device=self.uid, tags=names)
        kinds = [int(self._outlet.tags[number - self._outlet.base].kind) for number in absent]
        code = quality(Quality.BAD, Reason.NOT_AVAILABLE, has_value=False)
        self._outlet.send(make(absent, now_ms(), 0, kind=kinds or [Kind.FLOAT], quality=code))

    def _scans(self, layout: Layout) -> list[Scan]:
        blocks: list[Block] = []
        for block in layout.blocks(self._connection):
            blocks += split(block, layout.spans) if block in self._split else (block,)
        return layout.scans(blocks)

    async def _read(self, client: Client, scan: Scan) -> set[Block]:
        """Read and emit one scan; the blocks that should be read piecewise from now on. Raises CannotReach."""
        replies: list[Reply] = []
        refused: set[Block] = set()
        lost: CannotReach | None = None
        for block in scan.blocks:
            self.counters.requests += 1
            try:
                data = await client.read(block.table, block.address, block.count)
            except Refused as error:
                self._answered()
                self.counters.exceptions += 1
                code = quality(Quality.BAD, Reason.MODBUS_EXCEPTION + (error.code & 0x7F), has_value=False)
                replies.append(Reply(b"", now_ms(), code))
                if error.code == ILLEGAL_ADDRESS and len(block.places) > 1:
                    refused.add(block)
            except CannotReach as error:
                lost = error
                break
            else:
                self._answered()
                replies.append(Reply(data, now_ms()))
        if replies:
            missing = Reply(b"", now_ms(), quality(Quality.BAD, Reason.NO_REPLY, has_value=False))
            self._outlet.send(scan.rows(replies + [missing] * (len(scan.blocks) - len(replies))))
            self.counters.scans += 1
        if lost is not None:
            raise lost
        return refused
