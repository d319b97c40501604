"""Rows that hold no usable value are dropped, but never a tag's change to having none.

A bad row becomes "bad, no value" with its reason; NaN and infinity become that with the reason NOT_A_NUMBER. The first of
a run goes on, so that the cloud shows no value from then on; while the reason stays the same, the others are dropped.
"""

from dataclasses import replace

import numpy as np

from edge_agent.pipeline.rules import Rules
from edge_agent.pipeline.step import Counters, rounds
from telemetry.samples import SEVERITY_MASK, Kind, Quality, Reason, Samples, UInt16s, quality, reason_name

_NOT_A_NUMBER = quality(Quality.BAD, Reason.NOT_A_NUMBER, has_value=False)
_USABLE = 0


class Invalid:
    """Remembers of each tag the bad quality it last had, 0 while it has a value."""

    def __init__(self, rules: Rules, counters: Counters) -> None:
        self._n, self._counters = len(rules), counters
        self.reset()

    def reset(self) -> None:
        self._bad = np.zeros(self._n, dtype=np.uint16)

    def __call__(self, samples: Samples, *, arrival_ms: int) -> Samples:
        bad = _bad_codes(samples)
        if not bad.any() and not self._bad.any():
            return samples
        keep = np.ones(len(samples), dtype=np.bool_)
        for row in rounds(samples.tag):
            tag = samples.tag[row]
            keep[row] = (bad[row] == _USABLE) | (bad[row] != self._bad[tag])
            self._bad[tag] = bad[row]
        codes, counts = np.unique(bad[~keep], return_counts=True)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            self._counters.dropped[reason_name(code)] += count
        void = bad != _USABLE
        return replace(
            samples,
            value=np.where(void, 0, samples.value),
            quality=np.where(void, bad, samples.quality).astype(np.uint16),
        ).where(keep)


def _bad_codes(samples: Samples) -> UInt16s:
    """By row: the quality "bad, no value, reason" where the row has no usable value, else 0."""
    lacking = (samples.quality & Quality.NO_VALUE) != 0
    void = lacking | ((samples.quality & SEVERITY_MASK) >= Quality.BAD)
    codes = np.where(void, (samples.quality & 0xFF) | int(Quality.BAD | Quality.NO_VALUE), _USABLE).astype(np.uint16)
    floats = (samples.kind == Kind.FLOAT) & ~void
    codes[floats & ~np.isfinite(np.where(floats, samples.value.view(np.float64), 0.0))] = _NOT_A_NUMBER
    return codes
