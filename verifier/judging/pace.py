"""How often a tag is renewed: by the plant's signed list, which a pass is measured by, and at its slowest honest pace, which
a failure is measured by.

An edge may scan slower than the list says, or send a frame a minute: what lies between the two is a question for a person,
never a failure. The slower pace comes from the cloud's declaration and from the frames that the verifier heard itself.
"""

from collections.abc import Mapping

from verifier.judging.case import MachineCase, TagCase
from verifier.judging.reads import moved
from verifier.rules.types import Threshold

Thresholds = Mapping[str, Threshold]


def pace_ms(case: MachineCase, tag: TagCase, limits: Thresholds) -> float:
    """The slowest pace at which a tag may honestly be renewed, in ms."""
    slower = max(tag.cloud_period_ms, case.frame_ms)
    return max(tag.period_ms, min(slower, limits["slowest_s"].value * 1000))


def shown_by_end(case: MachineCase, period_ms: float, limits: Thresholds) -> float:
    """The moment whose values must have been shown when the watch ended."""
    return case.ended_ms - period_ms - limits["path_margin_s"].value * 1000


def fastest_pace_ms(case: MachineCase, limits: Thresholds) -> float:
    """That of the machine's fastest tag."""
    return min(pace_ms(case, tag, limits) for tag in case.tags.values())


def fresh_s(period_ms: float, limits: Thresholds) -> float:
    """How old a fresh value may be: its periods, at least the minimum, and the way to the viewer."""
    periods = limits["fresh_periods"].value * period_ms / 1000
    return max(periods, limits["fresh_min_s"].value) + limits["path_margin_s"].value


def quiet(case: MachineCase, limits: Thresholds, *, since: float, until: float, renewals: float) -> str:
    """Why nothing may have come in a span of the verifier's clock: "" if something should have, `renewals` times."""
    due_ms = until - since - limits["path_margin_s"].value * 1000
    slow = [renewals * pace_ms(case, tag, limits) > due_ms for tag in case.tags.values()]
    if all(slow):
        return "period_longer_than_watch"
    still = [_still(tag, since, until) for tag in case.tags.values()]
    return "nothing_changed" if all(a or b for a, b in zip(slow, still, strict=True)) else ""


def _still(tag: TagCase, since: float, until: float) -> bool:
    """Whether a tag may stay silent while its value does not change, and it did not."""
    deadband = max(tag.deadband, tag.cloud_deadband)
    return (tag.source_time or deadband > 0) and not moved(tag, since=since, until=until, deadband=deadband)
