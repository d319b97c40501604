"""Evaluation of rules on one machine's rows: pure, columns in, events out.

Meaning, for a rule and a machine. Only rows with a value that is not BAD count, in the order of their times.
- A level's condition begins to hold at a row (`trigger`) and holds as long as every further row of the tag meets it.
- With `delay_s` it must have held so long: the alarm is raised at the first row of the machine, of any tag, whose time is
  `trigger` + delay or later (`t_sample`), provided no row of the tag up to then failed it. `raised_ms` = trigger + delay.
- While `inhibit` is true (by the newest values of its tags), and `inhibit_s` after, no condition holds: the delay begins
  anew when that is over. Before all its tags have been seen nobody can tell, so it inhibits.
- Once active, an alarm ends at the first row whose value is back inside the first level's limit by the hysteresis. A higher
  level on the same side escalates it, once.

Rows may come in any portions: what comes of them does not depend on where one portion ends.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cloud.alarms.memory import LEVELS, NEVER, InhibitMemory, Lane, Row, RuleMemory
from cloud.alarms.plans import Compiled, Plan
from cloud.alarms.rules import Rule
from telemetry.expression import Expression
from telemetry.samples import Float64s, Int64s, UInt16s


@dataclass(frozen=True, slots=True)
class Column:
    """A tag's rows by time."""

    t: Int64s
    v: Float64s
    q: UInt16s


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """A machine's counted rows of one portion: rows sorted by tag, then time; `spans`: tag → its rows."""

    t: Int64s
    v: Float64s
    q: UInt16s
    spans: Mapping[str, tuple[int, int]]

    def column(self, tag: str) -> Column | None:
        """A tag's rows; None if it has none."""
        span = self.spans.get(tag)
        if span is None:
            return None
        rows = slice(*span)
        return Column(self.t[rows], self.v[rows], self.q[rows])


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to an alarm, in device time. Of `raised` and `escalated`: `trigger`, `holding_ms` (from when the
    condition held, raised_ms less the delay) and `t_sample`; of `cleared` and `retired`: `at_ms` and why."""

    what: Literal["raised", "escalated", "cleared", "retired"]
    alarm: str
    rule: Rule
    level: str
    limit: float | None
    trigger: Row
    holding_ms: int
    raised_ms: int
    t_sample: int
    at_ms: int
    note: str = ""


NewId = Callable[[], str]


def adopt(lane: Lane, now: Plan) -> list[Event]:
    """Bring what a lane remembers to the rules now in force: new limits begin with the next row; an alarm whose rule is
    no more, or now is of something else, ends as retired."""
    over: list[Event] = []
    stale = {rule.id: rule for rule in now.stale}
    for name, one in list(lane.rules.items()):
        ready = now.rules.get(name)
        rule = ready.rule if ready is not None else stale.get(name)
        if rule is None or (one.level in ("state", "rate", "stale") and one.level != rule.kind):
            if one.alarm is not None:
                over.append(ended(one, lane))
            del lane.rules[name]
        elif rule.version != one.version:
            one.version = rule.version
            one.since.clear()
    for text in list(lane.inhibits):
        if text not in now.inhibits:
            del lane.inhibits[text]
    for tag in list(lane.newest):
        if tag not in now.needed:
            del lane.newest[tag]
    return over


def ended(one: RuleMemory, lane: Lane) -> Event:
    """The end of an alarm whose rule is no longer in use."""
    nothing = Row(0, 0.0, 0)
    return Event("retired", one.alarm or "", _NO_RULE, one.level or "", None, nothing, 0, 0, 0, lane.watermark, _NO_USE)


_NO_USE = "the rule is no longer in use"
_NO_RULE = Rule(
    id="", version=0, source="user", changed_ms=0, changed_by="", device="-", zh="-", kind="state", states=[0], tag="-"
)


def step(lane: Lane, ready: Plan, rows: DeviceRows, new_id: NewId, hot: Iterable[str] | None = None) -> list[Event]:
    """Take a portion of rows. `hot`: the rules that may be concerned (those busy, those with rows beyond a limit and those
    that are not simple); None for all."""
    events: list[Event] = []
    lines = {text: _Timeline(lane, text, formula, rows) for text, formula in ready.inhibits.items()}
    names = list(ready.rules if hot is None else hot)
    if names:
        times = np.unique(rows.t if lane.watermark == NEVER else np.append(rows.t, lane.watermark))
        for name in names:
            one = ready.rules[name]
            line = None if one.inhibit is None else lines[str(one.inhibit)]
            events += _Run(lane, one, rows, times, line, new_id).events()
    for text, line in lines.items():
        lane.inhibits[text] = line.last
    for tag, (_, end) in rows.spans.items():
        if tag in ready.needed:
            lane.newest[tag] = Row(int(rows.t[end - 1]), float(rows.v[end - 1]), int(rows.q[end - 1]))
    lane.watermark = max(lane.watermark, int(rows.t.max()))
    events.sort(key=lambda event: event.at_ms)
    return events


def _filled(lane: Lane, rows: DeviceRows, tag: str, at: Int64s) -> Float64s:
    """A tag's newest value at each time; NaN where none has been seen."""
    known = lane.newest.get(tag)
    out = np.full(len(at), np.nan if known is None else known.v)
    column = rows.column(tag)
    if column is not None:
        place = np.searchsorted(column.t, at, side="right") - 1
        out[place >= 0] = column.v[place[place >= 0]]
    return out


class _Timeline:
    """An inhibiting expression over the times of a portion."""

    def __init__(self, lane: Lane, text: str, formula: Expression, rows: DeviceRows) -> None:
        before = lane.inhibits.get(text, InhibitMemory())
        self._from = [NEVER]
        self._points = [before]
        columns = [column for name in sorted(formula.names) if (column := rows.column(name)) is not None]
        if columns or (before.value is None and not formula.names):
            at = np.unique(np.concatenate([c.t for c in columns])) if columns else np.array([NEVER])
            self._add(lane, formula, rows, at)

    def _add(self, lane: Lane, formula: Expression, rows: DeviceRows, at: Int64s) -> None:
        env = {name: _filled(lane, rows, name, at) for name in formula.names}
        known = np.ones(len(at), dtype=np.bool_)
        for values in env.values():
            known &= ~np.isnan(values)
        truth = np.broadcast_to(np.asarray(formula.evaluate(env), dtype=np.bool_), (len(at),))
        last = self._points[-1]
        for t, seen, true in zip(at.tolist(), known.tolist(), truth.tolist(), strict=True):
            value = true if seen else last.value
            if value == last.value:
                continue
            free = t if last.value and not value else last.free_ms
            last = InhibitMemory(value, free)
            self._from.append(t)
            self._points.append(last)

    @property
    def last(self) -> InhibitMemory:
        return self._points[-1]

    def free_from(self, t: int, hold_ms: int) -> int | None:
        """Since when nothing inhibits, at time t; None while something does."""
        point = self._points[bisect_right(self._from, t) - 1]
        if point.value is None or point.value:
            return None
        free = NEVER if point.free_ms == NEVER else point.free_ms + hold_ms
        return None if t < free else free


class _Run:
    """One rule over a portion."""

    def __init__(
        self,
        lane: Lane,
        one: Compiled,
        rows: DeviceRows,
        times: Int64s,
        line: _Timeline | None,
        new_id: NewId,
    ) -> None:
        self._one, self._rule, self._times, self._line, self._new_id = one, one.rule, times, line, new_id
        self._memory = lane.rules.setdefault(one.rule.id, RuleMemory(one.rule.version))
        self._lane, self._rows = lane, rows
        self._events: list[Event] = []

    def events(self) -> list[Event]:
        """All that happens."""
        column = self._rows.column(self._rule.tag)
        if column is not None:
            compared = self._compared(column)
            for t, v, q, x in zip(column.t.tolist(), column.v.tolist(), column.q.tolist(), compared, strict=True):
                self._complete(t)
                if x == x:  # NaN: cannot be judged
                    self._row(Row(t, v, q), x)
        self._complete(None)
        return self._events

    def _compared(self, column: Column) -> list[float]:
        """What the limits are held against, row by row."""
        rule, values = self._rule, column.v
        with np.errstate(all="ignore"):
            if rule.kind == "state":
                return np.isin(values, rule.states).astype(np.float64).tolist()
            if rule.kind == "rate":
                before = self._lane.newest.get(rule.tag)
                v = np.append(np.nan if before is None else before.v, values)
                t = np.append(NEVER if before is None else before.t, column.t)
                slope = np.abs(np.diff(v)) / (np.diff(t) / 1000)
                return np.where(np.isfinite(slope), slope, np.nan).tolist()
            x = np.abs(values) if rule.absolute else values
            if rule.divisor is not None:
                x = x / _filled(self._lane, self._rows, rule.divisor, column.t)
                x = np.where(np.isfinite(x), x, np.nan)
            return x.tolist()

    def _row(self, row: Row, x: float) -> None:
        memory, tests = self._memory, self._one.tests
        if memory.alarm is not None:
            first = [test for test in tests if test.side == memory.side]  # the first level's limit comes last
            if not first or first[-1].ends(x):
                self._emit("cleared", row, row.t, row.t, first[-1].limit if first else None)
                memory.alarm, memory.level, memory.side = None, None, 0
                memory.since.clear()
        rank = LEVELS[memory.level] if memory.level is not None else 0
        for test in tests:
            if memory.alarm is not None and (LEVELS[test.level] <= rank or test.side != memory.side):
                continue
            if not test.holds(x):
                memory.since.pop(test.level, None)
            elif test.level not in memory.since or self._free_from(row.t) is None:
                memory.since[test.level] = row

    def _free_from(self, t: int) -> int | None:
        return NEVER if self._line is None else self._line.free_from(t, self._one.inhibit_ms)

    def _complete(self, until: int | None) -> None:
        """Raise or escalate what has held long enough at a time before `until`."""
        memory = self._memory
        while memory.since:
            found: list[tuple[int, int, str, int]] = []
            for level, row in memory.since.items():
                completed = self._completed(row.t, until)
                if completed is not None:
                    found.append((completed[0], -LEVELS[level], level, completed[1]))
            if not found:
                return
            w, rank, level, holding = min(found)
            row, test = memory.since[level], self._one.test(level)
            assert test is not None
            escalates = memory.alarm is not None
            if not escalates:
                memory.alarm = self._new_id()
            memory.level, memory.side = level, test.side
            self._emit("escalated" if escalates else "raised", row, holding, w, test.limit)
            for other in list(memory.since):
                other_test = self._one.test(other)
                if other_test is None or LEVELS[other] <= -rank or other_test.side != test.side:
                    del memory.since[other]

    def _completed(self, since: int, until: int | None) -> tuple[int, int] | None:
        """The first time at which a condition that holds from `since` on has held for the delay, and from when."""
        times, delay = self._times, self._one.delay_ms
        first = int(np.searchsorted(times, since + delay))
        if self._line is None:
            if first == len(times) or (until is not None and times[first] >= until):
                return None
            return int(times[first]), since
        for w in times[first:].tolist():
            if until is not None and w >= until:
                return None
            free = self._line.free_from(w, self._one.inhibit_ms)
            if free is not None and w - max(since, free) >= delay:
                return w, max(since, free)
        return None

    def _emit(
        self,
        what: Literal["raised", "escalated", "cleared"],
        row: Row,
        holding: int,
        t_sample: int,
        limit: float | None,
    ) -> None:
        memory, rule = self._memory, self._rule
        self._events.append(
            Event(
                what,
                memory.alarm or "",
                rule,
                memory.level or "",
                None if rule.kind == "state" else limit,
                row,
                holding,
                holding + self._one.delay_ms,
                t_sample,
                t_sample,
            )
        )
