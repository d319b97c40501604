"""What every driver is: it runs for ever, hands over Samples, and says when its device comes and goes.

Invariants:
- `run` never raises on device trouble; it reconnects with backoff until it is cancelled.
- When a device is lost, one row per tag says so (bad, no value, with the reason), once per loss: so the cloud shows
  that there is no value instead of an old good one. A device that was never reached is lost from the start.
- Trouble is said once per change, not once per attempt, and in one of two meanings: cannot reach, cannot authenticate.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
import structlog

from telemetry.clock import now_ms
from telemetry.dictionary import TagSpec
from telemetry.samples import Quality, Reason, Samples, make, quality

log = structlog.get_logger(__name__)

Emit = Callable[[Samples], None]
"""Called in the event loop with rows as they arrive. Must not raise: a driver could only take it for device trouble."""


class LinkState(StrEnum):
    """Where a connection stands, as a user needs to know it."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    CANNOT_REACH = "cannot_reach"
    CANNOT_AUTHENTICATE = "cannot_authenticate"


OnLink = Callable[[str, LinkState, str], None]
"""Called with (device uid, state, detail) whenever the state or the detail changes."""

OnNameplate = Callable[[str, Mapping[str, str]], None]
"""Called with (device uid, nameplate as the device itself gave it) after each connect that yielded one."""


class CannotReach(ConnectionError):
    """No usable answer: refused, timed out, closed, or not this protocol. `reason` is what its tags then say."""

    def __init__(self, detail: str, reason: Reason = Reason.NOT_CONNECTED) -> None:
        super().__init__(detail)
        self.reason = reason


class CannotAuthenticate(ConnectionError):
    """It answers, but one side does not accept the other: certificate, policy, user or password."""


@dataclass(slots=True)
class DriverCounters:
    """What a driver has done since it was made."""

    connects: int = 0
    losses: int = 0
    requests: int = 0
    exceptions: int = 0  # replies that are a refusal
    scans: int = 0
    skipped: int = 0  # scans whose time had passed before they could begin
    values: int = 0


class Driver(Protocol):
    """One device."""

    @property
    def uid(self) -> str:
        """The device."""
        ...

    @property
    def counters(self) -> DriverCounters:
        """Running totals."""
        ...

    async def run(self) -> None:
        """For ever; ends only by cancellation."""
        ...


@dataclass(slots=True)
class Outlet:
    """How one device's driver speaks to the agent: its tags, the number of the first of them, and the callbacks."""

    uid: str
    base: int
    tags: Sequence[TagSpec]
    emit: Emit
    on_link: OnLink = lambda uid, state, detail: None
    on_nameplate: OnNameplate = lambda uid, nameplate: None
    counters: DriverCounters = field(default_factory=DriverCounters)
    _said: tuple[LinkState, str] | None = field(default=None, init=False)
    _lost: bool = field(default=False, init=False)

    def send(self, samples: Samples) -> None:
        """Hand over rows read from the device."""
        self.counters.values += len(samples)
        self.emit(samples)

    def connected(self) -> None:
        """The device answers."""
        self.counters.connects += 1
        self._lost = False
        self._say(LinkState.CONNECTED, "")

    def lost(self, error: CannotReach | CannotAuthenticate) -> None:
        """The device is gone or was not to be had: rows once per loss, words once per change."""
        denied = isinstance(error, CannotAuthenticate)
        self._say(LinkState.CANNOT_AUTHENTICATE if denied else LinkState.CANNOT_REACH, str(error))
        if not self._lost:
            self._lost = True
            self.counters.losses += 1
            reason = error.reason if isinstance(error, CannotReach) else Reason.NOT_CONNECTED
            self.emit(no_value(self.base, self.tags, reason))

    def _say(self, state: LinkState, detail: str) -> None:
        if (state, detail) == self._said:
            return
        self._said = (state, detail)
        if state is LinkState.CONNECTED:
            log.info("device_connected", device=self.uid)
        else:
            log.warning("device_lost", device=self.uid, meaning=str(state), detail=detail)
        self.on_link(self.uid, state, detail)


def no_value(base: int, tags: Sequence[TagSpec], reason: Reason) -> Samples:
    """One row per tag, now: bad, without a value."""
    return make(
        np.arange(base, base + len(tags)),
        now_ms(),
        0,
        kind=[int(tag.kind) for tag in tags],
        quality=quality(Quality.BAD, reason, has_value=False),
    )


class Backoff:
    """Waiting times between attempts: doubling from `first_s` to `cap_s`, each drawn from its upper half so that a
    hundred devices behind one switch do not all come back in the same instant."""

    def __init__(self, *, first_s: float = 0.5, cap_s: float = 30.0) -> None:
        self._first_s, self._cap_s = first_s, cap_s
        self._next_s = first_s

    def reset(self) -> None:
        """The next wait is a short one again."""
        self._next_s = self._first_s

    def next_s(self) -> float:
        """The next wait in seconds."""
        wait, self._next_s = self._next_s, min(self._next_s * 2, self._cap_s)
        return wait * random.uniform(0.5, 1.0)

    async def wait(self) -> None:
        """Sleep for the next wait."""
        await asyncio.sleep(self.next_s())


def quiet_libraries() -> None:
    """The device libraries log every failed attempt; what matters is said here, once per change."""
    for name in ("pymodbus", "pymodbus.logging", "asyncua"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
