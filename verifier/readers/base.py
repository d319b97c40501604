"""What reading a machine directly gives. A machine that cannot be read is a result with a reason, never an exception.

Times are UTC milliseconds of the verifier's own clock. `before` and `after` enclose the request that brought a value:
somewhere between them the machine had it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from telemetry.clock import mono_ms, now_ms

Value = int | float | bool | str
Clock = Callable[[], int]

SIMULATED_MARKS = ("SIMULATED", "仿真")


class NoAnswer(Exception):
    """The machine did not answer, or said no. The message is the reason code."""


def steady_clock() -> Clock:
    """The verifier's clock: wall time at this moment, carried on by the monotonic clock, so that it never steps."""
    start, mono = now_ms(), mono_ms()
    return lambda: start + mono_ms() - mono


@dataclass(frozen=True, slots=True)
class TagRead:
    """One read of one tag. `value` is None where there is none; `reason` says why."""

    before: int
    after: int
    value: Value | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """All points of a machine once. `machine_ms` is the machine's own clock where it has one, read within
    `machine_window`; `reason` is set where the machine did not answer at all, and then there are no reads."""

    reads: Mapping[str, TagRead] = field(default_factory=dict[str, TagRead])
    machine_ms: int | None = None
    machine_window: tuple[int, int] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a machine says it is: nameplate fields (maker, model, serial, …) and its ApplicationUri if it has one."""

    nameplate: Mapping[str, str] = field(default_factory=dict[str, str])
    uri: str = ""
    reason: str = ""

    @property
    def simulated(self) -> bool:
        """Whether the machine itself says that it is simulated."""
        return any(mark in text for text in (*self.nameplate.values(), self.uri) for mark in SIMULATED_MARKS) or (
            "simulated" in self.uri.lower()
        )


class Reader(Protocol):
    """A connection to one machine. Nothing here raises for what a machine or network does."""

    async def identity(self) -> Identity: ...

    async def scan(self) -> Scan: ...

    async def close(self) -> None: ...


def number(value: Value | None) -> tuple[Value | None, str]:
    """A value and a reason: a float that is none has no value."""
    if isinstance(value, float) and not math.isfinite(value):
        return None, "not_a_number"
    return value, "" if value is not None else "no_value"
