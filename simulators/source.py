"""What a machine shows to its servers: the physics, the faults on top, the grid of its sensors, and its clock."""

import math
from collections.abc import Mapping

from simulators.faults import Fault, Faults
from simulators.machine import Machine
from telemetry import clock


def quantise(value: float, resolution: float) -> float:
    """The nearest step of a resolution, without binary dust; NaN and infinities as they are."""
    if not math.isfinite(value):
        return value
    steps = round(value / resolution)
    inverse = round(1 / resolution)
    return steps / inverse if inverse and abs(inverse * resolution - 1) < 1e-9 else steps * resolution


class Source:
    """One machine as its servers see it. `values` has every tag, quantised at its resolution, as of the last step."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.kind = machine.type
        self.faults = Faults(machine.type)
        self._elapsed_s = 0.0
        self.values: Mapping[str, float] = {}
        self.refresh()

    def step(self, dt_s: float, *, real_s: float | None = None) -> None:
        """Advance the physics by dt_s; faults run on real seconds (`real_s`, default the same)."""
        self.machine.step(dt_s)
        self._elapsed_s += dt_s if real_s is None else real_s
        self.refresh()

    def refresh(self) -> None:
        """Show the machine's present values."""
        shown = self.faults.apply(self.machine.values, self._elapsed_s)
        self.values = {tag.id: quantise(shown[tag.id], tag.resolution) for tag in self.kind.tags}

    def write(self, tag: str, value: float) -> None:
        """Write a set-point. Raises simulators.machine.WriteRefused."""
        self.machine.write(tag, value)
        self.refresh()

    def set_fault(self, name: str, *, tag: str | None = None, **arguments: float) -> Fault:
        """Raises FaultError."""
        fault = self.faults.set(name, tag=tag, at_s=self._elapsed_s, **arguments)
        self.refresh()
        return fault

    def now_ms(self) -> int:
        """The machine's own clock, UTC ms."""
        return clock.now_ms() + round(self.faults.clock_off_s * 1000)
