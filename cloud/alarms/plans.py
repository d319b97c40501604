"""Rules made ready for evaluation: their levels as tests, their delays in ms, their expressions parsed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cloud.alarms.rules import Rule
from telemetry.expression import Expression


@dataclass(frozen=True, slots=True)
class Test:
    """A level: true of x > limit (side 1) or x < limit (side -1); the alarm ends when x is back at `clear`."""

    level: str
    side: int
    limit: float
    clear: float

    def holds(self, x: float) -> bool:
        """Whether x is beyond the limit."""
        return x > self.limit if self.side > 0 else x < self.limit

    def ends(self, x: float) -> bool:
        """Whether x is back inside."""
        return x <= self.clear if self.side > 0 else x >= self.clear


@dataclass(frozen=True, slots=True)
class Compiled:
    """A rule made ready. `simple`: the tag's own value is what the limits are held against (or its magnitude)."""

    rule: Rule
    tests: tuple[Test, ...]
    inhibit: Expression | None
    delay_ms: int
    inhibit_ms: int
    simple: bool

    @property
    def needs(self) -> set[str]:
        """Tags whose newest values evaluation must remember."""
        rule = self.rule
        return (
            {rule.tag} | ({rule.divisor} if rule.divisor else set()) | set(self.inhibit.names if self.inhibit else ())
        )

    def test(self, level: str) -> Test | None:
        """A level's test."""
        return next((test for test in self.tests if test.level == level), None)


@dataclass(frozen=True, slots=True)
class Plan:
    """A machine's rules, ready. `stale`: those that need no rows."""

    rules: Mapping[str, Compiled] = field(default_factory=dict[str, Compiled])
    stale: tuple[Rule, ...] = ()
    inhibits: Mapping[str, Expression] = field(default_factory=dict[str, Expression])
    needed: frozenset[str] = frozenset()


def plan(rules: Iterable[Rule], tags: frozenset[str]) -> Plan:
    """The rules in use that a machine of these tags can be held to."""
    ready: dict[str, Compiled] = {}
    stale: list[Rule] = []
    for rule in rules:
        if not rule.in_use:
            continue
        if rule.kind == "stale":
            stale.append(rule)
        elif rule.tag in tags and (rule.divisor is None or rule.divisor in tags):
            ready[rule.id] = compile_rule(rule, tags)
    inhibits = {str(one.inhibit): one.inhibit for one in ready.values() if one.inhibit is not None}
    needed: set[str] = set()
    for one in ready.values():
        needed |= one.needs
    return Plan(ready, tuple(stale), inhibits, frozenset(needed))


def compile_rule(rule: Rule, tags: frozenset[str]) -> Compiled:
    """A rule made ready. An inhibiting expression of a tag that the machine does not have says nothing: it is left out."""
    inhibit = None if rule.inhibit is None else Expression.parse(rule.inhibit)
    if inhibit is not None and not inhibit.names <= tags:
        inhibit = None
    return Compiled(
        rule,
        tuple(_tests(rule)),
        inhibit,
        round(rule.delay_s * 1000),
        round(rule.inhibit_s * 1000),
        rule.kind == "limit" and rule.divisor is None,
    )


def _tests(rule: Rule) -> Iterable[Test]:
    if rule.kind == "state":
        yield Test("state", 1, 0.5, 0.5)
    elif rule.kind == "rate" and rule.rate_per_s is not None:
        yield Test("rate", 1, rule.rate_per_s, rule.rate_per_s - rule.hysteresis)
    else:
        for level, side in (("high_high", 1), ("high", 1), ("low_low", -1), ("low", -1)):
            limit: float | None = getattr(rule, level)
            if limit is not None:
                yield Test(level, side, limit, limit - side * rule.hysteresis)
