"""asyncua's server with our hands in it: writes go to the machine, what is sent is journalled, link faults apply.

asyncua makes its connection and session objects itself, so the classes here replace them: `HookedServer` makes
`_Listener`, which makes `_Connection`, which has a `_Processor`; `HookedInternalServer` makes `_Session`. Pinned to
asyncua 2.1.0 (a few names with a leading underscore have no public counterpart).
"""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportArgumentType=false
# pyright: reportIncompatibleVariableOverride=false, reportIncompatibleMethodOverride=false
# (asyncua's annotations contradict its use: NodeId wants an Int32 for an int, `ua` re-exports nothing.)

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from asyncua import Server, ua
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary

from simulators.faults import Faults
from simulators.journal import Journal, Row

Writer = Callable[[str, ua.DataValue], Awaitable[int]]
_SESSION_REQUESTS = (
    ua.NodeId(ua.ObjectIds.CreateSessionRequest_Encoding_DefaultBinary),
    ua.NodeId(ua.ObjectIds.ActivateSessionRequest_Encoding_DefaultBinary),
)


def source_ms(value: ua.DataValue) -> int | None:
    """The source timestamp in UTC ms."""
    return None if value.SourceTimestamp is None else round(value.SourceTimestamp.timestamp() * 1000)


class HookedInternalServer(InternalServer):
    """Knows which node is which tag, who monitors what, and how to write to the machine."""

    def __init__(self, *, user_manager: Any, faults: Faults, journal: Journal | None, write: Writer) -> None:
        super().__init__(user_manager=user_manager)
        self.faults = faults
        self.journal = journal
        self.write_tag = write
        self.tags: dict[ua.NodeId, str] = {}
        self.secure_only = False
        self.monitored: dict[tuple[int, int], str] = {}  # (subscription, client handle) → tag
        self.disabled_clock = True  # the time is answered when asked, see simulators.opcua_server

    def create_session(self, name: Any, user: Any = None, external: bool = False) -> InternalSession:
        if user is None:
            return _Session(self, self.aspace, self.subscription_service, name, external=external)
        return _Session(self, self.aspace, self.subscription_service, name, user=user, external=external)

    def read_rows(self, request: ua.ReadParameters, results: Sequence[ua.DataValue]) -> list[Row]:
        """Journal rows of a Read's tag values."""
        return [
            _row(self.tags[asked.NodeId], value)
            for asked, value in zip(request.NodesToRead, results, strict=True)
            if asked.NodeId in self.tags and asked.AttributeId == ua.AttributeIds.Value
        ]

    def notification_rows(self, subscription: int, message: ua.NotificationMessage) -> list[Row]:
        """Journal rows of a notification's tag values."""
        rows: list[Row] = []
        for part in message.NotificationData or ():
            if isinstance(part, ua.DataChangeNotification):
                for item in part.MonitoredItems:
                    tag = self.monitored.get((subscription, item.ClientHandle))
                    if tag is not None:
                        rows.append(_row(tag, item.Value))
        return rows


def _row(tag: str, value: ua.DataValue) -> Row:
    status = value.StatusCode.value if value.StatusCode is not None else 0
    return tag, source_ms(value), value.Value.Value if value.Value is not None else None, status


class _Session(InternalSession):
    iserver: HookedInternalServer
    last_read: tuple[ua.ReadParameters | None, Any] = (None, None)
    last_republish: int = 0

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        results = await super().read(params)
        self.last_read = params, results
        return results

    async def write(self, params: ua.WriteParameters) -> list[ua.StatusCode]:
        if not self.external:
            return await super().write(params)
        results: list[ua.StatusCode] = []
        for item in params.NodesToWrite:
            tag = self.iserver.tags.get(item.NodeId)
            if tag is None or item.AttributeId != ua.AttributeIds.Value:
                results.append(ua.StatusCode(ua.StatusCodes.BadUserAccessDenied))
                continue
            code = await self.iserver.write_tag(tag, item.Value)
            results.append(ua.StatusCode(code))
            if self.iserver.journal and code == 0:
                row = tag, None, item.Value.Value.Value if item.Value.Value else None, code
                self.iserver.journal.opcua(peer=_peer(self.name), how="opcua_write", rows=[row])
        return results

    async def create_monitored_items(
        self, params: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        for item in params.ItemsToCreate:
            asked = item.ItemToMonitor
            key = params.SubscriptionId, item.RequestedParameters.ClientHandle
            if asked.AttributeId == ua.AttributeIds.Value and asked.NodeId in self.iserver.tags:
                self.iserver.monitored[key] = self.iserver.tags[asked.NodeId]
            else:
                self.iserver.monitored.pop(key, None)
        return await super().create_monitored_items(params)

    async def delete_subscriptions(self, ids: list[int]) -> list[ua.StatusCode]:
        gone = set(ids)
        for key in [k for k in self.iserver.monitored if k[0] in gone]:
            del self.iserver.monitored[key]
        return await super().delete_subscriptions(ids)

    def republish(self, params: ua.RepublishParameters) -> ua.NotificationMessage:
        self.last_republish = params.SubscriptionId
        return super().republish(params)


def _peer(name: Any) -> str:
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)


class _Processor(UaProcessor):
    iserver: HookedInternalServer
    session: _Session | None

    async def process_message(self, seqhdr: Any, body: Any) -> Any:
        faults = self.iserver.faults
        if faults.no_reply:
            return True
        if delay := faults.reply_delay_s:
            await asyncio.sleep(delay)
        # asyncua lets an unsecured channel in for discovery, and would open a session over it.
        unsecured = self.iserver.secure_only and isinstance(self._connection.security_policy, SecurityPolicyNone)
        if unsecured and nodeid_from_binary(body.copy()) in _SESSION_REQUESTS:
            return self._refuse(seqhdr, body)
        return await super().process_message(seqhdr, body)

    def _refuse(self, seqhdr: Any, body: Any) -> bool:
        nodeid_from_binary(body)
        header = struct_from_binary(ua.RequestHeader, body)
        fault = ua.ServiceFault()
        fault.ResponseHeader.ServiceResult = ua.StatusCode(ua.StatusCodes.BadSecurityPolicyRejected)
        self.send_response(header.RequestHandle, seqhdr, fault)
        return True

    def get_publish_request(self, subscription_id: Any) -> Any:
        if self.iserver.faults.no_reply:
            self._publish_results_subs[subscription_id] = True  # as if the client had sent no publish request
            return None
        return super().get_publish_request(subscription_id)

    async def forward_publish_response(self, result: ua.PublishResult, requestdata: Any) -> None:
        if delay := self.iserver.faults.reply_delay_s:
            await asyncio.sleep(delay)
        await super().forward_publish_response(result, requestdata)

    def send_response(self, requesthandle: Any, seqhdr: Any, response: Any, *rest: Any, **named: Any) -> None:
        alive = not self._transport.is_closing()
        super().send_response(requesthandle, seqhdr, response, *rest, **named)
        journal = self.iserver.journal
        if journal is None or not alive:
            return
        if isinstance(response, ua.PublishResponse):
            result = response.Parameters
            rows = self.iserver.notification_rows(result.SubscriptionId, result.NotificationMessage)
            journal.opcua(peer=_peer(self.name), how="opcua_notify", rows=rows)
        elif isinstance(response, ua.ReadResponse) and self.session is not None:
            request, results = self.session.last_read
            if request is not None and results is response.Results:
                journal.opcua(peer=_peer(self.name), how="opcua_read", rows=self.iserver.read_rows(request, results))
        elif isinstance(response, ua.RepublishResponse) and self.session is not None:
            rows = self.iserver.notification_rows(self.session.last_republish, response.NotificationMessage)
            journal.opcua(peer=_peer(self.name), how="opcua_republish", rows=rows)


class _Connection(OPCUAProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.processor is not None:
            self.processor = _Processor(self.iserver, self.transport, self.limits)
            self.processor.set_policies(self.policies)


class _Listener(BinaryServer):
    def _make_protocol(self) -> OPCUAProtocol:
        return _Connection(
            iserver=self.iserver,
            policies=self._policies,
            clients=self.clients,
            closing_tasks=self.closing_tasks,
            limits=self.limits,
        )


class HookedServer(Server):
    """A Server that can refuse connections for a while without losing its address space."""

    iserver: HookedInternalServer

    async def prepare(self) -> None:
        """Everything that `start` does before it listens."""
        await self._setup_server_nodes()
        await self.iserver.start()

    async def open(self) -> None:
        """Listen (again). Raises OSError where the port is taken."""
        host, port = self._get_bind_socket_info()
        self.bserver = _Listener(self.iserver, host, port, self.limits)  # type: ignore[arg-type]
        self.bserver.set_policies(self._policies)
        await self.bserver.start()

    async def shut(self) -> None:
        """Cut every connection, forget the sessions, refuse new ones."""
        if self.bserver is not None:
            await self.bserver.stop()
            self.bserver = None
        for session in list(self.iserver._external_sessions.values()):
            await session.close_session(True)
