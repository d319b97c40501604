"""What a step of the pipeline is: Samples in, Samples out, with what it remembers of each tag in columns.

A step sees rows in order of arrival. Where it compares a row with the row before of the same tag, it works in *rounds*:
the first row of every tag, then the second of every tag, and so on, each round at once. A batch that holds each tag once,
which is the rule, is one round.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from telemetry.samples import Int32s, Int64s, Samples


@dataclass(slots=True)
class Counters:
    """Rows in, rows out, and why the others are not out: raw_in == kept + sum(dropped). A flagged row is counted where
    it was flagged, whether or not a later step keeps it."""

    raw_in: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter[str])
    flagged: Counter[str] = field(default_factory=Counter[str])


class Step(Protocol):
    """One step."""

    def __call__(self, samples: Samples, *, arrival_ms: int) -> Samples:
        """The rows that go on; counts those that do not."""
        ...

    def reset(self) -> None:
        """Forget every tag: the next row of each is a first one."""
        ...


def rounds(tag: Int32s) -> Iterator[Int64s]:
    """Row numbers, round by round: each tag at most once a round, rows of a tag in their order."""
    n = len(tag)
    if n == 0:
        return
    if n == 1 or bool((tag[1:] > tag[:-1]).all()):
        yield np.arange(n)
        return
    order = np.argsort(tag, kind="stable")
    ordered = tag[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lengths = np.diff(np.append(starts, n))
    rank = np.arange(n) - np.repeat(starts, lengths)
    by_rank = order[np.argsort(rank, kind="stable")]
    ends = np.cumsum(np.bincount(rank))
    yield from np.split(by_rank, ends[:-1])
