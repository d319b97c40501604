"""An enterprise's rules over time: which version of each was in force when."""

from bisect import bisect_right
from dataclasses import dataclass, field

from cloud.alarms.rules import Rule


@dataclass
class RuleBook:
    """An enterprise's rules by the times of their changes. `n`: the change counter they were read at."""

    n: int
    by_rule: dict[str, list[Rule]]
    changes: list[int] = field(default_factory=list[int])
    cached: tuple[int, list[Rule]] | None = None

    def __post_init__(self) -> None:
        self.changes = sorted({one.changed_ms for some in self.by_rule.values() for one in some})

    def epoch(self, arrival_ms: int) -> int:
        """How many changes are in force at a time."""
        return bisect_right(self.changes, arrival_ms)

    def in_force(self, epoch: int) -> list[Rule]:
        """The version of each rule after so many changes."""
        if self.cached is None or self.cached[0] != epoch:
            self.cached = (epoch, self._in_force(epoch))
        return self.cached[1]

    def _in_force(self, epoch: int) -> list[Rule]:
        if epoch == 0:
            return []
        at = self.changes[epoch - 1]
        found = (bisect_right([one.changed_ms for one in some], at) for some in self.by_rule.values())
        return [some[k - 1] for some, k in zip(self.by_rule.values(), found, strict=True) if k > 0]
