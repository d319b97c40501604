"""Random windows of time out of a seed: drawn once, kept with the seed, and drawn again by whoever judges.

The seed comes from the operating system after the check began; SHA-256 turns it into numbers, so that the same seed gives
the same windows on any machine and nobody chose them.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
Span = tuple[int, int]

RECENT_MS = 120_000


class Lot:
    """A sequence of numbers that follows from a seed and a name."""

    def __init__(self, seed: str, name: str) -> None:
        self._seed, self._name, self._n = seed, name, 0

    def below(self, n: int) -> int:
        """0 … n - 1; 0 where n < 1."""
        self._n += 1
        digest = hashlib.sha256(f"{self._seed}/{self._name}/{self._n}".encode()).digest()
        return int.from_bytes(digest[:16], "big") % max(1, n)

    def between(self, low: int, high: int) -> int:
        """`low` … `high`, both possible."""
        return low + self.below(high - low + 1)

    def pick(self, among: Sequence[T], n: int) -> list[T]:
        """`n` of them (all, where there are fewer) in their own order."""
        left = list(range(len(among)))
        chosen = [left.pop(self.below(len(left))) for _ in range(min(n, len(left)))]
        return [among[i] for i in sorted(chosen)]


def draw_windows(seed: str, name: str, spans: Sequence[Sequence[int]], *, count: int, length_ms: int) -> list[Span]:
    """`count` windows of `length_ms` within some spans of time: the first among the newest minutes, the others anywhere. Fewer
    where there is no room for them beside each other; none where there is no time at all."""
    lot = Lot(seed, name)
    high = max((b for _, b in spans), default=0)
    recent = [(max(a, high - max(RECENT_MS, length_ms)), b) for a, b in spans if b > high - RECENT_MS]
    out: list[Span] = []
    for i in range(count):
        for _ in range(20):  # beside those that are drawn already
            start = _start(lot, recent if i == 0 else spans, length_ms)
            if start is not None and all(start >= b or start + length_ms <= a for a, b in out):
                out.append((start, start + length_ms))
                break
    return sorted(out)


def draw_stretch(seed: str, name: str, spans: Sequence[Sequence[int]], length_ms: int) -> Span | None:
    """One stretch of `length_ms` within some spans of time, or of the longest there is; None where there is none."""
    longest = max((b - a for a, b in spans), default=0)
    length = min(length_ms, longest)
    start = _start(Lot(seed, name), spans, length) if length > 0 else None
    return None if start is None else (start, start + length)


def _start(lot: Lot, spans: Sequence[Sequence[int]], length: int) -> int | None:
    """A moment from which `length` lies within one of the spans, each such moment as likely as any other."""
    room = [(a, b - a - length + 1) for a, b in spans if b - a >= length]
    if not room:
        return None
    at = lot.below(sum(n for _, n in room))
    for a, n in room:
        if at < n:
            return a + at
        at -= n
    return None


def without(span: Span, holes: Iterable[Span]) -> list[Span]:
    """What is left of a span without some holes."""
    out: list[Span] = []
    at = span[0]
    for a, b in sorted(holes):
        if a > at:
            out.append((at, min(a, span[1])))
        at = max(at, b)
    if at < span[1]:
        out.append((at, span[1]))
    return [(a, b) for a, b in out if b > a]


def united(spans: Iterable[Span]) -> list[Span]:
    """Spans that touch or overlap as one."""
    out: list[Span] = []
    for a, b in sorted(spans):
        if out and a <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], b))
        else:
            out.append((a, b))
    return out
