"""Comparing two paths: what the machine told the verifier, and what the cloud shows for the same moments.

A sample carries a time; on the verifier's clock it happened within [t - u, t + u]. The verifier's own reads that bracket
that interval (at least three of them) span what the machine said around it. The sample must lie within that span, widened by

    tolerance = tag resolution + declared deadband + how far the tag moves between two neighbouring reads

where the last is measured: `local_steps` times the largest step between neighbouring reads around the sample, and at least
`noise_steps` times the median step over the whole watch, because noise between two reads is not seen. A value that never
moves has no such allowance, so a constant must be equal. Integers are compared as integers: 64 bits exactly.

A sample outside the watch is held against all reads, widened by how far the tag may wander in the meantime at its own pace.
"""

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from verifier.judging.case import WAYS, Row, Shown, TagCase
from verifier.judging.reads import is_number, is_state, moved, noise_floor, pulses, same, settled_equal, whole
from verifier.readers.base import TagRead
from verifier.rules.types import Threshold

LEAST_BRACKET = 3
AROUND = 2  # neighbouring reads on either side whose steps count as local
MAX_GAPS = 4.0  # a bracket wider than so many reading intervals says nothing

Verdict = Literal["equal", "blurred", "contradiction", "uncompared"]
Timing = Callable[[TagCase, Row], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One sample against the verifier's own reads. `excess` is how far it lies outside the span, in the tag's unit.
    "blurred": it differs, but shows what the signal was for a single read of the verifier's own."""

    row: Row
    verdict: Verdict
    low: float | int | None = None
    high: float | int | None = None
    tolerance: float = 0.0
    excess: float = 0.0


@dataclass(frozen=True, slots=True)
class TagComparison:
    """All samples of one tag. `moments` are contradictions at separate times, `run` the most of them without an agreeing
    sample in between, `share` the contradicting share of samples: each on that way of showing where it is worst."""

    tag: str
    compared: tuple[Comparison, ...]
    moments: int = 0
    run: int = 0
    share: float = 0.0

    def persists(self, limits: Mapping[str, Threshold]) -> bool:
        """Whether the contradictions are no matter of moments."""
        least = limits["contradictions"].value
        return self.run >= least or (self.moments >= least and self.share >= limits["contradicting_share"].value)

    @property
    def doubtful(self) -> bool:
        return any(c.verdict in ("contradiction", "blurred") for c in self.compared)

    @property
    def contradictions(self) -> tuple[Comparison, ...]:
        return tuple(c for c in self.compared if c.verdict == "contradiction")

    @property
    def worst(self) -> Comparison | None:
        """The sample that lies furthest outside, else the one with the widest tolerance."""
        return max(self.compared, key=lambda c: (c.excess, c.tolerance), default=None)


@dataclass(frozen=True, slots=True)
class _Watch:
    """The verifier's reads of a tag, with what they say as a whole."""

    tag: TagCase
    reads: tuple[TagRead, ...]
    steps: list[float]
    floor: float
    local_steps: float
    interval: float
    pulses: list[Shown]


def compare_tag(
    tag: TagCase, timing: Timing, limits: Mapping[str, Threshold], *, fresh_ms: float, due_ms: float
) -> TagComparison:
    """Every usable sample of a tag; `timing` gives (time on the verifier's clock, uncertainty) in ms. A value that was shown
    for no moment of the watch counts as compared if it was at most `fresh_ms` away, or is constant and in force; `due_ms`
    after a sample the next one must have been taken."""
    reads = tag.valued
    if len(reads) < limits["least_reads"].value:
        return TagComparison(tag.id, ())
    steps, floor = noise_floor(reads, limits["noise_steps"].value, limits["noise_reversals"].value)
    interval = statistics.median(b.after - a.after for a, b in pairwise(reads))
    watch = _Watch(tag, reads, steps, floor, limits["local_steps"].value, interval, pulses(tag, reads, floor))
    found: dict[tuple[int, str, int], Comparison] = {}
    when = {row.key: timing(tag, row) for row in tag.rows if row.usable}
    for row in tag.rows:
        if row.usable and (compared := _compare(watch, row, *when[row.key])).verdict != "uncompared":
            found[row.key] = compared
    for row in _beside(tag, found):
        if row is not tag.latest and when[row.key][0] > reads[-1].before:
            continue  # history goes on after the reads have ended: what the machine did since nobody read
        near = fresh_ms if not found else MAX_GAPS * interval
        compared = _standing(watch, row, *when[row.key], fresh_ms=near, due_ms=due_ms)
        if compared.verdict != "uncompared":
            found[row.key] = compared
    apart = max(interval, limits["moment_s"].value * 1000)
    runs = [_runs([(when[r.key][0], found[r.key]) for r in tag.ways[way] if r.key in found], apart) for way in WAYS]
    moments, run, share = (max(column) for column in zip(*runs, strict=True))
    return TagComparison(tag.id, tuple(found.values()), moments, run, share)


def _beside(tag: TagCase, found: Mapping[tuple[int, str, int], Comparison]) -> list[Row]:
    """Samples worth holding against the reads though they lie outside the watch: what was shown last; where nothing else
    was compared, the newest."""
    latest, newest = tag.latest, tag.newest
    rows = [latest] if found else [latest, newest]
    return [r for r in dict.fromkeys(rows) if r is not None and r.usable and r.key not in found]


def _runs(compared: Sequence[tuple[float, Comparison]], apart: float) -> tuple[int, int, float]:
    """(moments, longest run of moments, contradicting share) of the samples that one way showed: moments are contradictions
    at least `apart` from the one counted before."""
    moments = longest = run = wrong = 0
    last = -math.inf
    for t, comparison in sorted(compared, key=lambda x: (x[0], x[1].row.key)):
        if comparison.verdict != "contradiction":
            run = 0
            continue
        wrong += 1
        if t - last >= apart:
            moments, run, last = moments + 1, run + 1, t
            longest = max(longest, run)
    return moments, longest, wrong / len(compared) if compared else 0.0


def _compare(watch: _Watch, row: Row, middle: float, spread: float) -> Comparison:
    """A sample against the reads around it."""
    bracket = _bracket(watch.reads, (middle - spread, middle + spread), watch.interval)
    if bracket is None:
        return Comparison(row, "uncompared")
    first, last = bracket
    local = watch.steps[max(0, first - AROUND) : last + AROUND]
    reads = watch.reads[first : last + 1]
    if is_state(watch.tag, [row.v, *(r.value for r in reads)]):
        # What goes there and back around the sample moves between two reads as well, as a number would.
        around = watch.reads[max(0, first - AROUND) : last + 1 + AROUND]
        changes = sum(not same(a.value, b.value) for a, b in pairwise(around))
        return _against(watch, row, around if changes > 1 else reads, 0.0)
    return _against(watch, row, reads, max(watch.local_steps * max(local, default=0.0), watch.floor))


def _standing(watch: _Watch, row: Row, middle: float, spread: float, *, fresh_ms: float, due_ms: float) -> Comparison:
    """A sample before or after all reads. Constant and equal: it is in force. Further away than `fresh_ms` it can be found
    wrong, but not right. From before the watch, what may jump can be found wrong only where the watch went on for `due_ms`
    after the sample: until then nobody but the machine need know that it did. A counter does not jump."""
    tag, reads = watch.tag, watch.reads
    away = max(reads[0].before - (middle - spread), middle + spread - reads[-1].after)
    if away <= 0:
        return Comparison(row, "uncompared")
    still = not moved(tag, since=-math.inf)
    if still and settled_equal(tag, row, since=-math.inf):
        return Comparison(row, "equal")
    before = middle < reads[0].before
    overdue = not before or tag.kind == "counter" or reads[-1].before - (middle + spread) > due_ms
    values = [r.value for r in reads]
    if is_state(tag, (row.v, *values)):
        if still and overdue:
            return Comparison(row, "contradiction", excess=1.0)
        nearest = values[0] if before else values[-1]
        return Comparison(row, "equal" if same(row.v, nearest) and away <= fresh_ms else "uncompared")
    numbers = [whole(v) for v in values]
    lasted = max(reads[-1].after - reads[0].before, 1)
    # What moves in steps may be a step from the next one all through the watch.
    step = max(tag.resolution, 1.0 if all(isinstance(n, int) for n in numbers) else 0.0)
    # A signal that wanders spans 1.6 s.d. of its root-time movement in a watch (Feller 1951) and may be 3 s.d. off `away` from
    # it: twice the span by the root of time, for a drift by the time itself.
    ratio = away / lasted
    moves = 2 * (float(max(numbers) - min(numbers)) + step) * max(math.sqrt(ratio), ratio)
    found = _against(watch, row, reads, max(moves, watch.floor))
    tells = overdue if found.verdict == "contradiction" else away <= fresh_ms
    return found if tells else Comparison(row, "uncompared")


def _against(watch: _Watch, row: Row, reads: Sequence[TagRead], moves: float) -> Comparison:
    """A sample against some reads, allowing for how far the tag moves."""
    tag, values = watch.tag, [r.value for r in reads]
    if is_state(tag, (row.v, *values)):
        if any(same(row.v, v) for v in values):
            return Comparison(row, "equal")
        blurred = any(same(row.v, v) for v in watch.pulses)
        return Comparison(row, "blurred" if blurred else "contradiction", excess=1.0)
    numbers = [whole(v) for v in values]
    shown = whole(row.v)
    low, high = min(numbers), max(numbers)
    # An integer is not rounded on its way unless its resolution is coarser than 1.
    integers = isinstance(shown, int) and isinstance(low, int) and isinstance(high, int)
    step = tag.resolution if not integers or tag.resolution > 1 else 0.0
    dust = 0.0 if integers else 8 * math.ulp(max(abs(low), abs(high), abs(shown)))
    tolerance = step + tag.deadband + moves + dust
    outside = max(low - shown, shown - high, 0)
    verdict: Verdict = "equal"
    if outside > tolerance:
        blurred = any(is_number(v) and abs(shown - whole(v)) <= tolerance for v in watch.pulses)
        verdict = "blurred" if blurred else "contradiction"
    return Comparison(row, verdict, low, high, tolerance, float(outside))


def _bracket(reads: Sequence[TagRead], when: tuple[float, float], interval: float) -> tuple[int, int] | None:
    """(first, last) read such that the sample surely happened between them, widened to at least three reads. None at the
    ends of the watch, or where the verifier itself had too wide a gap."""
    first = bisect_right(reads, when[0], key=lambda r: r.after) - 1
    last = bisect_left(reads, when[1], key=lambda r: r.before)
    if first < 0 or last >= len(reads):
        return None
    if reads[last].after - reads[first].before > MAX_GAPS * max(interval, 250.0) + (when[1] - when[0]):
        return None
    while last - first + 1 < LEAST_BRACKET and (first > 0 or last < len(reads) - 1):
        if last < len(reads) - 1:
            last += 1
        if last - first + 1 < LEAST_BRACKET and first > 0:
            first -= 1
    return first, last
