"""Values outside what is physically possible are flagged, and kept: that a sensor says so is itself a fact."""

from dataclasses import replace

import numpy as np

from edge_agent.pipeline.rules import Rules
from edge_agent.pipeline.step import Counters
from telemetry.samples import SEVERITY_MASK, Quality, Reason, Samples, quality

_CODE = quality(Quality.UNCERTAIN, Reason.OUT_OF_RANGE)


class Suspicious:
    """Remembers nothing. A row that is already uncertain keeps its first reason."""

    def __init__(self, rules: Rules, counters: Counters) -> None:
        self._rules, self._counters = rules, counters
        self._idle = not (np.isfinite(rules.lo).any() or np.isfinite(rules.hi).any())

    def reset(self) -> None:
        """Nothing to forget."""

    def __call__(self, samples: Samples, *, arrival_ms: int) -> Samples:
        if self._idle:
            return samples
        values = samples.numeric  # NaN, which is neither above nor below, where there is no number
        outside = (values < self._rules.lo[samples.tag]) | (values > self._rules.hi[samples.tag])
        outside &= (samples.quality & SEVERITY_MASK) == Quality.GOOD
        count = int(outside.sum())
        if not count:
            return samples
        self._counters.flagged["out_of_range"] += count
        return replace(samples, quality=np.where(outside, _CODE, samples.quality).astype(np.uint16))
