"""Values that hardly differ from the last one sent are left out.

Promise: whoever holds each value until the next one comes is never off by more than the tag's deadband. Always kept: a
tag's first value, a change of quality, and a value if the last one kept is older than `max_interval_ms`, so that a
steady value does not look like a dead one. Arithmetic is in float64, so a deadband on 64-bit integers is as exact as
that is.
"""

import numpy as np

from edge_agent.pipeline.rules import Rules
from edge_agent.pipeline.step import Counters, rounds
from telemetry.samples import Samples

_NEVER = np.iinfo(np.int64).min // 2


class Deadband:
    """Remembers of each tag the value, time and quality last kept."""

    def __init__(self, rules: Rules, counters: Counters) -> None:
        self._rules, self._counters = rules, counters
        self._idle = not (rules.deadband > 0).any()
        self.reset()

    def reset(self) -> None:
        n = len(self._rules)
        self._value = np.full(n, np.nan)
        self._time = np.full(n, _NEVER)
        self._quality = np.zeros(n, dtype=np.uint16)

    def __call__(self, samples: Samples, *, arrival_ms: int) -> Samples:
        if self._idle:
            return samples
        values = samples.numeric
        keep = np.ones(len(samples), dtype=np.bool_)
        for row in rounds(samples.tag):
            tag = samples.tag[row]
            quiet = np.abs(values[row] - self._value[tag]) <= self._rules.deadband[tag]  # False where either is NaN
            quiet &= self._rules.deadband[tag] > 0
            quiet &= samples.quality[row] == self._quality[tag]
            quiet &= samples.time[row] - self._time[tag] < self._rules.max_interval_ms
            keep[row] = ~quiet
            sent = row[~quiet]
            tag = samples.tag[sent]
            self._value[tag], self._time[tag], self._quality[tag] = (
                values[sent],
                samples.time[sent],
                samples.quality[sent],
            )
        self._counters.dropped["deadband"] += len(samples) - int(keep.sum())
        return samples if keep.all() else samples.where(keep)
