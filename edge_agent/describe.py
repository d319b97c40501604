"""From settings to what the rest of the agent works with: the tag dictionary, and the pipeline's rules by tag number.

Kinds: what the register or node holds decides (a bit is BOOL, text STRING, an unscaled 64-bit integer INT or UINT, exact),
then what the equipment type says (boolean, enum, counter); all else is FLOAT. The resolution of a scaled integer is the
step that its scale and offset make possible, as decimal text; of anything else the equipment tag's.
"""

from collections.abc import Mapping
from decimal import Decimal
from math import gcd

import numpy as np

from edge_agent.pipeline.rules import Rules
from edge_agent.settings import (
    AgentModbusPoint,
    AgentOpcUaPoint,
    AgentSettings,
    AgentSunSpecPoint,
    Device,
    PipelineSettings,
)
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.equipment import Tag, TagKind
from telemetry.points import OpcUaConnection
from telemetry.samples import Kind

_Point = AgentModbusPoint | AgentSunSpecPoint | AgentOpcUaPoint
_OPCUA_KINDS = {"float": Kind.FLOAT, "int": Kind.INT, "uint": Kind.UINT, "string": Kind.STRING, "array": Kind.ARRAY}
_UNSIGNED = ("uint16", "uint32", "uint64", "bool")
_MAX_DIGITS = 9


def to_dictionary(settings: AgentSettings, nameplates: Mapping[str, Mapping[str, str]] | None = None) -> Dictionary:
    """The dictionary of these settings. `nameplates` are what devices said of themselves, by uid; they win over what the
    file says, and a device that calls itself SIMULATED is simulated whatever the file says."""
    read = nameplates or {}
    return Dictionary(
        enterprise=settings.enterprise,
        edge=settings.edge,
        devices=tuple(_device(d, read.get(d.uid, {}), settings.pipeline) for d in settings.devices),
    )


def _device(device: Device, read: Mapping[str, str], pipeline: PipelineSettings) -> DeviceSpec:
    plate = {**device.nameplate, **read}
    return DeviceSpec(
        uid=device.uid,
        type=device.type,
        name=device.name,
        simulated=device.simulated or any("SIMULATED" in text.upper() for text in plate.values()),
        nameplate=plate,
        tags=tuple(_tag(device, point, pipeline) for point in device.points),
    )


def _tag(device: Device, point: _Point, pipeline: PipelineSettings) -> TagSpec:
    tag = device.equipment.tag(point.tag)
    kind = kind_of(point, tag)
    return TagSpec(
        id=tag.id,
        kind=kind,
        unit=tag.unit,
        resolution=_resolution(point, tag) if kind == Kind.FLOAT else None,
        period_ms=point.period_ms or device.period_ms or max(50, round(tag.period_s * 1000)),
        source_time=isinstance(device.connection, OpcUaConnection),
        deadband=_deadband(point, tag, kind, pipeline),
    )


def kind_of(point: _Point, tag: Tag) -> Kind:
    """How a point's values are kept."""
    if isinstance(point, AgentOpcUaPoint) and point.kind is not None:
        return _OPCUA_KINDS[point.kind]
    if isinstance(point, AgentModbusPoint):
        if point.type == "string":
            return Kind.STRING
        if point.type == "bool" or point.bit is not None:
            return Kind.BOOL
    if tag.kind is TagKind.BOOLEAN:
        return Kind.BOOL
    if tag.kind is TagKind.ENUM:
        return Kind.ENUM
    if isinstance(point, AgentModbusPoint) and not point.type.startswith("float"):
        exact = point.scale == 1 and point.offset == 0
        if exact and (tag.kind is TagKind.COUNTER or point.type.endswith("64")):
            return Kind.UINT if point.type in _UNSIGNED else Kind.INT
    return Kind.FLOAT


def _resolution(point: _Point, tag: Tag) -> str | None:
    if isinstance(point, AgentModbusPoint) and not point.type.startswith("float"):
        return grid_text(point.scale, point.offset)
    return tag.resolution_text


def grid_text(scale: float, offset: float) -> str | None:
    """The step of raw * scale + offset for whole raw numbers, as decimal text; None where it is no short decimal.

    Every value is a multiple of the greatest common divisor of scale and offset."""
    factors = [abs(Decimal(repr(x))).normalize() for x in (scale, offset)]
    power = min(int(f.as_tuple().exponent) for f in factors if f)
    step = gcd(*(int(f.scaleb(-power)) for f in factors))
    if not step or len(str(step)) > _MAX_DIGITS:
        return None
    return format(Decimal(step).scaleb(power).normalize(), "f")


def _deadband(point: _Point, tag: Tag, kind: Kind, pipeline: PipelineSettings) -> float:
    if not pipeline.deadband or kind not in (Kind.FLOAT, Kind.INT, Kind.UINT):
        return 0.0
    if point.deadband is not None:
        return point.deadband
    analogue = tag.kind in (TagKind.ANALOGUE, TagKind.DERIVED)
    return (tag.hi - tag.lo) * pipeline.deadband_percent / 100 if analogue else 0.0


def to_rules(settings: AgentSettings, dictionary: Dictionary) -> Rules:
    """The pipeline's rules by tag number of this dictionary."""
    margin = settings.pipeline.range_margin
    lows: list[float] = []
    highs: list[float] = []
    for device in settings.devices:
        for point in device.points:
            tag = device.equipment.tag(point.tag)
            width = (tag.hi - tag.lo) * (margin if margin is not None else np.inf)
            banded = margin is not None and tag.kind in (TagKind.ANALOGUE, TagKind.DERIVED)
            lows.append(point.lo if point.lo is not None else tag.lo - width if banded else -np.inf)
            highs.append(point.hi if point.hi is not None else tag.hi + width if banded else np.inf)
    tags = [spec for _, spec in dictionary.tags]
    return Rules(
        source_time=np.array([t.source_time for t in tags], dtype=np.bool_),
        lo=np.array(lows),
        hi=np.array(highs),
        deadband=np.array([t.deadband for t in tags]),
        max_interval_ms=round(settings.pipeline.max_interval_s * 1000),
        max_future_ms=round(settings.pipeline.max_future_s * 1000),
        max_past_ms=round(settings.pipeline.max_past_s * 1000),
    )
