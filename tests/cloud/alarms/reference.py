"""The meaning of a rule, said again as simply as can be: row by row, everything looked up anew. Slow, and independent of the
engine's own evaluation. For rows that come in the order of their times."""

from dataclasses import dataclass

from cloud.alarms.rules import Rule
from telemetry.expression import Expression

RANK = {"high": 1, "low": 1, "state": 1, "rate": 1, "high_high": 2, "low_low": 2}


@dataclass
class Seen:
    tag: str
    t: int
    v: float


class Reference:
    """One rule on one machine. `happened`: (what, level, trigger time or time of clearing, t_sample)."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.rows: list[Seen] = []
        self.happened: list[tuple[str, str, int, int]] = []
        self.level: str | None = None

    def moment(self, rows: list[Seen]) -> None:
        """All rows of one time, the rule's own tag last of all but before anything is raised."""
        self.rows += rows
        for row in rows:
            if row.tag == self.rule.tag:
                self._clear(row)
        self._raise(rows[0].t)

    def newest(self, tag: str, t: int) -> float | None:
        found = [row.v for row in self.rows if row.tag == tag and row.t <= t]
        return found[-1] if found else None

    def compared(self, row: Seen) -> float | None:
        rule = self.rule
        if rule.kind == "state":
            return 1.0 if row.v in rule.states else 0.0
        if rule.kind == "rate":
            before = [one for one in self.rows if one.tag == row.tag and one.t < row.t]
            return None if not before else abs(row.v - before[-1].v) / ((row.t - before[-1].t) / 1000)
        x = abs(row.v) if rule.absolute else row.v
        if rule.divisor is not None:
            by = self.newest(rule.divisor, row.t)
            return None if by is None or by == 0 else x / by
        return x

    def meets(self, level: str, x: float) -> bool:
        if level == "state":
            return x > 0.5
        if level == "rate":
            return x > (self.rule.rate_per_s or 0)
        limit = getattr(self.rule, level)
        return limit is not None and (x > limit if level.startswith("high") else x < limit)

    def free(self, t: int) -> int | None:
        """From when on nothing inhibits, at time t; None if something does. All times that matter are looked at."""
        if self.rule.inhibit is None:
            return -(10**15)
        formula = Expression.parse(self.rule.inhibit)
        since: int | None = None
        was: bool | None = None
        for at in sorted({row.t for row in self.rows if row.t <= t}):
            env = {name: self.newest(name, at) for name in formula.names}
            if any(v is None for v in env.values()):
                continue
            now = bool(formula.evaluate(env))
            if was is None and not now:
                since = -(10**15)
            elif was and not now:
                since = at + round(1000 * self.rule.inhibit_s)
            was = now
        if was is None or was or since is None or t < since:
            return None
        return since

    def _clear(self, row: Seen) -> None:
        x = self.compared(row)
        if self.level is None or x is None:
            return
        rule = self.rule
        if self.level == "state":
            over = x < 0.5
        elif self.level == "rate":
            over = x <= (rule.rate_per_s or 0) - rule.hysteresis
        elif self.level.startswith("high"):
            limit = rule.high if rule.high is not None else rule.high_high
            assert limit is not None
            over = x <= limit - rule.hysteresis
        else:
            limit = rule.low if rule.low is not None else rule.low_low
            assert limit is not None
            over = x >= limit + rule.hysteresis
        if over:
            self.happened.append(("cleared", self.level, row.t, row.t))
            self.level = None

    def _raise(self, now: int) -> None:
        own = [row for row in self.rows if row.tag == self.rule.tag and self.compared(row) is not None]
        free = self.free(now)
        if not own or free is None:
            return
        best: tuple[int, str, int] | None = None
        kind = self.rule.kind
        for level in [kind] if kind in RANK else ["high", "low", "high_high", "low_low"]:
            if self.level is not None:
                same_side = level[:3] == self.level[:3]
                if RANK[level] <= RANK[self.level] or not same_side:
                    continue
            held: list[Seen] = []
            for row in reversed(own):
                x = self.compared(row)
                assert x is not None
                if not self.meets(level, x):
                    break
                held.append(row)
            if not held:
                continue
            during = [row for row in held if self._free_at(row.t)]
            trigger = during[-1] if during and len(during) == len(held) else None
            if trigger is None:  # some of it was inhibited: the last inhibited row is where it begins again
                inhibited = [row for row in held if not self._free_at(row.t)]
                trigger = inhibited[0]
            begins = max(trigger.t, free)
            if now - begins >= round(1000 * self.rule.delay_s) and (best is None or RANK[level] > RANK[best[1]]):
                best = (trigger.t, level, now)
        if best is not None:
            self.happened.append(("raised" if self.level is None else "escalated", best[1], best[0], best[2]))
            self.level = best[1]

    def _free_at(self, t: int) -> bool:
        return self.free(t) is not None
