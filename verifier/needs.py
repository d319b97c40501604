"""What a statement needs: where a need fails, what rests on it is not checked, so one fault shows as one failure."""

from collections.abc import Mapping
from dataclasses import replace

from verifier.findings import Outcome
from verifier.states import State

Needs = Mapping[str, tuple[str, ...]]

# A question for a person (review) leaves open what rests on it: that is judged for itself.
BLOCKS = (State.FAIL, State.ERROR, State.NOT_CHECKED)


class NeedsError(ValueError):
    """Needs that go round in a circle or name a statement that is not judged."""


def order(needs: Needs) -> tuple[str, ...]:
    """Statements so that each comes after what it needs. Raises NeedsError."""
    done: list[str] = []
    left = dict(needs)
    while left:
        ready = [s for s, wanted in left.items() if all(w in done for w in wanted)]
        if not ready:
            raise NeedsError(f"needs go round in a circle or name nothing that is judged: {sorted(left)}")
        done += ready
        for statement in ready:
            del left[statement]
    return tuple(done)


def apply(outcomes: Mapping[str, Outcome], needs: Needs) -> dict[str, tuple[Outcome, str | None]]:
    """(outcome, blocked_by) by statement for one machine. A blocked statement names the first cause, and keeps no figures
    that could be taken for a measurement; an error stays an error, and what is not applicable stays so."""
    out: dict[str, tuple[Outcome, str | None]] = {}
    for statement in order(needs):
        outcome = outcomes[statement]
        cause = next((w for w in needs[statement] if out[w][0].state in BLOCKS), None)
        if cause is None or outcome.state in (State.ERROR, State.NOT_APPLICABLE):
            out[statement] = (outcome, None)
            continue
        blocked = replace(outcome, state=State.NOT_CHECKED, reason="blocked", figures=(), details="")
        out[statement] = (blocked, out[cause][1] or cause)
    return out
