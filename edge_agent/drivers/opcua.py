"""The OPC UA driver: subscribes, or polls, with the source's own times and qualities.

asyncua's own reconnecting is not used: every attempt makes a new client, so that after a restart of the server nothing
of the old session, channel or subscription is left to be wrong about. A connection is given up when a request fails,
when the server says that it is gone, or when a subscription stays silent for three keep-alive intervals.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import structlog
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from cryptography.exceptions import InvalidSignature

from edge_agent.drivers.base import Backoff, CannotAuthenticate, CannotReach, DriverCounters, Outlet
from edge_agent.drivers.grid import Turn, next_turn
from edge_agent.drivers.opcua_bulk import Columns
from edge_agent.drivers.opcua_decode import Rows
from edge_agent.drivers.opcua_nameplate import read_nameplate
from edge_agent.drivers.opcua_security import make_client
from edge_agent.drivers.opcua_session import BulkSession, install
from edge_agent.drivers.opcua_subscription import BatchSubscription, Item
from telemetry.clock import mono_ms, now_ms
from telemetry.points import OpcUaConnection, OpcUaPoint
from telemetry.samples import Int64s, Quality, Reason, make, quality

log = structlog.get_logger(__name__)

_SILENT_INTERVALS = 3
_MIN_SILENT_MS = 3000
_READ_AT_ONCE = 1000
_TROUBLE = (OSError, asyncio.TimeoutError, ua.UaError, InvalidSignature, ValueError)
_DENIED = frozenset(
    {
        StatusCodes.BadUserAccessDenied,
        StatusCodes.BadIdentityTokenInvalid,
        StatusCodes.BadIdentityTokenRejected,
        StatusCodes.BadUserSignatureInvalid,
        StatusCodes.BadSecurityChecksFailed,
        StatusCodes.BadSecurityPolicyRejected,
        StatusCodes.BadSecurityModeRejected,
        StatusCodes.BadApplicationSignatureInvalid,
    }
)


@dataclass(frozen=True, slots=True)
class _Read:
    """One Read request and the positions of its nodes."""

    positions: Int64s
    request: ua.ReadParameters


def meaning_of(error: Exception) -> CannotReach | CannotAuthenticate:
    """What a failure means to the user."""
    if isinstance(error, CannotReach | CannotAuthenticate):
        return error
    if isinstance(error, ua.UaStatusCodeError):
        name = type(error).__name__
        if error.code in _DENIED or name.startswith("BadCertificate"):
            return CannotAuthenticate(f"server refuses: {name}")
        return CannotReach(f"server answers {name}", Reason.NO_REPLY)
    if isinstance(error, InvalidSignature) or "certificate mismatch" in str(error):
        return CannotAuthenticate("server does not hold the key of the pinned certificate")
    if isinstance(error, asyncio.TimeoutError):
        return CannotReach("no answer in time", Reason.NO_REPLY)
    return CannotReach(str(error) or type(error).__name__)


class OpcUaDriver:
    """One device over OPC UA. `points[i]` is tag number outlet.base + i, as `outlet.tags[i]` says. `application_uri` is
    how the agent calls itself; an existing certificate's own URI wins."""

    def __init__(
        self,
        outlet: Outlet,
        connection: OpcUaConnection,
        points: Sequence[OpcUaPoint],
        *,
        application_uri: str,
    ) -> None:
        self._outlet = outlet
        self._connection = connection
        self._nodes = [ua.NodeId.from_string(point.node) for point in points]
        self._rows = Rows(outlet.base, outlet.tags)
        self._application_uri = application_uri
        self._up = False

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
            try:
                await self._session()
            except _TROUBLE as error:
                self._outlet.lost(meaning_of(error))
            except Exception as error:  # whatever a broken server makes of the library: this device is lost, no other
                log.exception("driver_fault", device=self.uid)
                self._outlet.lost(CannotReach(f"not understood: {type(error).__name__}"))
            if self._up:
                backoff.reset()
            self._up = False
            await backoff.wait()

    async def _session(self) -> None:
        client = await make_client(self._connection, application_uri=self._application_uri)
        session = install(client)
        gone = asyncio.Event()

        async def lost(_: Exception) -> None:
            gone.set()

        client.connection_lost_callback = lost
        try:
            await client.connect()
        except BaseException:
            client.disconnect_socket()
            raise
        try:
            await self._identify(client)
            self._up = True
            self._outlet.connected()
            if self._connection.method == "subscribe":
                await self._subscribe(client, gone)
            else:
                await self._poll(client, session)
        finally:
            await _part(client)

    async def _identify(self, client: Client) -> None:
        try:
            nameplate = await read_nameplate(client)
        except ua.UaError as error:
            log.info("nameplate_unreadable", device=self.uid, error=type(error).__name__)
            return
        if nameplate:
            self._outlet.on_nameplate(self.uid, nameplate)

    def _take(self, positions: list[int], values: list[ua.DataValue]) -> None:
        self._outlet.send(self._rows(positions, values, arrival_ms=now_ms()))

    def _take_columns(self, columns: Columns, positions: Int64s | None = None) -> None:
        self._outlet.send(self._rows.bulk(columns, arrival_ms=now_ms(), positions=positions))

    async def _subscribe(self, client: Client, gone: asyncio.Event) -> None:
        subscription = BatchSubscription(
            client,
            publishing_ms=self._connection.publishing_ms,
            on_batch=self._take,
            on_columns=self._take_columns,
        )
        items = [
            Item(i, node, tag.period_ms)
            for i, (node, tag) in enumerate(zip(self._nodes, self._outlet.tags, strict=True))
        ]
        self.counters.requests += 1
        refused = await subscription.start(items)
        if refused:
            self._say_refused({position: status.name for position, status in refused.items()})
        patience_ms = max(_MIN_SILENT_MS, _SILENT_INTERVALS * subscription.keep_alive_ms)
        while not gone.is_set():
            if subscription.ended is not None:
                raise CannotReach(f"server ended the subscription: {subscription.ended}", Reason.NO_REPLY)
            if subscription.silent_ms() > patience_ms:
                raise CannotReach(f"subscription silent for {patience_ms / 1000:g} s", Reason.NO_REPLY)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_ms / 1000 / 10):  # wait_for may swallow a cancellation
                    await gone.wait()
        raise CannotReach("server closed the connection", Reason.NO_REPLY)

    def _say_refused(self, refused: dict[int, str]) -> None:
        names = {self._outlet.tags[position].id: status for position, status in refused.items()}
        log.warning("opcua_items_refused", device=self.uid, tags=names)
        positions = sorted(refused)
        code = quality(Quality.BAD, Reason.NOT_AVAILABLE, has_value=False)
        kinds = [int(self._outlet.tags[p].kind) for p in positions]
        self._outlet.send(make([self._outlet.base + p for p in positions], now_ms(), 0, kind=kinds, quality=code))

    async def _poll(self, client: Client, session: BulkSession) -> None:
        at_once = await _nodes_per_read(client)
        now = mono_ms()
        turns = [Turn(reads, period, now) for period, reads in self._reads(at_once).items()]
        while True:
            turn = await next_turn(turns)
            for read in turn.what:
                self.counters.requests += 1
                values = await session.read_columns(read.request)
                if len(values) != len(read.positions):
                    raise CannotReach(f"{len(values)} values for {len(read.positions)} nodes", Reason.NO_REPLY)
                if isinstance(values, Columns):
                    self._take_columns(values, read.positions)
                else:
                    self._take(read.positions.tolist(), values)
            self.counters.scans += 1
            self.counters.skipped += turn.advance()

    def _reads(self, at_once: int) -> dict[int, list[_Read]]:
        by_period: dict[int, list[int]] = {}
        for position, tag in enumerate(self._outlet.tags):
            by_period.setdefault(tag.period_ms, []).append(position)
        return {
            period: [self._request(positions[i : i + at_once]) for i in range(0, len(positions), at_once)]
            for period, positions in by_period.items()
        }

    def _request(self, positions: list[int]) -> _Read:
        request = ua.ReadParameters()
        request.MaxAge = 0
        request.TimestampsToReturn = ua.TimestampsToReturn.Both
        request.NodesToRead = [ua.ReadValueId(NodeId=self._nodes[p], AttributeId=AttributeIds.Value) for p in positions]
        return _Read(np.array(positions, dtype=np.int64), request)


async def _nodes_per_read(client: Client) -> int:
    """What the server says it takes in one Read (MaxNodesPerRead); a prudent number where it says nothing."""
    try:
        node = client.get_node(ua.NodeId(ua.Int32(ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead)))
        said = int(await node.read_value() or 0)
    except (ua.UaStatusCodeError, TypeError, ValueError):
        said = 0
    return min(said, _READ_AT_ONCE) if said > 0 else _READ_AT_ONCE


async def _part(client: Client) -> None:
    """Leave; a server that is gone is not waited for."""
    try:
        await asyncio.wait_for(client.disconnect(), timeout=2.0)
    except _TROUBLE as error:
        log.debug("opcua_disconnect", error=type(error).__name__)
