"""All steps, in the only order that works.

Times first, since every later step goes by them; then what the source repeats; then what holds no value; then the flags;
the deadband last, since it must see every change of quality that the others make.
"""

from collections.abc import Callable

from edge_agent.pipeline.clock import Clock
from edge_agent.pipeline.deadband import Deadband
from edge_agent.pipeline.duplicates import Duplicates
from edge_agent.pipeline.invalid import Invalid
from edge_agent.pipeline.rules import Rules
from edge_agent.pipeline.step import Counters, Step
from edge_agent.pipeline.suspicious import Suspicious
from telemetry.clock import now_ms
from telemetry.samples import Samples


class Pipeline:
    """One per edge: tags of all devices, by tag number. Batches may come in any size and from any device. `tap` is shown every
    batch as it reaches the deadband: whatever is believed, at the rate of acquisition."""

    def __init__(self, rules: Rules, *, tap: Callable[[Samples], None] | None = None) -> None:
        self.counters = Counters()
        self._steps: tuple[Step, ...] = tuple(
            step(rules, self.counters) for step in (Clock, Duplicates, Invalid, Suspicious, Deadband)
        )
        self._tap = tap

    def __call__(self, samples: Samples, *, arrival_ms: int | None = None) -> Samples:
        """The rows to send on. `arrival_ms` is when they reached the edge: now, unless given."""
        self.counters.raw_in += len(samples)
        arrived = now_ms() if arrival_ms is None else arrival_ms
        for step in self._steps:
            if not len(samples):
                break
            if self._tap is not None and isinstance(step, Deadband):
                self._tap(samples)
            samples = step(samples, arrival_ms=arrived)
        self.counters.kept += len(samples)
        return samples

    def reset(self) -> None:
        """Forget what was sent: the next row of each tag goes up. Counters go on."""
        for step in self._steps:
            step.reset()
