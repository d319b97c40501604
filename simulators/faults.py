"""Faults on request: what a broken, disturbed or dishonest machine would show.

A value fault is a function (tag, value, seconds since it was set) → value with nothing but its own memory, so faults
combine in the order in which they were set. Link faults (no_reply, slow_reply, clock_off, stop) are read by the servers.
The physics behind knows of none of them.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from telemetry.equipment import EquipmentType, Tag, TagKind

Transform = Callable[[Tag, float, float], float]
Arguments = Mapping[str, float]

CONTINUOUS = (TagKind.ANALOGUE, TagKind.DERIVED, TagKind.LABORATORY)
"""Kinds that a fault of the whole machine disturbs; a fault of one tag takes any kind."""


class FaultError(ValueError):
    """There is no such fault, tag or argument; the message says what there is."""


def _freeze(_: Arguments) -> Transform:
    held: dict[str, float] = {}
    return lambda tag, value, t: held.setdefault(tag.id, value)


def _nan(_: Arguments) -> Transform:
    return lambda tag, value, t: math.nan


def _spike(a: Arguments) -> Transform:
    def apply(tag: Tag, value: float, t: float) -> float:
        return value + a.get("size", tag.hi - tag.lo) if t % a["every_s"] < a["width_s"] else value

    return apply


def _drift(a: Arguments) -> Transform:
    return lambda tag, value, t: value + a.get("per_s", (tag.hi - tag.lo) / 300) * t


def _noise(a: Arguments) -> Transform:
    rng = random.Random(a["seed"])
    return lambda tag, value, t: value + rng.gauss(0.0, a.get("sigma", (tag.hi - tag.lo) / 50))


def _replay(a: Arguments) -> Transform:
    seconds = a["seconds"]
    tapes: dict[str, tuple[list[float], list[float]]] = {}

    def apply(tag: Tag, value: float, t: float) -> float:
        times, values = tapes.setdefault(tag.id, ([], []))
        if t <= seconds or not times:
            times.append(t)
            values.append(value)
            return value
        if a["echo"] and tag.kind is TagKind.SETPOINT:
            return value
        return values[max(bisect_right(times, t % seconds) - 1, 0)]

    return apply


def _random(a: Arguments) -> Transform:
    rng = random.Random(a["seed"])
    last: dict[str, tuple[float, float]] = {}

    def apply(tag: Tag, value: float, t: float) -> float:
        if tag.kind not in CONTINUOUS:  # a generator still echoes what is written to it
            return value
        at, x = last.get(tag.id, (t, value))
        pull = min(max(t - at, 0.0) / 20, 1.0)
        x += pull * (tag.normal - x) + rng.gauss(0.0, (tag.hi - tag.lo) * 0.15 * math.sqrt(2 * pull))
        last[tag.id] = (t, min(max(x, tag.lo), tag.hi))
        return last[tag.id][1]

    return apply


_VALUE_FAULTS: dict[str, tuple[Callable[[Arguments], Transform], dict[str, float | None]]] = {
    "freeze": (_freeze, {}),
    "nan": (_nan, {}),
    "spike": (_spike, {"size": None, "every_s": 10.0, "width_s": 1.0}),
    "drift": (_drift, {"per_s": None}),
    "noise": (_noise, {"sigma": None, "seed": 1.0}),
    "replay": (_replay, {"seconds": 10.0, "echo": 0.0}),
    "random": (_random, {"seed": 1.0}),
}
_LINK_FAULTS: dict[str, dict[str, float | None]] = {
    "no_reply": {},
    "slow_reply": {"seconds": 2.0},
    "clock_off": {"seconds": 60.0},
    "stop": {},
}
_WHOLE = ("freeze", "replay", "random")
NAMES = (*_VALUE_FAULTS, *_LINK_FAULTS)


def arguments_of(name: str) -> dict[str, float | None]:
    """Arguments of a fault and their defaults (None: follows from the tag's range). Raises FaultError."""
    if name in _LINK_FAULTS:
        return dict(_LINK_FAULTS[name])
    if name not in _VALUE_FAULTS:
        raise FaultError(f"no fault {name!r}; there are {', '.join(NAMES)}")
    return dict(_VALUE_FAULTS[name][1])


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault in force. `tag` None: the whole machine. `since_s` on the clock that `Faults.apply` is given."""

    name: str
    tag: str | None
    arguments: Mapping[str, float]
    since_s: float
    transform: Transform | None


@dataclass
class Faults:
    """The faults in force at one machine."""

    kind: EquipmentType
    _in_force: dict[tuple[str, str | None], Fault] = field(default_factory=dict[tuple[str, str | None], Fault])

    def set(self, name: str, *, tag: str | None = None, at_s: float = 0.0, **given: float) -> Fault:
        """Put a fault in force; the same fault of the same tag starts anew. Raises FaultError."""
        defaults = arguments_of(name)
        if unknown := given.keys() - defaults.keys():
            takes = ", ".join(defaults) or "no arguments"
            raise FaultError(f"{name} knows no {', '.join(sorted(unknown))}; it takes {takes}")
        if tag is not None and tag not in self.kind.tag_by_id:
            raise FaultError(f"{self.kind.id} has no tag {tag!r}; it has {', '.join(self.kind.tag_by_id)}")
        if tag is not None and name in _LINK_FAULTS:
            raise FaultError(f"{name} is a fault of the whole machine, not of a tag")
        arguments = {k: float(v) for k, v in {**defaults, **given}.items() if v is not None}
        for key in ("seconds", "every_s", "width_s"):
            if key in arguments and name != "clock_off" and arguments[key] <= 0:
                raise FaultError(f"{name}: {key} must be above 0, found {arguments[key]:g}")
        transform = _VALUE_FAULTS[name][0](arguments) if name in _VALUE_FAULTS else None
        fault = Fault(name, tag, arguments, at_s, transform)
        self._in_force.pop((name, tag), None)
        self._in_force[name, tag] = fault
        return fault

    def clear(self, name: str | None = None, *, tag: str | None = None) -> int:
        """Take back every fault, or those of a name, of a tag, or both. Gives their number."""
        gone = [key for key in self._in_force if (name is None or key[0] == name) and (tag is None or key[1] == tag)]
        for key in gone:
            del self._in_force[key]
        return len(gone)

    @property
    def in_force(self) -> tuple[Fault, ...]:
        """In the order in which they were set."""
        return tuple(self._in_force.values())

    def apply(self, values: Mapping[str, float], at_s: float) -> dict[str, float]:
        """What the machine shows instead of its true values."""
        shown = dict(values)
        for fault in self._in_force.values():
            if fault.transform is None:
                continue
            for tag in self.kind.tags if fault.tag is None else (self.kind.tag(fault.tag),):
                if fault.tag is not None or fault.name in _WHOLE or tag.kind in CONTINUOUS:
                    shown[tag.id] = fault.transform(tag, shown[tag.id], at_s - fault.since_s)
        return shown

    def _seconds(self, name: str) -> float:
        fault = self._in_force.get((name, None))
        return fault.arguments["seconds"] if fault else 0.0

    @property
    def no_reply(self) -> bool:
        """Requests arrive and are not answered."""
        return ("no_reply", None) in self._in_force

    @property
    def stopped(self) -> bool:
        """The server is down: connections are refused."""
        return ("stop", None) in self._in_force

    @property
    def reply_delay_s(self) -> float:
        """Every answer comes so much later."""
        return self._seconds("slow_reply")

    @property
    def clock_off_s(self) -> float:
        """The device's clock is ahead by so much (negative: behind)."""
        return self._seconds("clock_off")
