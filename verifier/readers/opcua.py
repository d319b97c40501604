"""The verifier's own OPC UA reader, on asyncua's generic client: Read requests only, no subscription, no bulk decoding.

A secured endpoint is used exactly as the point list says: the server's certificate is pinned, never taken from the
server, and there is no falling back to no security.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.common.node import Node
from asyncua.crypto import security_policies
from asyncua.crypto.uacrypto import load_certificate
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from cryptography import x509

from telemetry.points import Machine, OpcUaConnection, OpcUaPoint
from verifier.readers.base import Clock, Identity, NoAnswer, Scan, TagRead, Value, number

CHUNK = 100  # nodes in one Read: a Siemens S7-1200 takes no more
SESSION_MS = 60_000
MAX_DEPTH = 3
MAX_BROWSED = 300
WRONG: tuple[type[BaseException], ...] = (
    ua.UaError,
    OSError,
    TimeoutError,
    ConnectionError,
    ValueError,
    asyncio.CancelledError,
)

POLICIES: dict[str, Any] = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128Sha256RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256Sha256RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
MODES = {"Sign": ua.MessageSecurityMode.Sign, "SignAndEncrypt": ua.MessageSecurityMode.SignAndEncrypt}

# OPC 40001-1 (Machinery), MachineIdentificationType: the browse names of its properties.
PLATE = {
    "Manufacturer": "maker",
    "Model": "model",
    "SerialNumber": "serial",
    "ProductCode": "product_code",
    "SoftwareRevision": "version",
    "ProductInstanceUri": "instance",
    "YearOfConstruction": "year",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """The verifier's own certificate and key; None means those that the point list names."""

    certificate: str | None = None
    private_key: str | None = None
    username: str | None = None
    password_file: str | None = None


class OpcUaReader:
    """Reads a machine of the point list over one session, made anew when it is gone."""

    def __init__(self, machine: Machine, clock: Clock, credentials: Credentials | None = None) -> None:
        if not isinstance(machine.connection, OpcUaConnection):
            raise TypeError(f"{machine.uid} does not speak OPC UA")
        self._connection = machine.connection
        self._credentials = credentials or Credentials()
        self._clock = clock
        self._points = [p for p in machine.points if isinstance(p, OpcUaPoint)]
        self._client: Client | None = None
        self._ids: list[ua.NodeId] = []

    async def _connected(self) -> Client:
        if self._client is not None:
            return self._client
        at = self._connection
        client = Client(at.endpoint, timeout=at.timeout_s)
        client.session_timeout = SESSION_MS
        try:
            await self._secure(client)
            await client.connect()
        except WRONG as error:
            _let_go(error)
            with contextlib.suppress(*WRONG):
                await client.disconnect()
            raise NoAnswer(_reason(error, "not_connected")) from error
        self._client = client
        return client

    async def _secure(self, client: Client) -> None:
        at, own = self._connection, self._credentials
        if at.username is not None:
            client.set_user(own.username or at.username)
            file = own.password_file or at.password_file
            if file is not None:
                client.set_password(Path(file).read_text(encoding="utf-8").strip())  # noqa: ASYNC240  # once, a line
        if at.policy == "None":
            return
        certificate, key = own.certificate or at.certificate, own.private_key or at.private_key
        if certificate is None or key is None or at.server_certificate is None or at.mode == "None":
            raise ValueError("security_needs_certificates")
        uri = _application_uri(await load_certificate(certificate))
        if uri:
            client.application_uri = uri
        await client.set_security(
            POLICIES[at.policy], certificate, key, server_certificate=at.server_certificate, mode=MODES[at.mode]
        )

    async def identity(self) -> Identity:
        """The server's ApplicationUri and the Identification object that stands beside the machine's points."""
        try:
            client = await self._connected()
            uris = await client.get_node(ObjectIds.Server_ServerArray).read_value()
            uri = str(uris[0]) if uris else ""
            first = self._points[0].node if self._points else None
            plate = await _nameplate(client, first)
        except NoAnswer as error:
            return Identity(reason=str(error))
        except WRONG as error:
            _let_go(error)
            await self.close()
            return Identity(reason=_reason(error, "no_reply"))
        return Identity(plate, uri, "" if plate else "no_identification")

    async def scan(self) -> Scan:
        """All points once, and the server's clock."""
        reads: dict[str, TagRead] = {}
        try:
            client = await self._connected()
            if not self._ids:
                self._ids = [ua.NodeId.from_string(p.node) for p in self._points]
            session = client.uaclient
            before = self._clock()
            clock = await session.read_attributes([CURRENT_TIME], AttributeIds.Value)
            window = (before, self._clock())
            for points, ids in zip(_chunks(self._points), _chunks(self._ids), strict=True):
                before = self._clock()
                found = await session.read_attributes(list(ids), AttributeIds.Value)
                after = self._clock()
                for point, data in zip(points, found, strict=True):
                    value, reason = _value(data)
                    reads[point.tag] = TagRead(before, after, value, reason)
        except NoAnswer as error:
            return Scan(reason=str(error))
        except WRONG as error:
            _let_go(error)
            await self.close()
            return Scan(reason=_reason(error, "no_reply"))
        return Scan(reads, _milliseconds(clock[0]), window)

    async def close(self) -> None:
        """End the session; the next read makes a new one."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(*WRONG):
                await asyncio.wait_for(client.disconnect(), self._connection.timeout_s)


CURRENT_TIME = ua.NodeId(ua.Int32(ObjectIds.Server_ServerStatus_CurrentTime))


def _let_go(error: BaseException) -> None:
    """asyncua cancels its own requests when a connection breaks; a cancellation of ours must go on."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


def _reason(error: BaseException, default: str) -> str:
    if isinstance(error, ua.UaStatusCodeError):
        return type(error).__name__
    if isinstance(error, ValueError) and not isinstance(error, ua.UaError):
        return "credentials_unusable"
    return default


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[at : at + CHUNK] for at in range(0, len(items), CHUNK))


def _value(data: ua.DataValue) -> tuple[Value | None, str]:
    if data.StatusCode is not None and not data.StatusCode.is_good():
        return None, str(data.StatusCode.name)
    found = data.Value.Value if data.Value is not None else None
    if isinstance(found, ua.LocalizedText):
        found = found.Text
    if found is None or isinstance(found, bool | int | float | str):
        return number(found)
    return None, "no_scalar"


def _milliseconds(data: ua.DataValue) -> int | None:
    found = data.Value.Value if data.Value is not None else None
    if found is None or not hasattr(found, "timestamp"):
        return None
    return int(found.replace(tzinfo=found.tzinfo or UTC).timestamp() * 1000)


def _application_uri(certificate: x509.Certificate) -> str:
    """The URI in a certificate's alternative names: asyncua wants the client to call itself the same."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    return next((str(n.value) for n in names if isinstance(n, x509.UniformResourceIdentifier)), "")


async def _nameplate(client: Client, first: str | None) -> dict[str, str]:
    """The Identification object of the machine that owns the node `first`, or the only one there is."""
    wanted = ua.NodeId.from_string(first) if first else None
    found: list[tuple[dict[str, str], bool]] = []
    queue: list[tuple[Node, int]] = [(client.nodes.objects, 0)]
    browsed = 0
    while queue and browsed < MAX_BROWSED:
        parent, depth = queue.pop(0)
        browsed += 1
        children = await parent.get_children_descriptions()
        for child in children:
            name = child.BrowseName.Name
            if name == "Identification":
                plate = await _properties(client, child.NodeId)
                found.append((plate, await _owns(client, parent, wanted)))
            elif child.NodeClass == ua.NodeClass.Object and depth < MAX_DEPTH and name not in ("Server", "Aliases"):
                queue.append((client.get_node(child.NodeId), depth + 1))
    owned = [plate for plate, owns in found if owns]
    if len(owned) == 1:
        return owned[0]
    return found[0][0] if len(found) == 1 else {}


async def _properties(client: Client, node: ua.NodeId) -> dict[str, str]:
    out: dict[str, str] = {}
    for child in await client.get_node(node).get_children_descriptions():
        name = PLATE.get(str(child.BrowseName.Name))
        if name is None:
            continue
        value = await client.get_node(child.NodeId).read_value()
        text = value.Text if isinstance(value, ua.LocalizedText) else value
        if text not in (None, ""):
            out[name] = str(text)
    return out


async def _owns(client: Client, parent: Node, wanted: ua.NodeId | None) -> bool:
    """Whether a node stands below `parent`, at most two levels down."""
    level = [parent]
    for _ in range(2):
        below: list[Node] = []
        for node in level[:20]:
            for child in await node.get_children_descriptions():
                if child.NodeId == wanted:
                    return True
                if child.NodeClass == ua.NodeClass.Object:
                    below.append(client.get_node(child.NodeId))
        level = below
    return False
