"""Do recorded columns obey the physical relations of their equipment type?

Instant relations are tested at every row at which `when` has held for after_s; window relations over sliding windows in
which `when` holds throughout, each side averaged, a counter standing for its increase (the header of equipment.yaml).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from telemetry.equipment import EquipmentType, Relation, RelationKind, TagKind

Column = npt.NDArray[np.float64]
_STRIDES = 10  # windows per length of one


@dataclass(frozen=True, slots=True)
class Violation:
    """A relation that did not hold: how often, when first, and the sides (`cond`: 0 and 1) where it was worst."""

    relation: str
    count: int
    tested: int
    first_s: float
    worst_s: float
    left: float
    right: float
    allowed: float


@dataclass(frozen=True, slots=True)
class Tested:
    """One relation's outcome: how many rows or windows were tested, and the violation if there was one."""

    relation: str
    tested: int
    violation: Violation | None


def check(kind: EquipmentType, times: Column, columns: Mapping[str, Column]) -> list[Violation]:
    """Violations of the relations of `kind`. `times` in seconds, ascending; `columns` one array per tag, as long."""
    return [t.violation for t in examine(kind, times, columns) if t.violation is not None]


def examine(kind: EquipmentType, times: Column, columns: Mapping[str, Column]) -> list[Tested]:
    """Like `check`, telling also how often each relation could be tested."""
    counters = {t.id for t in kind.tags if t.kind is TagKind.COUNTER}
    return [_examine(r, np.asarray(times, dtype=np.float64), columns, counters) for r in kind.relations]


def _examine(relation: Relation, times: Column, columns: Mapping[str, Column], counters: set[str]) -> Tested:
    windowed_when = relation.when.window
    holds = np.ones(len(times), np.bool_)
    if not windowed_when:
        holds = np.broadcast_to(np.asarray(relation.when.evaluate(columns), np.bool_), times.shape)
    ready = _held_for(times, holds, relation.after_s)
    if relation.kind is RelationKind.INSTANT:
        rows = np.flatnonzero(ready)
        env: dict[str, Any] = {name: columns[name][rows] for name in relation.names}
        left, right, allowed = _sides(relation, env, len(rows))
        return _tested(relation, times[rows], left, right, allowed)
    outcomes = [
        (times[first], *_window_sides(relation, columns, first, last, times, counters))
        for first, last in _windows(times, ready, relation.over_s)
        if not windowed_when or _holds_in(relation, columns, first, last, times)
    ]
    at, left, right, allowed = np.array(outcomes, dtype=np.float64).reshape(-1, 4).T
    return _tested(relation, at, left, right, allowed)


def _held_for(times: Column, holds: npt.NDArray[np.bool_], after_s: float) -> npt.NDArray[np.bool_]:
    """Rows at which the condition has held for `after_s` without a break."""
    rows = np.arange(len(holds))
    last_break = np.maximum.accumulate(np.where(holds, -1, rows))
    began = times[np.clip(last_break + 1, 0, len(times) - 1)]
    return holds & (times - began >= after_s - 1e-9)


def _windows(times: Column, ready: npt.NDArray[np.bool_], over_s: float) -> Iterable[tuple[int, int]]:
    """(first, last) rows of windows of `over_s`, every tenth of a length, in which every row is ready."""
    if len(times) == 0:
        return
    broken = np.concatenate(([0], np.cumsum(~ready)))
    starts = np.arange(times[0], times[-1] - over_s + 1e-6, over_s / _STRIDES)
    for start in starts:
        first = int(np.searchsorted(times, start - 1e-6))
        last = int(np.searchsorted(times, times[first] + over_s + 1e-6)) - 1
        if last > first and broken[last + 1] == broken[first]:
            yield first, last


def _slices(relation: Relation, columns: Mapping[str, Column], first: int, last: int, times: Column) -> dict[str, Any]:
    env: dict[str, Any] = {name: columns[name][first : last + 1] for name in relation.names}
    env["hours"] = float(times[last] - times[first]) / 3600.0
    return env


def _holds_in(relation: Relation, columns: Mapping[str, Column], first: int, last: int, times: Column) -> bool:
    return bool(np.all(relation.when.evaluate(_slices(relation, columns, first, last, times))))


def _window_sides(
    relation: Relation, columns: Mapping[str, Column], first: int, last: int, times: Column, counters: set[str]
) -> tuple[float, float, float]:
    env = _slices(relation, columns, first, last, times)
    for name in counters & relation.names:
        env[name] = float(env[name][-1] - env[name][0])
    if relation.equation is not None:
        left = float(np.mean(relation.equation.left.evaluate(env)))
        right = float(np.mean(relation.equation.right.evaluate(env)))
        return left, right, float(relation.allowed(right))
    if relation.cond is not None and not relation.cond.window:
        env = {name: float(np.mean(value)) for name, value in env.items()}
    return float(np.all(relation.cond.evaluate(env))) if relation.cond else 0.0, 1.0, 0.0


def _sides(relation: Relation, env: Mapping[str, Any], n: int) -> tuple[Column, Column, Column]:
    def column(x: Any) -> Column:
        return np.broadcast_to(np.asarray(x, dtype=np.float64), (n,))

    if relation.equation is not None:
        left, right = column(relation.equation.left.evaluate(env)), column(relation.equation.right.evaluate(env))
        return left, right, column(relation.allowed(right))
    truth = column(relation.cond.evaluate(env)) if relation.cond is not None else column(0.0)
    return truth, column(1.0), column(0.0)


def _tested(relation: Relation, at: Column, left: Column, right: Column, allowed: Column) -> Tested:
    with np.errstate(invalid="ignore"):  # infinite on both sides is a violation too
        excess = np.abs(left - right) - allowed
    excess = np.where(np.isfinite(excess), excess, np.inf)
    bad = np.flatnonzero(excess > 1e-9)
    if len(bad) == 0:
        return Tested(relation.id, len(at), None)
    worst = int(bad[np.argmax(excess[bad])])
    sides = (float(left[worst]), float(right[worst]), float(allowed[worst]))
    violation = Violation(relation.id, len(bad), len(at), float(at[bad[0]]), float(at[worst]), *sides)
    return Tested(relation.id, len(at), violation)
