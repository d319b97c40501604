"""Source times that would put a value in the wrong place are replaced by the time of arrival.

Two cases; in both the value stays and the source's own time is kept in `origin`.

- The time cannot be right. One timestamp from the future must not pin "latest" for ever, and one from 1970 must not sort
  a value under the oldest. Quality becomes uncertain with the reason CLOCK, unless it already is worse.
- The time is right but lies before a moment for which the tag was said to have no value: a server that is back sends the
  set-point that has not changed since yesterday. Under yesterday's time it would stay hidden behind "no value"; what it
  means is that the value holds now. The same goes for what lies before the start of the agent. Quality stays as it is.
"""

from dataclasses import replace

import numpy as np

from edge_agent.pipeline.rules import Rules
from edge_agent.pipeline.step import Counters, rounds
from telemetry.samples import SEVERITY_MASK, Bools, Int64s, Quality, Reason, Samples, quality

_CODE = quality(Quality.UNCERTAIN, Reason.CLOCK)
_NEVER = np.iinfo(np.int64).min


class Clock:
    """Remembers of each tag until when it was without a value, as long as no value has come since."""

    def __init__(self, rules: Rules, counters: Counters) -> None:
        self._rules, self._counters = rules, counters
        self._void: Int64s | None = None

    def reset(self) -> None:
        self._void = None

    def __call__(self, samples: Samples, *, arrival_ms: int) -> Samples:
        if self._void is None:
            self._void = np.full(len(self._rules), arrival_ms - 1, dtype=np.int64)
        sourced = self._rules.source_time[samples.tag]
        if not sourced.any():
            return samples
        ahead = samples.time - arrival_ms
        off = sourced & ((ahead > self._rules.max_future_ms) | (ahead < -self._rules.max_past_ms))
        hidden, void = self._hidden(samples, sourced, self._void)
        moved = off | hidden
        if not moved.any():
            return samples
        self._counters.flagged["clock"] += int(off.sum())
        origin = samples.origin if samples.origin is not None else np.zeros(len(samples), dtype=np.int64)
        doubtful = off & ((samples.quality & SEVERITY_MASK) == Quality.GOOD)
        code = (samples.quality & Quality.NO_VALUE) | _CODE
        return replace(
            samples,
            time=np.where(hidden, np.maximum(arrival_ms, void + 1), np.where(off, arrival_ms, samples.time)),
            origin=np.where(moved, samples.time, origin),
            quality=np.where(doubtful, code, samples.quality).astype(np.uint16),
        )

    @staticmethod
    def _hidden(samples: Samples, sourced: Bools, void: Int64s) -> tuple[Bools, Int64s]:
        """By row: whether it lies before its tag's void, and where that ended. Brings `void` up to date."""
        hidden = np.zeros(len(samples), dtype=np.bool_)
        ended = np.full(len(samples), _NEVER)
        lacking = (samples.quality & Quality.NO_VALUE) != 0
        if not lacking.any() and bool((void[samples.tag] == _NEVER).all()):
            return hidden, ended
        for row in rounds(samples.tag):
            tag, time, gone = samples.tag[row], samples.time[row], lacking[row]
            ended[row] = void[tag]
            hidden[row] = sourced[row] & ~gone & (time <= void[tag])
            void[tag] = np.where(gone, np.maximum(void[tag], time), _NEVER)
        return hidden, ended
