"""SunSpec devices: find the models, then read their points like any registers.

At the base stands the marker "SunS"; behind it model after model (id, length, registers) until the id 0xFFFF. Addresses
are found anew at each connect, since a firmware update may move them. A scale factor is read in the same scan as what it
scales. Source: SunSpec Device Information Model Specification; the models themselves: telemetry.sunspec.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from edge_agent.drivers.base import CannotReach
from edge_agent.drivers.modbus_client import Client
from edge_agent.drivers.modbus_decode import Field, Output
from edge_agent.drivers.modbus_layout import Layout
from edge_agent.drivers.modbus_plan import Span
from telemetry.dictionary import TagSpec
from telemetry.points import ModbusConnection, RegisterType, SunSpecPoint
from telemetry.samples import Kind
from telemetry.sunspec import ModelPoint, definitions

MAX_MODELS = 200
_COMMON = 1
_NAMEPLATE = {"Mn": "maker", "Md": "model", "Opt": "options", "Vr": "version", "SN": "serial"}
_BY_SIZE: dict[int, RegisterType] = {1: "uint16", 2: "uint32", 4: "uint64"}
_EXACT: dict[str, RegisterType] = {
    "int16": "int16",
    "sunssf": "int16",
    "int32": "int32",
    "int64": "int64",
    "float32": "float32",
    "float64": "float64",
    "string": "string",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A model in the device: address of its id register, and its length as it says it."""

    address: int
    length: int


async def walk(client: Client, base: int) -> dict[int, Found]:
    """The models from `base` on, the first of each id. Raises CannotReach if this is no SunSpec map, Refused."""
    spec = definitions()
    head = await client.read("holding", base, 2)
    if _words(head) != list(spec.marker):
        raise CannotReach(f"no SunSpec marker at register {base}")
    models: dict[int, Found] = {}
    address = base + 2
    for _ in range(MAX_MODELS):
        if address > 65534:
            break
        header = _words(await client.read("holding", address, 2))
        if len(header) < 2 or header[0] == spec.end:
            break
        models.setdefault(header[0], Found(address, header[1]))
        address += 2 + header[1]
    return models


async def read_nameplate(client: Client, models: dict[int, Found]) -> dict[str, str]:
    """Maker, model, version and serial number from the common model (1). Raises CannotReach, Refused."""
    found, spec = models.get(_COMMON), definitions().models.get(_COMMON)
    if found is None or spec is None:
        return {}
    texts: dict[str, str] = {}
    for name, meaning in _NAMEPLATE.items():
        if name in spec.points and spec.places(name, found.length):
            point = spec.points[name]
            data = await client.read("holding", found.address + point.at, point.size)
            text = data.split(b"\0", 1)[0].decode("utf-8", errors="replace").strip()
            if text:
                texts[meaning] = text
    return texts


@dataclass(slots=True)
class _Builder:
    """Collects spans and fields; a scale factor is read once per period."""

    spans: list[Span] = field(default_factory=list[Span])
    fields: dict[int, Field] = field(default_factory=dict[int, Field])
    shared: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])

    def add(self, what: Field, address: int, period_ms: int) -> int:
        key = len(self.fields)
        self.fields[key] = what
        self.spans.append(Span(key, "holding", address, what.registers, period_ms))
        return key

    def factor(self, address: int, period_ms: int) -> int:
        if (address, period_ms) not in self.shared:
            self.shared[address, period_ms] = self.add(Field("int16", Kind.INT), address, period_ms)
        return self.shared[address, period_ms]


def sunspec_layout(
    points: Sequence[SunSpecPoint],
    tags: Sequence[TagSpec],
    models: dict[int, Found],
    *,
    base: int,
) -> Layout:
    """The layout of a device with these models; tags whose model or point the device lacks are `absent`."""
    builder = _Builder()
    outputs: list[Output] = []
    absent: list[int] = []
    for number, (point, tag) in enumerate(zip(points, tags, strict=True), start=base):
        keys = _keys(builder, point, tag, models.get(point.model))
        if keys:
            outputs.append(Output(number, tag.kind, tuple(keys), point.how))
        else:
            absent.append(number)
    return Layout(tuple(builder.spans), builder.fields, tuple(outputs), tuple(absent))


def _keys(builder: _Builder, point: SunSpecPoint, tag: TagSpec, found: Found | None) -> list[int]:
    model = definitions().models.get(point.model)
    if found is None or model is None:
        return []
    try:
        places = model.places(point.point, found.length)
    except KeyError:
        return []
    if point.how is None:
        places = places[:1]
    siblings = model.group.points if model.group is not None and "." in point.point else {}
    keys: list[int] = []
    for at, register in places:
        factor, power = None, 0
        if isinstance(register.sf, int):
            power = register.sf
        elif register.sf is not None:
            inside = siblings.get(register.sf)  # a repeating group may have a scale factor of its own
            place = at - register.at + inside.at if inside is not None else model.points[register.sf].at
            factor = builder.factor(found.address + place, tag.period_ms)
        what = _field(register, tag, scale=float(Decimal(repr(point.scale)).scaleb(power)), factor=factor)
        keys.append(builder.add(what, found.address + at, tag.period_ms))
    return keys


def _field(register: ModelPoint, tag: TagSpec, *, scale: float, factor: int | None) -> Field:
    kind = _EXACT.get(register.type) or _BY_SIZE[register.size]
    return Field(
        type=kind,
        kind=tag.kind,
        length=register.size,
        scale=scale,
        unavailable=None if kind == "string" else definitions().na.get(register.type),
        factor=factor,
    )


def check_point(point: SunSpecPoint) -> str | None:
    """What is wrong with a point as far as the models say, or None."""
    model = definitions().models.get(point.model)
    if model is None:
        return f"SunSpec model {point.model} is not known"
    try:
        repeated = "." in point.point
        model.places(point.point, 65535 if repeated else model.size)
    except KeyError:
        return f"SunSpec model {point.model} has no point {point.point!r}"
    return None


def _words(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data) - 1, 2)]


def is_sunspec(connection: ModbusConnection) -> bool:
    """Whether this connection's points are found by walking."""
    return connection.sunspec_base is not None
