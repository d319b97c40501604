"""Streams: numbered, chained items, and which of them have come.

Key of an item: (stream, sequence, hash). The same three again is a duplicate. Same number, another hash, or a hash chain
that does not join, is a fork: an edge restored from a backup, or somebody inserting. Items may come in any order.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from telemetry.seal import HASH_BYTES

FIRST_PREVIOUS = bytes(HASH_BYTES)

Range = tuple[int, int]


class Place(StrEnum):
    """What an item is to a stream."""

    NEW = "new"
    DUPLICATE = "duplicate"
    FORK = "fork"
    DETACHED = "detached"


def place(
    *,
    sequence: int,
    hash: bytes,
    previous: bytes,
    held: bytes | None,
    before: bytes | None,
    after_previous: bytes | None,
    forked: bool = False,
) -> Place:
    """Place of an item. `held`: hash of the committed item with this number; `before`: hash of the committed item one
    lower; `after_previous`: what the committed item one higher names as its previous; each None where there is none.
    In a stream that once `forked`, only an item that joins a committed one is taken: any other might belong to either
    branch, so it is DETACHED and waits to be sent again."""
    if held is not None:
        return Place.DUPLICATE if held == hash else Place.FORK
    if sequence == 0 and previous != FIRST_PREVIOUS:
        return Place.FORK
    if before is not None and before != previous:
        return Place.FORK
    if after_previous is not None and after_previous != hash:
        return Place.FORK
    if forked and before is None and sequence > 0:
        return Place.DETACHED
    return Place.NEW


@dataclass(frozen=True, slots=True)
class Progress:
    """Which numbers of a stream are held (or declared lost): all up to `contiguous`, and `islands` above it, ascending,
    neither touching nor overlapping."""

    contiguous: int = -1
    islands: tuple[Range, ...] = ()

    @property
    def highest(self) -> int:
        return self.islands[-1][1] if self.islands else self.contiguous

    def missing(self, limit: int = 64) -> tuple[Range, ...]:
        """The first `limit` ranges between contiguous and highest that are not held."""
        out: list[Range] = []
        at = self.contiguous + 1
        for low, high in self.islands[:limit]:
            out.append((at, low - 1))
            at = high + 1
        return tuple(out)


def add(progress: Progress, low: int, high: int) -> Progress:
    """Progress once low..high (inclusive) are held too."""
    low = max(low, progress.contiguous + 1)
    if high < low:
        return progress
    kept: list[Range] = []
    for a, b in progress.islands:
        if b < low - 1 or a > high + 1:
            kept.append((a, b))
        else:
            low, high = min(a, low), max(b, high)
    if low == progress.contiguous + 1:
        return replace(progress, contiguous=high, islands=tuple(kept))
    return replace(progress, islands=tuple(sorted([*kept, (low, high)])))
