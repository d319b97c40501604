"""A simulated machine: physics stepped in time, set-points that act as the real ones do, and a local panel.

Invariants: `values` holds every tag of the type after construction and after every step; a counter never falls (the
daily one restarts at local midnight); the same uid, seed, options and calls give the same values; only set-point
registers can be written, within their range, and never while the machine is locked out or not in remote mode.
A machine knows nothing of registers, sockets or real time: whoever owns it calls `step`.
"""

import hashlib
import math
import random
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import ClassVar

from telemetry.equipment import EquipmentType, equipment_types

MAX_STEP_S = 1.0
DAY_S = 86_400.0
MORNING_S = 11 * 3600.0  # local solar time at which a machine's own clock starts unless told otherwise


class WriteRefused(ValueError):
    """The machine itself refuses the write; the message says why."""


class PanelRefused(ValueError):
    """The local panel refuses the action; the message says why."""


class PanelAction(StrEnum):
    """What a hand at the machine can do."""

    LOCKOUT_ON = "lockout_on"  # padlock: stops the machine at once, refuses every write and every start
    LOCKOUT_OFF = "lockout_off"  # starts nothing
    REMOTE_ON = "remote_on"
    REMOTE_OFF = "remote_off"  # refuses every write; the machine runs on
    START = "start"  # operator's start; ends a feed hold and a stop after the part
    STOP = "stop"  # orderly local stop
    EMERGENCY_STOP = "emergency_stop"  # trips the machine
    RESET = "reset"  # clears a trip; starts nothing
    CONFIRM = "confirm"  # operator's confirmation at the machine (CNC), good for two minutes


class Wander:
    """Coloured noise (Ornstein-Uhlenbeck): mean 0, standard deviation `sigma`, correlation time `tau_s`. Exact for any dt."""

    __slots__ = ("_a", "_b", "_dt", "_gauss", "sigma", "tau_s", "x")

    def __init__(self, rng: random.Random, sigma: float, tau_s: float) -> None:
        self.sigma, self.tau_s = sigma, tau_s
        self._gauss = rng.gauss
        self._dt = self._a = self._b = 0.0
        self.x = max(-2.0, min(2.0, rng.gauss(0.0, 1.0))) * sigma

    def step(self, dt: float) -> float:
        """The value `dt` seconds later."""
        if dt != self._dt:
            self._dt, self._a = dt, math.exp(-dt / self.tau_s)
            self._b = self.sigma * math.sqrt(1.0 - self._a * self._a)
        self.x = self._a * self.x + self._b * self._gauss(0.0, 1.0)
        # Beyond three sigma lies what a process engineer would call an event, and this is not one.
        bound = 3.0 * self.sigma
        self.x = max(-bound, min(bound, self.x))
        return self.x


def lag(x: float, target: float, dt: float, tau_s: float) -> float:
    """First-order lag towards `target`, exact for a constant target."""
    return target + (x - target) * math.exp(-dt / tau_s)


def ramp(x: float, target: float, most: float) -> float:
    """Towards `target` by at most `most`."""
    return x + max(-most, min(most, target - x))


def clip(x: float, lo: float, hi: float) -> float:
    """x held within lo..hi."""
    return max(lo, min(hi, x))


class Machine(ABC):
    """One machine. `elapsed_s` counts from construction; `local_time_s` from the midnight before it."""

    type_id: ClassVar[str]

    def __init__(self, uid: str, seed: int = 0, *, start_local_time_s: float = MORNING_S) -> None:
        self.type: EquipmentType = equipment_types()[self.type_id]
        self.uid, self.seed = uid, seed
        self.elapsed_s = 0.0
        self.start_local_time_s = start_local_time_s
        self.locked, self.remote, self.tripped = False, True, False
        self._rng = random.Random(f"{self.type_id}:{uid}:{seed}")
        self._steps = {tag.id: tag.resolution for tag in self.type.tags}
        self.values: dict[str, float] = {tag.id: tag.normal for tag in self.type.tags}
        self.nameplate = _nameplate(self.type, uid, seed)

    @property
    def local_time_s(self) -> float:
        """Seconds since local midnight of the first day (grows beyond one day)."""
        return self.start_local_time_s + self.elapsed_s

    def step(self, dt_s: float) -> None:
        """Advance by `dt_s` in (0, 1] seconds. Raises ValueError for any other step."""
        if not 0.0 < dt_s <= MAX_STEP_S:
            raise ValueError(f"a step is more than 0 and at most {MAX_STEP_S} s, not {dt_s}")
        self.elapsed_s += dt_s
        self._advance(dt_s)
        self._show_status()

    def write(self, tag_id: str, value: float) -> None:
        """Write a set-point register; `values` shows it (the echo) at once. Raises WriteRefused."""
        tag = self.type.tag_by_id.get(tag_id)
        if tag is None or not tag.writable:
            raise WriteRefused(f"{tag_id} is not writable")
        if not math.isfinite(value) or not tag.lo - 1e-9 <= value <= tag.hi + 1e-9:
            raise WriteRefused(f"{tag_id} must be within {tag.lo:g} to {tag.hi:g} {tag.unit}".rstrip())
        if self.locked:
            raise WriteRefused("locked out at the machine")
        if not self.remote:
            raise WriteRefused("not in remote mode")
        value = self.on_grid(tag_id, value)
        reason = self._refusal(tag_id, value)
        if reason:
            raise WriteRefused(reason)
        self.values[tag_id] = value
        self._written(tag_id, value)

    def panel(self, action: PanelAction | str) -> None:
        """The local hand. Raises PanelRefused, or ValueError for an action that does not exist."""
        match PanelAction(action):
            case PanelAction.LOCKOUT_ON:
                self.locked = True
                self._stop_at_once()
            case PanelAction.LOCKOUT_OFF:
                self.locked = False
            case PanelAction.REMOTE_ON:
                self.remote = True
            case PanelAction.REMOTE_OFF:
                self.remote = False
            case PanelAction.START:
                if self.locked or self.tripped:
                    raise PanelRefused("locked out" if self.locked else "tripped")
                self._start()
            case PanelAction.STOP:
                self._stop()
            case PanelAction.EMERGENCY_STOP:
                self.trip()
            case PanelAction.RESET:
                if self.tripped:
                    self.tripped = False
                    self._reset()
            case PanelAction.CONFIRM:
                self._confirm()
        self._show_status()

    def trip(self) -> None:
        """The machine's own protection: stops at once and stays stopped until reset at the panel."""
        self.tripped = True
        self._trip()
        self._show_status()

    def on_grid(self, tag_id: str, value: float) -> float:
        """The value as the machine's own display would round it: what is computed from it then agrees with it."""
        step = self._steps[tag_id]
        return round(value / step) * step

    def wander(self, sigma: float, tau_s: float) -> Wander:
        """A noise source of this machine."""
        return Wander(self._rng, sigma, tau_s)

    def _show_status(self) -> None:
        status = self.type.status
        self.values[status.local_lockout] = float(self.locked)
        self.values[status.remote_mode] = float(self.remote)
        self.values[status.trip] = float(self.tripped)
        self.values[status.run_state] = float(self._run_state())

    @abstractmethod
    def _advance(self, dt: float) -> None:
        """Physics and every tag but the four of the status."""

    @abstractmethod
    def _run_state(self) -> int:
        """Value of the run-state tag."""

    def _refusal(self, tag_id: str, value: float) -> str:
        """Why the machine refuses a write that is in range; empty where it does not."""
        return ""

    @abstractmethod
    def _written(self, tag_id: str, value: float) -> None:
        """A set-point has just been accepted."""

    @abstractmethod
    def _start(self) -> None:
        """Operator's start. Raises PanelRefused where it is not possible."""

    @abstractmethod
    def _stop(self) -> None:
        """Orderly stop."""

    @abstractmethod
    def _stop_at_once(self) -> None:
        """Stop by lock-out."""

    @abstractmethod
    def _trip(self) -> None:
        """Stop by protection."""

    @abstractmethod
    def _reset(self) -> None:
        """From tripped to stopped."""

    def _confirm(self) -> None:
        raise PanelRefused("nothing to confirm at this machine")


def _nameplate(kind: EquipmentType, uid: str, seed: int) -> dict[str, str]:
    """The plate as text: maker, model, serial, version, and the reference machine's data."""
    serial = hashlib.sha256(f"{uid}:{seed}".encode()).hexdigest()[:8].upper()
    plate = {"maker": "SIMULATED 仿真", "model": f"SIM-{kind.id}", "serial": f"SIM-{serial}", "version": "1.0"}
    return {k: str(v) for k, v in kind.reference.items()} | plate
