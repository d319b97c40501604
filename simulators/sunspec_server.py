"""A SunSpec map in front of a machine: the chain of models, scale factors, not-available values, repeating modules.

The chain is laid out once (marker, blocks, end); a request fills in the points that serve tags. What the models have and
the machine does not is served as not available. Writable are the points of set-points; the other writable points of a
model that has some take their not-available value or what they already show, and do nothing: a client may so write a
set-point and its enable register in one request although others lie between.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from simulators.maps import ascii_text, sunspec_points
from simulators.registers import IllegalAddress, tidy
from telemetry.equipment import EquipmentType
from telemetry.points import SunSpecPoint
from telemetry.sunspec import FLOATS, SIGNED, ModelMap, ModelPoint, definitions
from telemetry.sunspec_chain import SunSpecModel

Nameplate = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """One register field that serves a tag: tag = raw * 10**exponent * point.scale. A coarse one is another, rougher
    place of a tag that the list of points reads elsewhere."""

    address: int
    model: ModelPoint
    exponent: int
    point: SunSpecPoint
    coarse: bool = False

    @property
    def step(self) -> float:
        """Engineering value of one raw step."""
        return float(f"{self.point.scale * 10.0**self.exponent:.12g}")

    def inside(self, address: int, count: int) -> bool:
        """Whether it lies wholly in a request."""
        return address <= self.address and self.address + self.model.size <= address + count


def to_registers(raw: int, size: int) -> list[int]:
    """Big-endian registers of an integer (two's complement)."""
    data = (raw % (1 << (16 * size))).to_bytes(2 * size, "big")
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]


def text_registers(text: str, size: int) -> list[int]:
    """A SunSpec string: ASCII, padded with NUL."""
    data = ascii_text(text).encode("ascii")[: 2 * size].ljust(2 * size, b"\0")
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]


def raw_of(value: float, step: float, kind: str, size: int) -> int:
    """Raw integer of an engineering value: saturated inside the type's range, which excludes its not-available value."""
    absent = definitions().na[kind]
    if math.isnan(value):
        return absent
    bits = 16 * size
    low, high = (1 - (1 << (bits - 1)), (1 << (bits - 1)) - 1) if kind in SIGNED else (0, (1 << bits) - 1)
    return min(max(round(value / step), low), high - (absent == high))


class SunSpecMap:
    """The registers of a machine with a SunSpec map (see simulators.registers.Registers)."""

    def __init__(self, kind: EquipmentType, nameplate: Nameplate) -> None:
        if kind.sunspec is None:
            raise ValueError(f"{kind.id} has no SunSpec map")
        self.base = kind.sunspec.base
        self._image: list[int] = list(definitions().marker)
        self._places: list[Place] = []
        self._rw: dict[int, tuple[int, str | None]] = {}  # address → (registers, tag or None)
        by_model = {m: [p for p in sunspec_points(kind) if p.model == m] for m in definitions().models}
        writable = {t.id for t in kind.tags if t.writable}
        for block in kind.sunspec.models:
            self._append(block, by_model[block.model], nameplate, kind.reference)
        self._image += [definitions().end, 0]
        for place in self._places:
            if place.point.tag in writable:
                self._rw[place.address] = (place.model.size, place.point.tag)
        self._find = lru_cache(maxsize=512)(self._wholly_inside)

    def _append(
        self, block: SunSpecModel, points: list[SunSpecPoint], nameplate: Nameplate, reference: Mapping[str, object]
    ) -> None:
        model = definitions().models[block.model]
        start = self.base + len(self._image)
        length = model.size - 2 + (block.modules or 1) * (model.group.size if model.group else 0)
        image = [0] * (length + 2)

        def put(at: int, point: ModelPoint, raw: int) -> None:
            image[at : at + point.size] = to_registers(raw, point.size)

        for at, point in _fields(model, length):
            if point.type == "string":
                image[at : at + point.size] = [0] * point.size
            else:
                put(at, point, definitions().na[point.type])
        for name, raw in {"ID": block.model, "L": length, **block.sf, **_constants(block)}.items():
            put(model.points[name].at, model.points[name], raw)
        if model.group and "ID" in model.group.points:
            for number, (at, point) in enumerate(model.places(f"{model.group.name}.ID", length), start=1):
                put(at, point, number)
        for key, name in block.nameplate.items():
            point = model.points[name]
            if point.type == "string":
                image[point.at : point.at + point.size] = text_registers(nameplate.get(key, "1.0"), point.size)
            else:
                exponent = _exponent(point, block)
                put(point.at, point, round(float(str(reference[key])) / block.scale.get(key, 1.0) / 10.0**exponent))
        for served in points:
            for at, point in model.places(served.point, length):
                self._places.append(Place(start + at, point, _exponent(point, block), served))
        for tag, name in block.coarse.items():
            point, served = model.points[name], SunSpecPoint(tag=tag, model=block.model, point=name)
            self._places.append(Place(start + point.at, point, _exponent(point, block), served, coarse=True))
        if any(model.points[p.point].rw for p in points if "." not in p.point):
            self._rw |= {start + p.at: (p.size, None) for p in model.points.values() if p.rw}
        self._image += image

    def _raw(self, values: Mapping[str, float]) -> dict[int, list[int]]:
        """Registers by address of every point that serves a tag."""
        out: dict[int, list[int]] = {}
        modules: dict[int, list[Place]] = {}
        for place in self._places:
            if place.point.how is not None:
                modules.setdefault(place.address, []).append(place)
                continue
            raw = raw_of(values[place.point.tag], place.step, place.model.type, place.model.size)
            out[place.address] = to_registers(raw, place.model.size)
        if modules:
            spread = _spread([places[0] for places in modules.values()], modules, values)
            out.update({address: [raw] for address, raw in spread.items()})
        return out

    def read(self, table: str, address: int, count: int, values: Mapping[str, float]) -> list[int]:
        first = address - self.base
        if table != "holding" or first < 0 or first + count > len(self._image):
            raise IllegalAddress(f"{table} {address}+{count}")
        image = self._image[first : first + count]
        for at, registers in self._raw(values).items():
            for i, word in enumerate(registers):
                if 0 <= at + i - address < count:
                    image[at + i - address] = word
        return image

    def _wholly_inside(self, address: int, count: int) -> list[Place]:
        return [p for p in self._places if p.point.how is None and not p.coarse and p.inside(address, count)]

    def tags(self, table: str, address: int, contents: Sequence[int]) -> dict[str, float]:
        """Tags of repeating groups never lie in one reply and are left out."""
        return {
            p.point.tag: _value(p, contents[p.address - address : p.address - address + p.model.size])
            for p in self._find(address, len(contents))
        }

    def writes(self, address: int, contents: Sequence[int]) -> list[tuple[str, float]]:
        asked: list[tuple[str, float]] = []
        at = address
        while at < address + len(contents):
            size, tag = self._rw.get(at, (0, None))
            part = list(contents[at - address : at - address + size])
            if not size or len(part) < size:
                raise IllegalAddress(f"holding {address}+{len(contents)} is not a set-point")
            if tag is not None:
                asked.append((tag, _value(next(p for p in self._places if p.address == at), part)))
            elif part not in (self._image[at - self.base : at - self.base + size], [0] * size):
                raise IllegalAddress(f"holding {at} is not implemented")
            at += size
        if not asked:
            raise IllegalAddress(f"holding {address}+{len(contents)} is not a set-point")
        return asked

    def shown(self, values: Mapping[str, float]) -> dict[str, float]:
        raw = self._raw(values)
        seen: dict[str, list[float]] = {}
        for place in (p for p in self._places if not p.coarse):
            seen.setdefault(place.point.tag, []).append(_value(place, raw[place.address]))
        how = {p.point.tag: p.point.how for p in self._places}
        return {tag: min(x) if how[tag] == "min" else tidy(sum(x) / len(x)) for tag, x in seen.items()}


def _exponent(point: ModelPoint, block: SunSpecModel) -> int:
    """Power of ten of a point: the block's scale factor of that name, the model's own constant, or 0."""
    return block.sf[point.sf] if isinstance(point.sf, str) else point.sf or 0


def _fields(model: ModelMap, length: int) -> list[tuple[int, ModelPoint]]:
    found = [(p.at, p) for p in model.points.values()]
    if model.group:
        found += [x for p in model.group.points for x in model.places(f"{model.group.name}.{p}", length)]
    return found


def _constants(block: SunSpecModel) -> dict[str, int]:
    """Points that are mandatory in their model and say something fixed (model files: symbols)."""
    if block.model in (101, 103):
        return {"Evt1": 0, "Evt2": 0}
    if block.model == 120:
        return {"DERTyp": 4}  # PV
    if block.model == 160:
        return {"N": block.modules or 0}
    return {"DA": 1} if block.model == 1 else {"VArPct_Ena": 0} if block.model == 123 else {}


def _value(place: Place, registers: Sequence[int]) -> float:
    raw = 0
    for word in registers:
        raw = raw << 16 | word
    kind = place.model.type
    if kind in FLOATS:
        raise ValueError(f"{kind} is not served")
    if raw == definitions().na[kind] and not kind.startswith("acc"):
        return math.nan
    if kind in SIGNED and raw >> (16 * place.model.size - 1):
        raw -= 1 << 16 * place.model.size
    return tidy(raw * place.step)


def _spread(first: list[Place], both: dict[int, list[Place]], values: Mapping[str, float]) -> dict[int, int]:
    """Raw currents of the modules whose least is the `min` tag and whose mean is the `mean` tag, as near as raw steps
    allow: the mean is exact, and the second module is the weak one."""
    tags = {p.point.how: p.point.tag for places in both.values() for p in places}
    place, n = first[0], len(first)
    mean, low = values[tags["mean"]], values[tags["min"]]
    absent = definitions().na[place.model.type]
    if math.isnan(mean) or math.isnan(low):
        return {p.address: absent for p in first}
    total = raw_of(mean, place.step, place.model.type, 1) * n
    weak = min(raw_of(low, place.step, place.model.type, 1), total // n)
    share, rest = divmod(total - weak, n - 1)
    raws = [share + (i < rest) for i in range(n - 1)]
    raws.insert(1, weak)
    return {p.address: raw for p, raw in zip(first, raws, strict=True)}
