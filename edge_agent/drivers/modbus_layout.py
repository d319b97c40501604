"""What one Modbus device's points need: spans to plan, fields to decode, outputs to make of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from edge_agent.drivers.modbus_decode import Field, Output, Scan
from edge_agent.drivers.modbus_plan import BIT_TABLES, Block, Span, plan
from telemetry.dictionary import TagSpec
from telemetry.points import ModbusConnection, ModbusPoint


@dataclass(frozen=True, slots=True)
class Layout:
    """Spans and fields by key; `absent` are the tags that the device turned out not to have."""

    spans: tuple[Span, ...]
    fields: dict[int, Field]
    outputs: tuple[Output, ...]
    absent: tuple[int, ...] = ()

    def blocks(self, connection: ModbusConnection) -> tuple[Block, ...]:
        """The requests for all spans."""
        # The registers of a SunSpec chain have no holes, so any gap in it may be bridged.
        gap = connection.max_gap if connection.sunspec_base is None else connection.max_registers
        return plan(self.spans, max_registers=connection.max_registers, max_gap=gap)

    def scans(self, blocks: Iterable[Block]) -> list[Scan]:
        """One scan a period."""
        ordered = sorted(blocks, key=lambda b: b.period_ms)
        return [
            Scan(list(group), self.fields, self.outputs) for _, group in groupby(ordered, key=lambda b: b.period_ms)
        ]


def field_of(point: ModbusPoint, tag: TagSpec, connection: ModbusConnection) -> Field:
    """How a point of a point list is read; integers of a kind other than FLOAT are taken unscaled."""
    return Field(
        type=point.type,
        kind=tag.kind,
        order=point.order or connection.order,
        length=point.length,
        scale=point.scale,
        offset=point.offset,
        bit=point.bit,
    )


def plain_layout(
    points: Sequence[ModbusPoint], tags: Sequence[TagSpec], *, base: int, connection: ModbusConnection
) -> Layout:
    """The layout of a device with a fixed register map; `tags[i]` belongs to `points[i]` and has number base + i."""
    fields = {i: field_of(point, tag, connection) for i, (point, tag) in enumerate(zip(points, tags, strict=True))}
    return Layout(
        spans=tuple(
            Span(
                key=i,
                table=point.table,
                address=point.address,
                count=1 if point.table in BIT_TABLES else fields[i].registers,
                period_ms=tags[i].period_ms,
            )
            for i, point in enumerate(points)
        ),
        fields=fields,
        outputs=tuple(Output(tag=base + i, kind=tag.kind, keys=(i,)) for i, tag in enumerate(tags)),
    )
