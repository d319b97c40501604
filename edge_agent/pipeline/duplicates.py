"""Samples that the source has already given, or that go back in time, are dropped; nothing else is.

Only for tags whose times are the source's own: what is read again and again at the edge's own times is news each time,
even when it says the same. Repeated: same source time, same value, same quality as the tag's row before. Regressing: a
source time before the latest one of the tag. A time that was replaced (pipeline/clock.py) can repeat, but neither regress
nor be the latest: it says nothing about order. Rows without a value pass, and what was given before them may be given again:
it is no repetition to say that the old value is back.
"""

import numpy as np

from edge_agent.pipeline.rules import Rules
from edge_agent.pipeline.step import Counters, rounds
from telemetry.samples import BLOB_KINDS, Quality, Samples

_NEVER = np.iinfo(np.int64).min


class Duplicates:
    """Remembers of each tag the last source time, value and quality, and the latest trusted time."""

    def __init__(self, rules: Rules, counters: Counters) -> None:
        self._rules, self._counters = rules, counters
        self.reset()

    def reset(self) -> None:
        n = len(self._rules)
        self._time = np.full(n, _NEVER)
        self._latest = np.full(n, _NEVER)
        self._value = np.zeros(n, dtype=np.int64)
        self._quality = np.zeros(n, dtype=np.uint16)

    def __call__(self, samples: Samples, *, arrival_ms: int) -> Samples:
        sourced = self._rules.source_time[samples.tag]
        if not sourced.any():
            return samples
        judged = sourced & ((samples.quality & Quality.NO_VALUE) == 0)
        replaced = np.zeros(len(samples), dtype=np.bool_) if samples.origin is None else samples.origin != 0
        source = samples.time if samples.origin is None else np.where(replaced, samples.origin, samples.time)
        # The slot of a text or array is where it lies in this batch: never comparable with another batch's.
        comparable = ~np.isin(samples.kind, BLOB_KINDS)
        keep = np.ones(len(samples), dtype=np.bool_)
        for row in rounds(samples.tag):
            self._time[samples.tag[row[~judged[row]]]] = _NEVER
            row = row[judged[row]]
            tag = samples.tag[row]
            same = source[row] == self._time[tag]
            repeated = (
                same
                & (~comparable[row] | (samples.value[row] == self._value[tag]))
                & (samples.quality[row] == self._quality[tag])
            )
            regressing = ~repeated & ~replaced[row] & (source[row] < self._latest[tag])
            self._counters.dropped["repeated"] += int(repeated.sum())
            self._counters.dropped["regressing"] += int(regressing.sum())
            keep[row] = ~(repeated | regressing)
            row = row[keep[row]]
            tag = samples.tag[row]
            self._time[tag] = source[row]
            self._value[tag] = samples.value[row]
            self._quality[tag] = samples.quality[row]
            trusted = row[~replaced[row]]
            self._latest[samples.tag[trusted]] = source[trusted]
        return samples if keep.all() else samples.where(keep)
