"""The verifier's own walk along a SunSpec chain: marker, then model after model, until the end.

Definitions (which point stands where) are shared data; walking and decoding are this module's own. A tag is
raw * 10**SF * scale; a point of a repeating group gives one value by `how` over the repetitions that have one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from telemetry.points import Machine, ModbusConnection, SunSpecPoint
from telemetry.sunspec import ModelMap, ModelPoint, SunSpec, definitions
from verifier.readers.base import Clock, Identity, NoAnswer, TagRead, Value, number
from verifier.readers.registers import UndecodableError, sunspec_raw

MAX_MODELS = 64
CHUNK = 120
SINGLE_PHASE = {103: 101}  # a single-phase inverter serves 101 in place of 103
COMMON = {"Mn": "maker", "Md": "model", "Opt": "options", "Vr": "version", "SN": "serial"}


class Registers(Protocol):
    """What the walk needs of a connection; raises the connection's own NoAnswer."""

    async def registers(self, table: str, address: int, count: int) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model stands: address of its ID register, and its length as the device says."""

    address: int
    length: int


class ChainError(ValueError):
    """What stands at the base is no SunSpec chain."""


async def walk(link: Registers, base: int, rules: SunSpec) -> dict[int, Place]:
    """The models of a device by id (the first of each). Raises ChainError, and NoAnswer of the connection."""
    marker = await link.registers("holding", base, 2)
    if tuple(marker) != tuple(rules.marker):
        raise ChainError("no SunSpec marker")
    found: dict[int, Place] = {}
    at = base + 2
    for _ in range(MAX_MODELS):
        model, length = await link.registers("holding", at, 2)
        if model == rules.end:
            return found
        found.setdefault(model, Place(at, length))
        at += 2 + length
        if at > 0xFFFF - 2:
            raise ChainError("the chain runs out of the address space")
    raise ChainError("the chain does not end")


async def read_block(link: Registers, place: Place) -> list[int]:
    """All registers of a model, ID and L among them."""
    out: list[int] = []
    total = place.length + 2
    while len(out) < total:
        out += await link.registers("holding", place.address + len(out), min(CHUNK, total - len(out)))
    return out


def raw_at(block: list[int], at: int, point: ModelPoint, rules: SunSpec) -> int | float | str | None:
    """Raw value of a point in a block of registers. Raises UndecodableError."""
    return sunspec_raw(point.type, block[at : at + point.size], rules.na.get(point.type))


def scaled(block: list[int], model: ModelMap, at: int, point: ModelPoint, rules: SunSpec) -> Value | None:
    """raw * 10**SF, or the raw integer or text where there is no scale factor. None where it is not available."""
    raw = raw_at(block, at, point, rules)
    if raw is None or isinstance(raw, str) or point.sf is None:
        return raw
    exponent = point.sf if isinstance(point.sf, int) else None
    if exponent is None:
        factor = model.points[str(point.sf)]
        found = raw_at(block, factor.at, factor, rules)
        if not isinstance(found, int) or not -10 <= found <= 10:
            return None
        exponent = found
    return raw * 10**exponent if exponent >= 0 else raw / 10**-exponent


def value_of(block: list[int], model: ModelMap, point: SunSpecPoint, rules: SunSpec) -> Value | None:
    """The value of a tag from its model's block. Raises KeyError and UndecodableError."""
    places = model.places(point.point, len(block) - 2)
    values = [scaled(block, model, at, p, rules) for at, p in places]
    numbers = [v for v in values if v is not None and not isinstance(v, str)]
    if point.how is not None:
        if not numbers:
            return None
        result: Value = min(numbers) if point.how == "min" else sum(numbers) / len(numbers)
    else:
        first = values[0] if values else None
        if first is None or isinstance(first, str):
            return first
        result = first
    return result if point.scale == 1 else result * point.scale


class ChainReader:
    """The SunSpec side of a machine."""

    def __init__(self, link: Registers, base: int, points: list[SunSpecPoint], clock: Clock) -> None:
        self._link = link
        self._base = base
        self._points = points
        self._clock = clock
        self._rules = definitions()
        self._chain: Mapping[int, Place] = {}

    async def _places(self) -> Mapping[int, Place]:
        if not self._chain:
            self._chain = await walk(self._link, self._base, self._rules)
        return self._chain

    async def identity(self) -> Identity:
        """Model 1 as a nameplate."""
        try:
            places = await self._places()
            if 1 not in places:
                return Identity(reason="no_common_model")
            block = await read_block(self._link, places[1])
            model = self._rules.models[1]
            plate = {
                COMMON[name]: str(raw_at(block, model.points[name].at, model.points[name], self._rules) or "")
                for name in COMMON
            }
        except NoAnswer as error:
            return Identity(reason=str(error))
        except (ChainError, UndecodableError) as error:
            return Identity(reason=f"not_sunspec: {error}")
        return Identity({k: v for k, v in plate.items() if v})

    async def reads(self) -> dict[str, TagRead]:
        """Every SunSpec tag once. Raises the connection's NoAnswer where the machine does not answer at all."""
        before = self._clock()
        try:
            places = await self._places()
        except ChainError as error:
            return {p.tag: TagRead(before, self._clock(), None, f"not_sunspec: {error}") for p in self._points}
        out: dict[str, TagRead] = {}
        for wanted in sorted({p.model for p in self._points}):
            model = wanted if wanted in places else SINGLE_PHASE.get(wanted, wanted)
            points = [p for p in self._points if p.model == wanted]
            before = self._clock()
            if model not in places or model not in self._rules.models:
                out |= {p.tag: TagRead(before, before, None, "no_such_model") for p in points}
                continue
            block = await read_block(self._link, places[model])
            after = self._clock()
            if block[0] != model:
                self._chain = {}  # the device rearranged its map: walk again next time
                out |= {p.tag: TagRead(before, after, None, "map_changed") for p in points}
                continue
            out |= {p.tag: self._read(block, model, p, before, after) for p in points}
        return out

    def _read(self, block: list[int], model: int, point: SunSpecPoint, before: int, after: int) -> TagRead:
        try:
            value, reason = number(value_of(block, self._rules.models[model], point, self._rules))
        except KeyError:
            value, reason = None, "no_such_point"
        except UndecodableError:
            value, reason = None, "undecodable"
        return TagRead(before, after, value, "not_available" if reason == "no_value" else reason)


def chain_reader(machine: Machine, link: Registers, clock: Clock) -> ChainReader | None:
    """The SunSpec side of a machine, None where it has no SunSpec map."""
    connection = machine.connection
    points = [p for p in machine.points if isinstance(p, SunSpecPoint)]
    if not isinstance(connection, ModbusConnection) or connection.sunspec_base is None:
        return None
    return ChainReader(link, connection.sunspec_base, points, clock)
