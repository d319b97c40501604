"""Rules and what they raised (al.1, al.2): every alarm is recomputed from the raw rows, as the edge signed them.

A change must be in force from the next sample on. When exactly the cloud took it is known only to lie between question and
answer, and rows were under way, so the alarm may begin at any row that was not yet evaluated, but not later than at the
first row that was taken surely after the change.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from verifier.clocks import Offset
from verifier.findings import Figure, Outcome, figure
from verifier.judging.audit import Audit
from verifier.judging.case import UNKNOWN_CLOCK, dicts, mapping
from verifier.judging.rules_eval import Happening, Point, Rule, evaluate, read_rule
from verifier.judging.values import names
from verifier.rules.types import Threshold
from verifier.states import State

Thresholds = Mapping[str, Threshold]
UNDER_WAY_MS = 120_000
LIMITS = ("high", "high_high", "low", "low_low")
STORED = (*LIMITS, "tag", "kind", "delay_s", "hysteresis", "enabled")


@dataclass(frozen=True)
class AlarmCase:
    """The trial of one machine. `rows` by tag as they count, by time; `times` of all of them, ascending; `signed`: from the
    edge's signed frames, else from the cloud's history. `frame_ms`: the longest pause between two of the edge's frames."""

    uid: str
    declared: Mapping[str, Any]
    record: Mapping[str, Any]
    rows: Mapping[str, Sequence[Point]] = field(default_factory=dict[str, Sequence[Point]])
    times: Sequence[int] = ()
    signed: bool = False
    device_offset: Offset | None = None
    cloud_offset: Offset | None = None
    frame_ms: int = 0
    source_time: bool = False

    @property
    def own(self) -> Mapping[str, Any]:
        return mapping(self.record.get("own"))

    @property
    def plant(self) -> Mapping[str, Any]:
        return mapping(self.record.get("plant"))

    @property
    def device_clock(self) -> Offset:
        """The clock that stamps the samples, against the verifier's."""
        return self.device_offset or UNKNOWN_CLOCK

    def mine(self, t: float) -> float:
        """A sample's time on the verifier's clock."""
        return t - self.device_clock.ms


@dataclass(frozen=True)
class Provoked:
    """What became of one rule after its limit was moved. `alarms` that it raised since; `expected` what it should have
    raised at the latest, None where no row met the condition long enough; `due`: early enough to be seen; `times` at which
    it may have begun."""

    rule: Rule | None
    raw: Mapping[str, Any]
    alarms: tuple[Mapping[str, Any], ...]
    expected: Happening | None
    due: bool
    first_after: int | None
    raises: int
    raises_plain: int

    @property
    def alarm(self) -> Mapping[str, Any] | None:
        """The alarm, the earliest where there are several."""
        return min(self.alarms, key=lambda a: (_trigger(a) or (0, 0.0))[0], default=None)

    @property
    def late(self) -> bool:
        """Whether it began later than at the next sample."""
        if self.alarm is None or self.expected is None:
            return False
        begun = _trigger(self.alarm)
        return begun is not None and begun[0] > self.expected.trigger[0]


def rule_in(answer: Any) -> Mapping[str, Any]:
    """The rule in an answer of /rules/{id} and the like; empty where there is none."""
    said = mapping(answer)
    return mapping(mapping(said.get("body")).get("rule")) if said.get("status") in (200, 201) else {}


def alarms_in(answer: Any, uid: str) -> list[dict[str, Any]]:
    """The alarms of a machine in an answer of /alarms."""
    found = dicts(mapping(mapping(answer).get("body")).get("alarms"))
    return [a for a in found if a.get("device") == uid and type(a.get("rule_version")) is int]


def _trigger(alarm: Mapping[str, Any]) -> tuple[int, float] | None:
    said = mapping(alarm.get("trigger"))
    t, v = said.get("t"), said.get("v")
    return (t, float(v)) if type(t) is int and isinstance(v, int | float) else None


def provoked(case: AlarmCase, kept: Mapping[str, Any], limits: Thresholds) -> Provoked | None:
    """What the change of a rule brought about; None where it was not changed."""
    raw, change = rule_in(kept.get("changed")), mapping(kept.get("changed"))
    rule = read_rule(raw)
    if rule is None or not raw:
        return None
    version = raw.get("version")
    alarms = [a for a in alarms_in(kept.get("alarms"), case.uid) if a["rule_version"] == version]
    rows, clock = case.rows.get(rule.tag, ()), case.device_clock
    surely = change["after"] + clock.ms + clock.uncertainty
    at = bisect_right(rows, surely, key=lambda p: p[0])
    first_after = rows[at][0] if at < len(rows) else None
    until = mapping(kept.get("restored") or kept.get("retired")).get("before") or kept.get("looked") or 0
    until = until + clock.ms + clock.uncertainty
    rows = rows[: bisect_right(rows, until, key=lambda p: p[0])]
    times = case.times[: bisect_right(case.times, until)]
    happened = evaluate(rule, rows, times, since=first_after) if first_after is not None else []
    expected = next((h for h in happened if h.what == "raised"), None)
    due = False
    if expected is not None:
        path = limits["path_margin_s"].value * 1000 + case.frame_ms + clock.uncertainty
        due = case.mine(expected.t_sample) + path <= (kept.get("looked") or 0)
    # An alarm of a version in between may have come at the last moment: while it is open, no other one can be.
    tried = rule_in(kept.get("tried")).get("version")
    due = due and not any(a["rule_version"] == tried for a in alarms_in(kept.get("alarms"), case.uid))
    begun = [t for a in alarms if (t := _trigger(a)) is not None]
    since = min((t for t, _ in begun), default=first_after)
    whole = evaluate(rule, rows, times, since=since) if since is not None else []
    plain = evaluate(rule, rows, times, since=since, hysteresis=False) if since is not None else []
    return Provoked(
        rule,
        raw,
        tuple(alarms),
        expected,
        due,
        first_after,
        sum(h.what == "raised" for h in whole),
        sum(h.what == "raised" for h in plain),
    )


def wrong_alarm(case: AlarmCase, found: Provoked, change: Mapping[str, Any]) -> str:
    """What is wrong with where an alarm began, "" where nothing is: its trigger must be a row of the tag, not from before
    anything was changed, beyond the limit, and so must every row up to its completion."""
    assert found.rule is not None
    rows, rule = case.rows.get(found.rule.tag, ()), found.rule
    for alarm in found.alarms:
        begun = _trigger(alarm)
        if begun is None:
            return "no trigger"
        at = bisect_left(rows, begun[0], key=lambda p: p[0])
        if not any(t == begun[0] and v == begun[1] for t, v, _ in rows[at : at + 8]):
            return f"{begun[1]:g} @ {begun[0]}: no such sample"
        if begun[0] < change["before"] + case.device_clock.ms - UNDER_WAY_MS:
            return f"{begun[0]}: before the change"
        again = evaluate(rule, rows[at:], case.times, since=begun[0])
        first = next((h for h in again if h.what == "raised"), None)
        if first is None or first.trigger[0] != begun[0]:
            return f"{begun[1]:g} @ {begun[0]}: the condition did not hold"
        # Rows of other tags may come a frame later than their time says, so the row that completes it may be a later one.
        done = alarm.get("t_sample")
        if case.signed and (type(done) is not int or done < first.t_sample or done not in case.times):
            return f"completed at {done}, not before {first.t_sample}"
    return ""


# ---------------------------------------------------------------- al.1


def judge_config(
    case: AlarmCase, audit: Audit, channel: Mapping[str, Any], *, limits: Thresholds, evidence: tuple[str, ...]
) -> Outcome:
    """al.1: a rule can be made, changed and retired, each step is in the audit log, a change holds from the next sample."""
    own, plant = provoked(case, case.own, limits), provoked(case, case.plant, limits)
    steps = _steps(case, channel)
    missing = [name for name, object_, before, after in steps if not audit.step(object_, before=before, after=after)]
    figures: list[Figure] = [
        figure("steps_taken", len(steps), unit="steps"),
        figure("steps_not_audited", len(missing), limits["none_allowed"]),
        figure("audit_entries", len(audit.entries), unit="entries"),
    ]
    if own is not None and own.alarm is not None and own.first_after is not None:
        begun = _trigger(own.alarm)
        if begun is not None:
            figures.append(figure("raised_after_next_sample_s", (begun[0] - own.first_after) / 1000, unit="s"))

    def outcome(state: State, reason: str = "", details: str = "") -> Outcome:
        return Outcome(state, reason, tuple(figures), evidence, details)

    if (fault := _refused(case)) is not None:
        return outcome(*fault)
    if details := _not_stored(case):
        return outcome(State.FAIL, "rule_not_stored", details)
    if not rule_in(case.own.get("after")).get("retired_ms"):
        return outcome(State.FAIL, "rule_not_retired", str(case.own.get("id")))
    if details := _not_restored(case):
        answered = mapping(case.plant.get("after")).get("status") not in (0, None)
        return outcome(State.FAIL if answered else State.REVIEW, "not_restored", details)
    if audit.unread:
        return outcome(
            State.NOT_CHECKED if audit.unread in ("0", "401", "403") else State.FAIL, "audit_unreadable", audit.unread
        )
    if audit.broken:
        return outcome(State.FAIL, "audit_chain_broken", audit.broken)
    if missing:
        return outcome(State.FAIL, "audit_missing", names(missing))
    return outcome(*_effect(own, plant))


def _effect(own: Provoked | None, plant: Provoked | None) -> tuple[State, str, str]:
    """Whether the changes were in force from the next sample on."""
    both = [p for p in (own, plant) if p is not None]
    late = [p for p in both if p.late]
    if late:
        return State.FAIL, "change_not_effective", str(late[0].raw.get("id"))
    if own is None:
        return State.NOT_CHECKED, "no_tag_fits", ""
    if own.alarm is None and own.due:
        raised_elsewhere = plant is not None and plant.alarm is not None
        state, reason = (
            (State.FAIL, "change_not_effective") if raised_elsewhere else (State.NOT_CHECKED, "effect_not_seen")
        )
        return state, reason, str(own.raw.get("id"))
    if own.alarm is None:
        return State.NOT_CHECKED, "condition_not_met", ""
    return State.PASS, "", ""


def _refused(case: AlarmCase) -> tuple[State, str, str] | None:
    rules = mapping(case.record.get("rules"))
    if rules.get("status") != 200:
        return _by_status(rules, "rules_refused")
    if mapping(case.record.get("drawn")).get("own") is None:
        return State.NOT_CHECKED, "no_tag_fits", ""
    for name in ("created", "changed", "retired"):
        answer = mapping(case.own.get(name))
        if answer.get("status") not in (200, 201):
            return _by_status(answer, "rule_refused", name)
    answer = mapping(case.plant.get("changed"))
    if case.plant and "changed" in case.plant and answer.get("status") != 200:
        return _by_status(answer, "rule_refused", "plant")
    return None


def _by_status(answer: Mapping[str, Any], reason: str, what: str = "") -> tuple[State, str, str]:
    status = answer.get("status", 0)
    code = mapping(mapping(answer.get("body")).get("error")).get("code")
    if status == 0:
        return State.NOT_CHECKED, "cloud_unreachable", what
    state = State.NOT_CHECKED if status in (401, 403, 429) else State.FAIL
    return state, reason, f"{what} {status} {code or ''}".strip()


def _not_stored(case: AlarmCase) -> str:
    """What of the verifier's own rule is not kept as it was asked for."""
    asked = case.own.get("asked") or []
    for wanted, name in zip(asked, ("created", "stored"), strict=False):
        kept = rule_in(case.own.get(name))
        wrong = [k for k in STORED if k in wanted and kept.get(k) != wanted[k]]
        if wrong:
            return f"{name}: {wrong[0]} {kept.get(wrong[0])} ≠ {wanted[wrong[0]]}"
    moved, level = rule_in(case.plant.get("changed")), case.plant.get("level")
    if moved and level and moved.get(level) != mapping(case.plant.get("asked")).get(level):
        return f"{case.plant.get('id')}: {level}"
    return ""


def _not_restored(case: AlarmCase) -> str:
    """What of the plant's rule is not as it was before."""
    if "changed" not in case.plant:
        return ""
    before, after = rule_in(case.plant.get("before")), rule_in(case.plant.get("after"))
    changed = [k for k in before if k not in ("version", "changed_ms", "changed_by") and after.get(k) != before[k]]
    return (
        f"{case.plant.get('id')}: " + ", ".join(f"{k} {after.get(k)} ≠ {before[k]}" for k in changed) if changed else ""
    )


def _steps(
    case: AlarmCase, channel: Mapping[str, Any]
) -> list[tuple[str, str, dict[str, Any] | None, dict[str, Any] | None]]:
    """(name, object, before, after) of every change that the verifier made and the cloud accepted."""
    out: list[tuple[str, str, dict[str, Any] | None, dict[str, Any] | None]] = []
    own, plant = case.own, case.plant
    first, second = rule_in(own.get("created")), rule_in(own.get("changed"))
    if first:
        out.append(("rule.create", str(first.get("id")), None, _limits(first)))
    if first and second:
        tried = rule_in(own.get("tried"))
        if tried:
            out.append(("rule.change", str(first.get("id")), _limits(first), _limits(tried)))
        out.append(("rule.change", str(first.get("id")), _limits(tried or first), _limits(second)))
    retired = rule_in(own.get("retired"))
    if retired:
        name = str(retired.get("id"))
        out.append(("rule.retire", name, {"retired_ms": None}, {"retired_ms": retired.get("retired_ms")}))
    before, moved = rule_in(plant.get("before")), rule_in(plant.get("changed"))
    if before and moved:
        out.append(("limit moved", str(plant.get("id")), _limits(before), _limits(moved)))
    if before and moved and rule_in(plant.get("restored")):
        out.append(("limit restored", str(plant.get("id")), _limits(moved), _limits(before)))
    made = mapping(mapping(mapping(channel.get("created")).get("body")).get("channel"))
    if made:
        out.append(("channel.create", str(made.get("id")), None, {}))
    if made and mapping(channel.get("removed")).get("status") in (200, 204):
        out.append(("channel.remove", str(made.get("id")), {}, None))
    return out


def _limits(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {k: rule.get(k) for k in (*LIMITS, "delay_s", "hysteresis") if k in rule}


# ---------------------------------------------------------------- al.2


def judge_conditions(
    case: AlarmCase, *, limits: Thresholds, evidence: tuple[str, ...], should: Sequence[str] = ()
) -> Outcome:
    """al.2: a condition that is true raises, one that is false does not, chatter within the hysteresis raises once. `should`
    are ids of rules that a machine of this type must have in force."""
    own, plant = provoked(case, case.own, limits), provoked(case, case.plant, limits)
    both = [(kept, p) for kept, p in ((case.own, own), (case.plant, plant)) if p is not None]
    figures = _figures(case, own, plant, limits)

    def outcome(state: State, reason: str = "", details: str = "") -> Outcome:
        return Outcome(state, reason, figures, evidence, details)

    rules = {str(r.get("id")): r for r in dicts(mapping(mapping(case.record.get("rules")).get("body")).get("rules"))}
    if mapping(case.record.get("rules")).get("status") != 200:
        return outcome(*_by_status(mapping(case.record.get("rules")), "rules_refused"))
    off = [name for name in should if name in rules and not _in_force(rules[name])]
    if off:
        return outcome(State.FAIL, "rule_disabled", names(off))
    if both and not case.rows:
        return outcome(State.NOT_CHECKED, "rows_not_here")
    if own is not None and (details := _raised_though_false(case)):
        return outcome(State.FAIL, "raised_though_false", details)
    for kept, found in both:
        if details := wrong_alarm(case, found, mapping(kept.get("changed"))):
            return outcome(State.FAIL, "raised_wrongly", details)
        if len(found.alarms) > max(found.raises, 1):
            return outcome(State.FAIL, "raised_twice", f"{len(found.alarms)} > {found.raises}")
    silent = [p for _, p in both if p.alarm is None and p.due]
    raised = [p for _, p in both if p.alarm is not None]
    # Where one change was taken and the other was not, it is changing that is at fault (al.1).
    if silent and not (plant in raised and own in silent):
        return outcome(State.FAIL, "not_raised", str(silent[0].raw.get("id")))
    missing = [name for name in should if name not in rules]
    if plant is None:
        drawn = mapping(case.record.get("drawn")).get("plant")
        return outcome(State.NOT_CHECKED, "no_rule_fits" if drawn is None else "rule_not_moved")
    if plant.alarm is None:
        return outcome(State.NOT_CHECKED, "condition_not_met", str(plant.raw.get("id")))
    return outcome(State.REVIEW, "rules_missing", names(missing)) if missing else outcome(State.PASS)


def _in_force(rule: Mapping[str, Any]) -> bool:
    return rule.get("enabled") is True and rule.get("retired_ms") is None


def _raised_though_false(case: AlarmCase) -> str:
    """What the verifier's own rule raised before it was changed, though no row met its condition."""
    first, second = rule_in(case.own.get("created")), rule_in(case.own.get("changed"))
    rule = read_rule(first)
    alarms = [a for a in alarms_in(case.own.get("alarms"), case.uid) if a["rule_version"] == first.get("version")]
    early = [a for a in alarms_in(case.own.get("before_change"), case.uid) if a not in alarms]
    if rule is None or not (alarms or early) or first.get("version") == second.get("version"):
        return ""
    rows = case.rows.get(rule.tag, ())
    since = mapping(case.own.get("created")).get("before", 0) + case.device_clock.ms - UNDER_WAY_MS
    if any(h.what == "raised" for h in evaluate(rule, rows, case.times, since=round(since))):
        return ""
    begun = _trigger((alarms or early)[0])
    return f"{begun[1]:g} @ {begun[0]}" if begun else "no trigger"


def _figures(case: AlarmCase, own: Provoked | None, plant: Provoked | None, limits: Thresholds) -> tuple[Figure, ...]:
    out: list[Figure] = [figure("raw_rows_signed", "yes" if case.signed else "no")]
    change, made = mapping(case.own.get("changed")), mapping(case.own.get("created"))
    if change.get("before") and made.get("after"):
        out.append(figure("false_watched_s", (change["before"] - made["after"]) / 1000, limits["negative_watch_s"]))
    for name, found, kept in (("own", own, case.own), ("plant", plant, case.plant)):
        if found is None or found.rule is None:
            continue
        out.append(figure(f"{name}_rule", f"{found.raw.get('id')} {found.rule.tag}"))
        out.append(figure(f"{name}_raised", len(found.alarms), unit="alarms"))
        out.append(figure(f"{name}_raised_without_hysteresis", found.raises_plain, unit="alarms"))
        if kept.get("seen") and mapping(kept.get("changed")).get("before"):
            out.append(figure(f"{name}_seen_after_s", (kept["seen"] - kept["changed"]["before"]) / 1000, unit="s"))
    return tuple(out)
