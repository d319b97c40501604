"""What the verifier's own reads of a tag say by themselves: whether it moved, what it settled on, where it pulsed."""

import itertools
import math
import statistics
from collections.abc import Sequence

from verifier.judging.case import Row, Shown, TagCase
from verifier.readers.base import TagRead

STATES = ("boolean", "enum")  # compared as they are, not by distance


def is_number(value: Shown) -> bool:
    """Whether a value can be compared by distance."""
    return isinstance(value, int | float)


def whole(value: Shown) -> int | float:
    """A number as it is: integers (and booleans) exactly. Raises TypeError for a text."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    raise TypeError(f"{value!r} is no number")


def same(a: Shown, b: Shown) -> bool:
    """Equality of states and texts: 1, 1.0 and true are the same state."""
    return a == b


def step_between(a: TagRead, b: TagRead) -> float:
    """The signed step of a number between two reads; 0 for what is no number."""
    if is_number(a.value) and is_number(b.value):
        return float(whole(b.value) - whole(a.value))
    return 0.0


def is_state(tag: TagCase, values: Sequence[Shown]) -> bool:
    """Whether values are compared as states, not by distance."""
    return tag.kind in STATES or not all(is_number(v) for v in values)


def settled_equal(
    tag: TagCase, row: Row, *, since: float, until: float = math.inf, deadband: float | None = None
) -> bool | None:
    """Whether a value still in force equals what the machine said in a span of the verifier's clock. None where the
    verifier has no read in it. `deadband` in place of the tag's."""
    values = [r.value for r in tag.valued if since <= r.before <= until]
    if not values:
        return None
    if is_state(tag, (row.v, *values)):
        return any(same(row.v, v) for v in values)
    numbers = [whole(v) for v in values]
    shown = whole(row.v)
    step = tag.resolution if not isinstance(shown, int) or tag.resolution > 1 else 0.0
    dust = 8 * math.ulp(float(max(abs(n) for n in (*numbers, shown))))
    allowed = step + (tag.deadband if deadband is None else deadband) + dust
    return max(min(numbers) - shown, shown - max(numbers), 0) <= allowed


def moved(tag: TagCase, *, since: float, until: float = math.inf, deadband: float | None = None) -> bool:
    """Whether the verifier saw the value change in a span of its clock, by more than the tag's resolution and deadband."""
    values = [r.value for r in tag.valued if since <= r.before <= until]
    if len(values) < 2:
        return False
    if is_state(tag, values):
        return any(not same(v, values[0]) for v in values)
    numbers = [whole(v) for v in values]
    return max(numbers) - min(numbers) > tag.resolution + (tag.deadband if deadband is None else deadband)


def away_ms(tag: TagCase, *, since: float, until: float, deadband: float) -> float:
    """How long at a stretch the value stayed away from where it was at the start of a span: then whoever samples it that
    often has a change to report. What was sent last may lie one deadband off, hence two."""
    reads = [r for r in tag.valued if since <= r.before <= until]
    if len(reads) < 2:
        return 0.0
    states = is_state(tag, [r.value for r in reads])
    allowed = tag.resolution + 2 * deadband
    longest = 0.0
    began: float | None = None
    for read in reads:
        away = not same(read.value, reads[0].value) if states else abs(step_between(reads[0], read)) > allowed
        began = (read.after if began is None else began) if away else None
        longest = max(longest, 0.0 if began is None else read.before - began)
    return longest


def noise_floor(reads: Sequence[TagRead], factor: float, least_reversals: float) -> tuple[list[float], float]:
    """(steps between neighbouring reads, how far noise between two reads may reach), in the tag's unit: `factor` times the
    median step. Where most steps are none, but the tag goes to and fro at least `least_reversals` times, it is noise that a
    limit cuts off (a gas detector at zero), and the steps that count are those where it moves."""
    signed = [step_between(a, b) for a, b in itertools.pairwise(reads)]
    steps = [abs(step) for step in signed]
    if not steps:
        return steps, 0.0
    floor = statistics.median(steps)
    moving = [step for step in signed if step]
    reversals = sum((a > 0) != (b > 0) for a, b in itertools.pairwise(moving))
    if not floor and reversals >= least_reversals:
        floor = statistics.median(abs(step) for step in moving)
    return steps, factor * floor


def pulses(tag: TagCase, reads: Sequence[TagRead], floor: float) -> list[Shown]:
    """Values that one read alone had, the reads before and after it agreeing on another: the signal changes there and back
    faster than the verifier reads, so it may have done so between two reads as well."""
    near = tag.resolution + tag.deadband + floor
    states = is_state(tag, [r.value for r in reads])

    def apart(a: TagRead, b: TagRead) -> bool:
        return not same(a.value, b.value) if states else abs(step_between(a, b)) > near

    return [b.value for a, b, c in zip(reads, reads[1:], reads[2:], strict=False) if apart(a, b) and not apart(a, c)]
