"""Run state and running parameters of one machine: what the cloud shows is what the machine says (rt.2, rt.3)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from telemetry.samples import Quality, Reason
from verifier.findings import Figure, Outcome, figure
from verifier.judging.case import MachineCase, Row, TagCase, stamped_ahead
from verifier.judging.pace import fresh_s, pace_ms, shown_by_end
from verifier.judging.paths import TagComparison, compare_tag
from verifier.judging.reads import moved, settled_equal
from verifier.rules.types import Threshold
from verifier.states import State

Thresholds = Mapping[str, Threshold]

# Bad for reasons that lie in the value itself: the edge flags honestly what the machine serves.
FLAGGED = frozenset({Reason.OUT_OF_RANGE, Reason.NOT_A_NUMBER, Reason.NOT_AVAILABLE, Reason.CLOCK})
MAX_NAMED = 12


@dataclass(frozen=True, slots=True)
class Compared:
    """All tags of a machine, compared. `future` are (tag, time) of samples stamped later than they were received, `ahead`
    tags of samples that seem to be, by a clock that could not be measured."""

    by_tag: Mapping[str, TagComparison]
    missing: tuple[str, ...]
    not_shown: tuple[str, ...]
    flagged: tuple[str, ...]
    future: tuple[tuple[str, int], ...]
    ahead: tuple[str, ...]


def compare_all(case: MachineCase, limits: Thresholds) -> Compared:
    """Every declared tag of a machine against the verifier's own reads."""
    slack = limits["edge_read_s"].value * 1000

    def timing(tag: TagCase, row: Row) -> tuple[float, float]:
        offset = case.offset_of(tag, row)
        return case.mine(tag, row), offset.uncertainty + (0.0 if tag.source_time else slack)

    served = {t.id: t for t in case.tags.values() if t.reads and len(t.valued) == len(t.reads)}
    shown = {t.id: _shown(t) for t in served.values() if t.in_cloud}
    return Compared(
        by_tag={
            t.id: compare_tag(
                t,
                timing,
                limits,
                fresh_ms=1000 * fresh_s(pace_ms(case, t, limits), limits),
                due_ms=pace_ms(case, t, limits) + limits["path_margin_s"].value * 1000,
            )
            for t in case.tags.values()
        },
        missing=tuple(t.id for t in served.values() if not t.in_cloud),
        not_shown=tuple(tag for tag, how in shown.items() if how == "no"),
        flagged=tuple(tag for tag, how in shown.items() if how == "flagged"),
        future=tuple(dict.fromkeys((t.id, row.t) for t in case.tags.values() for row in t.future)),
        ahead=tuple(t.id for t in case.tags.values() if _ahead(case, t, limits)),
    )


def _ahead(case: MachineCase, tag: TagCase, limits: Thresholds) -> bool:
    # A clock that could not be measured may be as far off as an offset is a mere note.
    margin = limits["clock_offset_s"].value * 1000
    return any(row.usable and stamped_ahead(case, tag, row, margin) for row in tag.rows)


def _shown(tag: TagCase) -> str:
    """Whether the cloud shows a tag that the machine serves: yes, flagged, no."""
    rows = [*tag.rows, *tag.future]
    if any(r.usable for r in rows):
        return "yes"
    if rows and all(r.q & 0xFF in FLAGGED for r in rows if r.q & (Quality.BAD | Quality.NO_VALUE)):
        return "flagged"
    return "no"


def names(tags: Sequence[str]) -> str:
    """The first of some tags, and how many more there are."""
    return ", ".join(tags[:MAX_NAMED]) + (f" … (+{len(tags) - MAX_NAMED})" if len(tags) > MAX_NAMED else "")


def judge_state(case: MachineCase, compared: Compared, *, limits: Thresholds, evidence: tuple[str, ...]) -> Outcome:
    """rt.2: the state tag is fresh, equals the device-side read, and its value has a name."""
    run_state = case.declared.get("run_state")
    tag = case.tags.get(run_state["tag"]) if run_state else None
    if run_state is None or tag is None:
        return Outcome(State.NOT_CHECKED, "state_not_declared", evidence=evidence)
    if tag.id in compared.missing or tag.id in compared.not_shown:
        return Outcome(State.FAIL, "state_not_shown", evidence=evidence, details=tag.id)
    newest = case.newest(tag)
    if newest is None or not tag.valued:
        return Outcome(State.NOT_CHECKED, "state_not_read", evidence=evidence, details=tag.id)
    found = compared.by_tag[tag.id]
    age = (case.ended_ms - case.mine(tag, newest)) / 1000
    allowed, slowest = fresh_s(tag.period_ms, limits), fresh_s(pace_ms(case, tag, limits), limits)
    name = run_state["states"].get(str(int(newest.v))) if isinstance(newest.v, int | float) else None
    figures = (
        figure("state", f"{newest.v} {name[0]} {name[1]} ({name[2]})" if name else str(newest.v)),
        _age("state_age_s", age, allowed, limits),
        figure("contradictions", found.run, limits["contradictions"]),
        figure("compared", len(found.compared), unit="samples"),
    )

    def outcome(state: State, reason: str = "") -> Outcome:
        return Outcome(state, reason, figures, evidence, tag.id if reason else "")

    since = shown_by_end(case, pace_ms(case, tag, limits), limits)
    equal = settled_equal(tag, newest, since=since, until=case.ended_ms) if newest.usable else False
    if found.persists(limits):
        return outcome(State.FAIL, "state_differs")
    if found.doubtful:
        return outcome(State.REVIEW, "state_differs_once")
    if age > allowed:
        if not equal and age > slowest:
            return outcome(State.FAIL, "state_stale")
        if not equal or not tag.by_exception:
            return outcome(State.REVIEW, "state_not_refreshed")
    if not found.compared and not equal:
        return outcome(State.NOT_CHECKED, "state_not_compared")
    return outcome(State.PASS) if name else outcome(State.REVIEW, "state_unknown")


def _age(name: str, age: float, allowed: float, limits: Thresholds) -> Figure:
    base = figure(name, age, limits["fresh_periods"], unit="s")
    return base.model_copy(update={"threshold": allowed})


def judge_values(case: MachineCase, compared: Compared, *, limits: Thresholds, evidence: tuple[str, ...]) -> Outcome:
    """rt.3: every declared tag, in the same seconds."""
    failing = tuple(t for t, c in compared.by_tag.items() if c.persists(limits))
    doubtful = tuple(t for t, c in compared.by_tag.items() if c.doubtful)
    hidden = tuple(t.id for t in case.tags.values() if _hides(t))
    left = tuple(t.id for t in case.tags.values() if not compared.by_tag[t.id].compared)
    analogue = [t.id for t in case.tags.values() if _is_analogue(t)]
    done = [t for t in analogue if compared.by_tag[t].compared]
    share = len(done) / len(analogue) if analogue else 0.0
    figures = (
        figure("declared", len(case.tags), unit="tags"),
        figure("compared", sum(bool(c.compared) for c in compared.by_tag.values()), unit="tags"),
        figure("samples_compared", sum(len(c.compared) for c in compared.by_tag.values()), unit="samples"),
        figure("analogue_compared", len(done), limits["least_analogue"]),
        figure("analogue_share_compared", share, limits["compared_share"]),
        figure("contradictions", _most(c.run for c in compared.by_tag.values()), limits["contradictions"]),
        figure("contradictions_in_all", _most(c.moments for c in compared.by_tag.values()), unit="moments"),
        figure("stamped_in_future", len(compared.future), limits["future_rows"]),
        *([figure("not_compared", ", ".join(left))] if left else []),
        *_worst(compared),
    )

    def outcome(state: State, reason: str = "", tags: tuple[str, ...] = ()) -> Outcome:
        return Outcome(state, reason, figures, evidence, names(tags))

    if failing:
        return outcome(State.FAIL, "values_differ", failing)
    future = tuple(dict.fromkeys([*(tag for tag, _ in compared.future), *compared.ahead]))
    if len(compared.future) >= limits["future_rows"].value:
        return outcome(State.FAIL, "stamped_in_future", future)
    if compared.missing:
        return outcome(State.FAIL, "tags_missing", compared.missing)
    if compared.not_shown:
        return outcome(State.FAIL, "tags_not_shown", compared.not_shown)
    if doubtful:
        return outcome(State.REVIEW, "values_differ_once", doubtful)
    if future:
        return outcome(State.REVIEW, "stamped_in_future", future)
    if compared.flagged:
        return outcome(State.REVIEW, "tags_flagged", compared.flagged)
    if hidden:
        return outcome(State.REVIEW, "deadband_wide", hidden)
    if len(done) < limits["least_analogue"].value:
        return outcome(State.NOT_CHECKED, "nothing_compared")
    if share < limits["compared_share"].value:
        return outcome(State.REVIEW, "few_compared", left)
    return outcome(State.PASS)


def _most(counts: Iterable[int]) -> int:
    return max(counts, default=0)


def _is_analogue(tag: TagCase) -> bool:
    return tag.kind in ("analogue", "derived") or (
        tag.kind is None and any(isinstance(r.value, float) for r in tag.valued)
    )


def _hides(tag: TagCase) -> bool:
    """Whether the cloud declares a deadband beyond what is allowed for in comparing."""
    return tag.cloud_deadband > tag.deadband * (1 + 1e-9)


def _worst(compared: Compared) -> tuple[Figure, ...]:
    """The sample furthest outside its tolerance, with what it was compared with."""
    found = [(tag, c.worst) for tag, c in compared.by_tag.items() if c.contradictions]
    if not found:
        return ()
    tag, worst = max(found, key=lambda x: 0.0 if x[1] is None else x[1].excess / (x[1].tolerance or 1e-12))
    if worst is None:
        return ()
    beside = f"{worst.low} … {worst.high}" if worst.low is not None else "none of the reads"
    return (
        figure("worst_tag", tag),
        figure("worst_shown", f"{worst.row.v} (read: {beside})"),
        Figure(name="worst_outside", value=float(f"{worst.excess:.6g}"), op="<=", threshold=worst.tolerance),
    )


def stale_tags(case: MachineCase, limits: Thresholds) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(stale, not refreshed): tags whose newest value is old, shown as good, and no longer what the machine says; and
    those where it still is, though the tag is acquired at a fixed period."""
    stale: list[str] = []
    tired: list[str] = []
    for tag in case.tags.values():
        newest = case.newest(tag)
        if newest is None or not newest.good or not tag.valued:
            continue
        age = (case.ended_ms - case.mine(tag, newest)) / 1000
        if age <= fresh_s(tag.period_ms, limits):
            continue
        pace = pace_ms(case, tag, limits)
        declared = max(tag.deadband, tag.cloud_deadband)
        # Within the deadband that the cloud declares a value is held too long, perhaps, but it is not false.
        if age > fresh_s(pace, limits) and _outlived(case, tag, newest, pace, declared, limits):
            stale.append(tag.id)
        elif not tag.by_exception or _outlived(case, tag, newest, tag.period_ms, tag.deadband, limits):
            tired.append(tag.id)
    return tuple(stale), tuple(tired)


def _outlived(
    case: MachineCase, tag: TagCase, newest: Row, period_ms: float, deadband: float, limits: Thresholds
) -> bool:
    """Whether the machine no longer says what is shown, or has said something else since, early enough to be shown."""
    due = shown_by_end(case, period_ms, limits)
    if settled_equal(tag, newest, since=due, until=case.ended_ms, deadband=deadband) is False:
        return True
    return moved(tag, since=case.mine(tag, newest) + tag.period_ms, until=due, deadband=deadband)
