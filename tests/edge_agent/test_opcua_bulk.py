"""The bulk decoder against asyncua's own, on the same bytes."""

# pyright: reportPrivateImportUsage=false, reportArgumentType=false, reportCallIssue=false
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.opcua_bulk import Malformed, decode
from edge_agent.drivers.opcua_decode import Rows
from edge_agent.drivers.opcua_session import DataChanges, publish_response
from telemetry.dictionary import TagSpec
from telemetry.samples import Kind, Samples

TAGS = [TagSpec(f"t{i}", Kind(k)) for i, k in enumerate([1, 1, 1, 2, 3, 4, 5, 6, 7])]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
T = ua.VariantType


def of(values: st.SearchStrategy[Any], kind: ua.VariantType) -> st.SearchStrategy[ua.Variant]:
    return st.builds(ua.Variant, values, st.just(kind))


variants = st.one_of(
    of(st.floats(), T.Double),
    of(st.floats(width=32), T.Float),
    of(st.integers(-(2**70), 2**70).map(float), T.Double),
    of(st.booleans(), T.Boolean),
    of(st.integers(-128, 127), T.SByte),
    of(st.integers(0, 255), T.Byte),
    of(st.integers(-(2**15), 2**15 - 1), T.Int16),
    of(st.integers(0, 2**16 - 1), T.UInt16),
    of(st.integers(-(2**31), 2**31 - 1), T.Int32),
    of(st.integers(0, 2**32 - 1), T.UInt32),
    of(st.integers(-(2**63), 2**63 - 1), T.Int64),
    of(st.integers(0, 2**64 - 1), T.UInt64),
    of(st.text(max_size=5), T.String),
    of(st.builds(ua.LocalizedText, st.text(max_size=5)), T.LocalizedText),
    st.builds(ua.Variant, st.lists(st.floats(), max_size=4), st.just(T.Double), is_array=st.just(True)),
    st.just(ua.Variant(EPOCH, T.DateTime)),
    st.just(ua.Variant(None, T.Null)),
)
times = st.none() | st.integers(0, 10**15).map(lambda us: EPOCH + timedelta(microseconds=us))
statuses = st.sampled_from([0, 0, 0, 0x40000000, 0x80000000, 0x80340000, 0x808A0000])


@st.composite
def data_values(draw: st.DrawFn) -> ua.DataValue:
    return ua.DataValue(
        draw(variants),
        StatusCode=ua.StatusCode(draw(statuses)),
        SourceTimestamp=draw(times),
        ServerTimestamp=draw(times),
    )


items = st.lists(st.tuples(st.integers(0, len(TAGS) - 1), data_values()), max_size=40)


def listed(samples: Samples) -> list[Any]:
    def plain(x: Any) -> Any:
        return x.tolist() if isinstance(x, np.ndarray) else x

    return [
        (
            int(samples.tag[i]),
            int(samples.time[i]),
            repr(plain(samples.value_at(i))),
            int(samples.quality[i]),
            int(samples.kind[i]),
        )
        for i in range(len(samples))
    ]


def notification(rows: list[tuple[int, ua.DataValue]]) -> bytes:
    response = ua.PublishResponse()
    response.Parameters.SubscriptionId = 7
    response.Parameters.AvailableSequenceNumbers = [1, 2]
    response.Parameters.NotificationMessage.SequenceNumber = 9
    response.Parameters.NotificationMessage.NotificationData = [
        ua.StatusChangeNotification(Status=ua.StatusCode(0x80000000)),
        ua.DataChangeNotification(
            MonitoredItems=[ua.MonitoredItemNotification(ClientHandle=h, Value=v) for h, v in rows]
        ),
        ua.DataChangeNotification(MonitoredItems=[]),
    ]
    return struct_to_binary(response)


@given(items)
def test_a_notification_decodes_as_asyncua_decodes_it(rows: list[tuple[int, ua.DataValue]]) -> None:
    raw = notification(rows)
    generic = struct_from_binary(ua.PublishResponse, Buffer(raw)).Parameters
    bulk = publish_response(raw).Parameters
    assert (bulk.SubscriptionId, bulk.NotificationMessage.SequenceNumber) == (7, 9)
    status, changes, nothing = bulk.NotificationMessage.NotificationData
    assert isinstance(status, ua.StatusChangeNotification)
    assert isinstance(changes, DataChanges)
    assert len(nothing.columns) == 0
    expected = generic.NotificationMessage.NotificationData[1].MonitoredItems
    decoder = Rows(100, TAGS)
    oracle = decoder([i.ClientHandle for i in expected], [i.Value for i in expected], arrival_ms=5)
    assert listed(decoder.bulk(changes.columns, arrival_ms=5)) == listed(oracle)


def row(mask: int, *parts: bytes) -> bytes:
    return bytes([mask]) + b"".join(parts)


def test_the_parts_of_a_row_are_read_in_the_order_of_the_standard() -> None:
    value, status = b"\x0b" + struct.pack("<d", 1.5), struct.pack("<I", 0x40000000)
    source, server, pico = struct.pack("<q", 111), struct.pack("<q", 222), struct.pack("<H", 9)
    raw = row(0x3F, value, status, source, pico, server, pico) + row(0x02, status) + row(0x00) + row(0x01, b"\x00")
    columns, end = decode(raw, 0, 4, handles=False)
    assert end == len(raw)
    assert columns.source.tolist() == [111, 0, 0, 0]
    assert columns.status.tolist() == [0x40000000, 0x40000000, 0, 0]
    assert columns.vtype.tolist() == [11, 0, 0, 0]
    assert columns.slot.view(np.float64)[0] == 1.5


@given(items, st.data())
def test_a_message_cut_short_is_malformed_not_half_read(
    rows: list[tuple[int, ua.DataValue]], data: st.DataObject
) -> None:
    raw = b"".join(struct_to_binary(v) for _, v in rows)
    cut = data.draw(st.integers(0, max(len(raw) - 1, 0)))
    if rows and cut < len(raw):
        with pytest.raises((Malformed, ua.UaError, ValueError)):
            decode(raw[:cut], 0, len(rows), handles=False)


def test_an_absurd_count_is_malformed() -> None:
    with pytest.raises(Malformed):
        decode(b"\0" * 10, 0, 1 << 31, handles=False)
