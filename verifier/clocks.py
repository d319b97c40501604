"""Offsets of clocks against the verifier's own, each with its uncertainty.

One exchange [before, theirs, after] says: somewhere between `before` and `after` their clock showed `theirs`. So the
offset theirs - mine lies in [theirs - after, theirs - before]; several exchanges intersect. Where they contradict each
other (the clock stepped in between) the narrowest one counts, and its uncertainty reaches to the furthest of them.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offset:
    """Their clock minus mine, in ms, give or take `uncertainty`."""

    ms: float
    uncertainty: float

    @property
    def least(self) -> float:
        """The smallest absolute offset that the measurement allows."""
        return max(0.0, abs(self.ms) - self.uncertainty)


def estimate(exchanges: Iterable[Sequence[int]]) -> Offset | None:
    """The offset from exchanges [before, theirs, after]; None where there are none."""
    ranges = [(theirs - after, theirs - before) for before, theirs, after in exchanges if after >= before]
    if not ranges:
        return None
    low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
    if low <= high:
        return Offset((low + high) / 2, (high - low) / 2 + 1)
    best = min(ranges, key=lambda r: r[1] - r[0])
    middle = (best[0] + best[1]) / 2
    return Offset(middle, max(max(abs(a - middle), abs(b - middle)) for a, b in ranges) + 1)


def own_offset(others: Sequence[Offset], agree_ms: float) -> Offset | None:
    """How far the verifier's own clock is off, judged by the others where at least two of them agree and none differs:
    then it is the odd one. None where that cannot be said."""
    if len(others) < 2:
        return None
    middle = statistics.median(o.ms for o in others)
    if any(abs(o.ms - middle) - o.uncertainty > agree_ms for o in others):
        return None
    return Offset(-middle, max(o.uncertainty for o in others))
