"""An OPC UA server in front of one machine.

Every tag is written into the address space at its own period with the time it was sampled (whole milliseconds of the
machine's clock), changed or not: a reader sees how old a value is, a subscriber hears of changes. A compressor's server
has one endpoint, Basic256Sha256 with signing and encryption, and takes a user name and password only; it trusts any
client's certificate, because it is a simulator: a real one would keep a list.
"""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportArgumentType=false
# (asyncua's annotations contradict its use: NodeId wants an Int32 for an int, `ua` re-exports nothing.)

import hmac
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from asyncua import ua
from asyncua.crypto.permission_rules import User, UserRole

from simulators import opcua_nodes
from simulators.journal import Journal
from simulators.machine import WriteRefused
from simulators.maps import object_name
from simulators.opcua_hooks import HookedInternalServer, HookedServer
from simulators.pki import Identity, application_identity
from simulators.source import Source, quantise
from telemetry import clock
from telemetry.points import Machine as PointList
from telemetry.points import OpcUaPoint

log = structlog.get_logger(__name__)

NAMESPACE = "urn:SIMULATED:starproof:machines"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BAD = ua.StatusCode(ua.StatusCodes.BadSensorFailure)
_GOOD = ua.StatusCode(ua.StatusCodes.Good)


def application_uri(uid: str) -> str:
    """ApplicationUri of a simulated machine's server."""
    return f"urn:SIMULATED:starproof:{uid}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The one user a secured server knows."""

    username: str
    password: str


class _Users:
    """User manager: anonymous where there are no credentials, else exactly that user."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials

    def get_user(
        self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        known = self._credentials
        if known is None:
            return User(role=UserRole.User)
        same = hmac.compare_digest(str(username or "").encode(), known.username.encode())
        if same and hmac.compare_digest(str(password or "").encode(), known.password.encode()):
            return User(role=UserRole.User, name=known.username)
        return None


class OpcUaServer:
    """Serves `source` with the nodes and the security of its list of points. Certificates are made in `pki`."""

    def __init__(
        self,
        source: Source,
        points: PointList,
        *,
        pki: Path,
        credentials: Credentials | None = None,
        journal: Journal | None = None,
    ) -> None:
        if points.connection.protocol != "opcua":
            raise ValueError(f"{points.uid} is not an OPC UA machine")
        if points.connection.policy != "None" and credentials is None:
            raise ValueError(f"{points.uid}: a secured endpoint needs a user name and a password")
        self.source = source
        self.identity: Identity | None = None
        self._pki = pki
        self._points = points
        self._secure = points.connection.policy != "None"
        self._inner = HookedInternalServer(
            user_manager=_Users(credentials if self._secure else None),
            faults=source.faults,
            journal=journal,
            write=self._write,
        )
        self._server = HookedServer(iserver=self._inner)
        self._nodes: dict[str, ua.NodeId] = {}
        self._due: dict[str, int] = {}

    async def start(self, host: str, port: int) -> int:
        """Build the address space and listen; gives the port. Raises OSError."""
        server, uid = self._server, self.source.machine.uid
        plate = self.source.machine.nameplate
        # Before init, which writes it into the name space table.
        server._application_uri = application_uri(uid)
        server.name = f"SIMULATED {uid}"
        server.product_uri = "urn:SIMULATED:starproof"
        server.manufacturer_name = plate.get("maker", "SIMULATED")
        await server.init()
        server.set_endpoint(f"opc.tcp://{host}:{port}/{object_name(self.source.kind.id).lower()}")
        if self._secure:
            hosts = ("localhost", host)
            self.identity = application_identity(self._pki, uid, uri=application_uri(uid), hosts=hosts)
            await server.load_certificate(self.identity.certificate)
            await server.load_private_key(self.identity.private_key)
            server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
            server.set_identity_tokens([ua.UserNameIdentityToken])
            self._inner.secure_only = True
        else:
            server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
            server.set_identity_tokens([ua.AnonymousIdentityToken])
        index = await server.register_namespace(NAMESPACE)
        self._nodes = await opcua_nodes.build(
            server,
            self.source.kind,
            index=index,
            name=object_name(self.source.kind.id),
            nodes={p.tag: p.node for p in self._points.points if isinstance(p, OpcUaPoint)},
            nameplate=plate,
        )
        self._inner.tags = {node: tag for tag, node in self._nodes.items()}
        await self.update()
        await server.prepare()
        self._answer_the_time()
        await server.open()
        if server.bserver is None:
            raise OSError(f"{uid}: not listening")
        server.socket_address = host, server.bserver.port  # where `open` will listen again
        return server.bserver.port

    def _answer_the_time(self) -> None:
        """CurrentTime, alone and inside ServerStatus, is made when it is read: the machine's clock to the millisecond."""
        aspace = self._inner.aspace
        whole = ua.NodeId(ua.ObjectIds.Server_ServerStatus)

        def now(*_: Any) -> ua.DataValue:
            return self._stamped(ua.Variant(_datetime(self.source.now_ms()), ua.VariantType.DateTime))

        def status(*_: Any) -> ua.DataValue:
            kept = aspace[whole].attributes[ua.AttributeIds.Value].value
            known = kept.Value.Value if kept is not None and kept.Value is not None else ua.ServerStatusDataType()
            value = replace(known, CurrentTime=_datetime(self.source.now_ms()), State=ua.ServerState.Running)
            return self._stamped(ua.Variant(value, ua.VariantType.ExtensionObject))

        time_node = ua.NodeId(ua.ObjectIds.Server_ServerStatus_CurrentTime)
        aspace[time_node].attributes[ua.AttributeIds.Value].value_callback = now
        aspace[whole].attributes[ua.AttributeIds.Value].value_callback = status

    def _stamped(self, value: ua.Variant | None, status: ua.StatusCode = _GOOD) -> ua.DataValue:
        at = _datetime(self.source.now_ms())
        return ua.DataValue(value, StatusCode=status, SourceTimestamp=at, ServerTimestamp=at)

    def _sample(self, tag: str) -> ua.DataValue:
        value = self.source.values[tag]
        kind = opcua_nodes.variant_type(self.source.kind.tag(tag))
        if kind is ua.VariantType.Double:
            return self._stamped(ua.Variant(value, kind))
        if math.isnan(value):
            return self._stamped(ua.Variant(None, ua.VariantType.Null), _BAD)
        return self._stamped(ua.Variant(bool(value) if kind is ua.VariantType.Boolean else round(value), kind))

    async def update(self) -> None:
        """Sample the tags that are due. Call often: it costs nothing for a tag that is not."""
        now = clock.mono_ms()
        for tag in self.source.kind.tags:
            due = self._due.get(tag.id, now)
            if now < due:
                continue
            period = max(round(tag.period_s * 1000), 1)
            self._due[tag.id] = due + period if now < due + period else now + period
            await self._put(tag.id)

    async def sample_all(self) -> None:
        """Sample every tag now, due or not."""
        self._due.clear()
        await self.update()

    async def _put(self, tag: str) -> None:
        await self._inner.aspace.write_attribute_value(self._nodes[tag], ua.AttributeIds.Value, self._sample(tag))

    async def _write(self, tag: str, asked: ua.DataValue) -> int:
        """Give a client's write to the machine; the status code for the client."""
        spec = self.source.kind.tag(tag)
        if not spec.writable:
            return ua.StatusCodes.BadNotWritable
        if asked.Value is None or asked.Value.VariantType != opcua_nodes.variant_type(spec) or asked.Value.is_array:
            return ua.StatusCodes.BadTypeMismatch
        value = quantise(float(asked.Value.Value), spec.resolution)
        if not spec.lo <= value <= spec.hi:
            return ua.StatusCodes.BadOutOfRange
        try:
            self.source.write(tag, value)
        except WriteRefused as refusal:
            log.info("write refused", uid=self.source.machine.uid, tag=tag, value=value, reason=str(refusal))
            return ua.StatusCodes.BadUserAccessDenied
        await self._put(tag)
        return ua.StatusCodes.Good

    async def open(self) -> None:
        """Listen again on the same port after `shut`. Raises OSError."""
        await self._server.open()

    async def shut(self) -> None:
        """Cut every connection and refuse new ones."""
        await self._server.shut()

    async def stop(self) -> None:
        """The end."""
        await self._server.shut()
        await self._inner.stop()


def _datetime(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)
