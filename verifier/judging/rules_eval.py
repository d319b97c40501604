"""What a limit rule should have done with some rows: evaluated by the verifier itself, row by row, from the rule's words.

Only rows with a number whose quality is not bad count, in the order of their times. A level's condition begins to hold at a
row (the trigger) and holds as long as every further row of the tag meets it; after `delay_s` the alarm is raised at the
first row of the machine, of any tag, whose time is trigger + delay or later. It ends where the value is back inside the
first level's limit by the hysteresis; a higher level on the same side escalates it. One alarm of a rule is open at a time.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from telemetry.samples import SEVERITY_MASK, Quality
from verifier.judging.case import MAX_TIME

LEVELS = ("high", "high_high", "low", "low_low")
Point = tuple[int, float, int]  # time, value, quality


@dataclass(frozen=True, slots=True)
class Rule:
    """What of a limit rule decides. `limits` by level; `absolute`: the magnitude is compared."""

    tag: str
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    absolute: bool = False
    delay_ms: int = 0
    hysteresis: float = 0.0

    def holds(self, level: str, value: float) -> bool:
        """Whether a value meets a level's condition: beyond the limit, not on it."""
        x, limit = self.compared(value), self.limits[level]
        return x > limit if level.startswith("high") else x < limit

    def ends(self, side: str, value: float) -> bool:
        """Whether a value is back inside the first level of a side by the hysteresis."""
        first = side if side in self.limits else f"{side}_{side}"
        x, limit = self.compared(value), self.limits[first]
        return x <= limit - self.hysteresis if side == "high" else x >= limit + self.hysteresis

    def compared(self, value: float) -> float:
        """What is held against the limits."""
        return abs(value) if self.absolute else value


@dataclass(frozen=True, slots=True)
class Happening:
    """`raised` and `escalated`: the row that began it, and the time of the row that completed it; `cleared`: that row."""

    what: Literal["raised", "escalated", "cleared"]
    level: str
    trigger: Point
    raised_ms: int
    t_sample: int


def is_number(raw: Any) -> bool:
    """A finite number of JSON, no boolean."""
    return isinstance(raw, int | float) and not isinstance(raw, bool) and abs(raw) < 1e308


def read_rule(raw: Any) -> Rule | None:
    """A rule as the cloud tells it, None where it is no plain limit rule: of another kind, of a ratio, or not readable."""
    if not isinstance(raw, dict) or raw.get("kind", "limit") != "limit" or raw.get("divisor") is not None:
        return None
    limits = {name: raw[name] for name in LEVELS if raw.get(name) is not None}
    rest = [raw.get("delay_s", 0), raw.get("hysteresis", 0)]
    if not limits or not all(map(is_number, [*limits.values(), *rest])) or not isinstance(raw.get("tag"), str):
        return None
    if not 0 <= rest[0] < 1e6 or rest[1] < 0:
        return None
    return Rule(
        tag=raw["tag"],
        limits={name: float(v) for name, v in limits.items()},
        absolute=raw.get("absolute") is True,
        delay_ms=round(rest[0] * 1000),
        hysteresis=float(rest[1]),
    )


def has_value(q: int) -> bool:
    """Whether a row of this quality counts: it has a value, good or uncertain."""
    return q & SEVERITY_MASK in (Quality.GOOD, Quality.UNCERTAIN) and not q & Quality.NO_VALUE


def counted(rows: Iterable[Sequence[Any]]) -> list[Point]:
    """The rows [t, v, q] that count, by time. A switched value counts as 0 or 1."""
    out: list[Point] = []
    for t, v, q in rows:
        number = isinstance(v, bool) or is_number(v)
        if not number or type(t) is not int or abs(t) > MAX_TIME or type(q) is not int:
            continue
        if has_value(q):
            out.append((t, float(v), q))
    return sorted(out, key=lambda p: p[0])


def evaluate(
    rule: Rule, rows: Sequence[Point], times: Sequence[int], *, since: int | None = None, hysteresis: bool = True
) -> list[Happening]:
    """All that the rule does with these rows of its tag, from `since` on; `times` are the times of all counted rows of the
    machine, ascending. Without `hysteresis` an alarm ends with the first row that is back inside the limit."""
    used = rule if hysteresis else Rule(rule.tag, rule.limits, rule.absolute, rule.delay_ms, 0.0)
    run = _Run(used, times)
    for row in rows:
        if since is None or row[0] >= since:
            run.take(row)
    run.complete(None)
    return run.found


class _Run:
    """One rule on its way through the rows: since when each level holds, and the alarm that is open."""

    def __init__(self, rule: Rule, times: Sequence[int]) -> None:
        self._rule, self._times = rule, times
        self._since: dict[str, Point] = {}
        self._open: str | None = None
        self.found: list[Happening] = []

    def take(self, row: Point) -> None:
        """The next row of the tag."""
        self.complete(row[0])
        rule = self._rule
        if self._open is not None and rule.ends(_side(self._open), row[1]):
            self.found.append(Happening("cleared", self._open, row, row[0], row[0]))
            self._open = None
            self._since.clear()
        for level in rule.limits:
            if self._open is not None and not _higher(level, self._open):
                continue
            if not rule.holds(level, row[1]):
                self._since.pop(level, None)
            else:
                self._since.setdefault(level, row)

    def complete(self, until: int | None) -> None:
        """Raise what has held for the delay at a row before `until`."""
        while True:
            ready: list[tuple[int, bool, str]] = []
            for level, row in self._since.items():
                at = bisect_left(self._times, row[0] + self._rule.delay_ms)
                if at < len(self._times) and (until is None or self._times[at] < until):
                    ready.append((self._times[at], not level.count("_"), level))
            if not ready:
                return
            done, _, level = min(ready)
            what = "raised" if self._open is None else "escalated"
            row = self._since[level]
            self.found.append(Happening(what, level, row, row[0] + self._rule.delay_ms, done))
            self._open = level
            self._since = {k: v for k, v in self._since.items() if _higher(k, level)}


def _side(level: str) -> str:
    return level.partition("_")[0]


def _higher(level: str, than: str) -> bool:
    """Whether a level is the second one of the same side, and the other is not."""
    return _side(level) == _side(than) and level.count("_") > than.count("_")
