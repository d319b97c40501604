"""A session whose answers to Publish and Read are decoded in bulk.

asyncua's own publish loop calls `publish`; what cannot be decoded here is decoded by asyncua as ever.
"""

import struct
from dataclasses import dataclass
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_session import UaSession
from asyncua.common.shortcuts import Shortcuts
from asyncua.common.utils import Buffer
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import extensionobject_from_binary, nodeid_from_binary, struct_from_binary
from asyncua.ua.uaerrors import UaStructParsingError

from edge_agent.drivers.opcua_bulk import Columns, Malformed, decode

_DATA_CHANGE = ua.FourByteNodeId(ua.Int32(ObjectIds.DataChangeNotification_Encoding_DefaultBinary))
_DIFFERENT = (Malformed, IndexError, struct.error, ua.UaError, ValueError)


@dataclass(frozen=True, slots=True)
class DataChanges:
    """A DataChangeNotification in columns."""

    columns: Columns


class BulkSession(UaSession):
    """UaSession with `publish` and `read_columns` in bulk."""

    def __init__(self, client: Client) -> None:
        super().__init__(client.uaclient)
        self._transport = client.uaclient

    async def publish(self, acks: list[ua.SubscriptionAcknowledgement]) -> ua.PublishResponse:
        request = ua.PublishRequest()
        request.Parameters.SubscriptionAcknowledgements = acks or []
        raw = await self._ask(request, timeout_s=0)
        try:
            return publish_response(raw)
        except _DIFFERENT:
            pass
        try:
            return struct_from_binary(ua.PublishResponse, Buffer(raw))
        except Exception as error:
            # asyncua's loop goes on at once after this error, and only after this one.
            raise UaStructParsingError from error

    async def read_columns(self, parameters: ua.ReadParameters) -> Columns | list[ua.DataValue]:
        """The values of a Read, in columns (`handle` is the row number) unless they have to be decoded by asyncua. Raises
        ua.UaError, OSError, asyncio.TimeoutError."""
        request = ua.ReadRequest()
        request.Parameters = parameters
        raw = await self._ask(request, timeout_s=None)
        at = _after_header(raw)
        try:
            (count,) = struct.unpack_from("<i", raw, at)
            return decode(raw, at + 4, max(count, 0), handles=False)[0]
        except _DIFFERENT:
            return struct_from_binary(ua.ReadResponse, Buffer(raw)).Results

    async def _ask(self, request: Any, *, timeout_s: float | None) -> bytes:
        protocol = self._transport.protocol
        if protocol is None:
            raise ConnectionError("connection is not open")
        return bytes(await protocol.send_request(request, timeout=timeout_s))


def install(client: Client) -> BulkSession:
    """Give a client that has not connected yet a BulkSession."""
    session = BulkSession(client)
    client.uaclient.session = session
    client.nodes = Shortcuts(session)
    return session


def publish_response(raw: bytes) -> ua.PublishResponse:
    """A PublishResponse whose data changes are DataChanges. Raises Malformed and what asyncua raises."""
    at = _after_header(raw)
    subscription, numbers = struct.unpack_from("<Ii", raw, at)
    at += 8 + 4 * max(numbers, 0)
    more, sequence, _, count = struct.unpack_from("<?Iqi", raw, at)
    at += 17
    response = ua.PublishResponse()
    response.Parameters.SubscriptionId = subscription
    response.Parameters.MoreNotifications = more
    message = response.Parameters.NotificationMessage
    message.SequenceNumber = sequence
    notifications: list[Any] = []
    for _ in range(max(count, 0)):
        notification, at = _notification(raw, at)
        notifications.append(notification)
    message.NotificationData = notifications
    return response


def _notification(raw: bytes, at: int) -> tuple[Any, int]:
    buffer = Buffer(raw, at)
    kind = nodeid_from_binary(buffer)
    start = buffer.cur_pos
    if kind != _DATA_CHANGE or raw[start] != 1:
        buffer = Buffer(raw, at)
        return extensionobject_from_binary(buffer), buffer.cur_pos
    length, count = struct.unpack_from("<ii", raw, start + 1)
    columns, end = decode(raw, start + 9, max(count, 0), handles=True)
    # Old servers leave the length out (-1): then this is the last notification and nothing of interest follows.
    return DataChanges(columns), end if length < 0 else start + 5 + length


def _after_header(raw: bytes) -> int:
    buffer = Buffer(raw)
    nodeid_from_binary(buffer)
    header = struct_from_binary(ua.ResponseHeader, buffer)
    header.ServiceResult.check()
    return buffer.cur_pos
