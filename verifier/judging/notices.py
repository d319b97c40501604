"""Reminders (al.3): what the verifier's own receiver heard of each alarm, and when, on one clock.

A channel's own receipt is never a pass. Times are compared only after each clock was measured against the verifier's; what
differs by less than the clocks' uncertainty differs by nothing.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verifier.clocks import Offset
from verifier.findings import Figure, Outcome, figure
from verifier.judging.alarms import AlarmCase, Provoked
from verifier.judging.case import MAX_TIME, UNKNOWN_CLOCK, dicts, mapping
from verifier.judging.feed import percentile
from verifier.judging.rules_eval import is_number
from verifier.judging.values import names
from verifier.rules.types import Threshold
from verifier.states import State

Thresholds = Mapping[str, Threshold]


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice as it was heard, its times on the verifier's clock (ms)."""

    alarm: str
    rule: str
    what: str
    tag: str
    value: Any
    t_sample: int
    sample: float
    detect: float
    send: float
    receipt: float


def read_notices(heard: Mapping[str, Any] | None, case: AlarmCase) -> tuple[list[Notice], int]:
    """(the notices about a machine, how many of them cannot be read)."""
    out: list[Notice] = []
    bad = 0
    cloud = case.cloud_offset or UNKNOWN_CLOCK
    for one in dicts((heard or {}).get("notices")):
        said = mapping(one.get("said"))
        if said.get("device") != case.uid or said.get("what") == "test":
            continue
        times = [said.get(k) for k in ("t_sample", "t_detect", "t_send")]
        if not all(type(t) is int and 0 <= t < MAX_TIME for t in times):
            bad += 1
            continue
        t_sample, detect, send = (int(t or 0) for t in times)
        out.append(
            Notice(
                str(said.get("alarm")),
                str(said.get("rule")),
                str(said.get("what")),
                str(said.get("tag")),
                said.get("value"),
                t_sample,
                case.mine(t_sample),
                detect - cloud.ms,
                send - cloud.ms,
                float(one["at"]),
            )
        )
    return out, bad


def judge_reminder(
    case: AlarmCase,
    heard: Mapping[str, Any] | None,
    found: Sequence[Provoked],
    *,
    limits: Thresholds,
    evidence: tuple[str, ...],
) -> Outcome:
    """al.3: every alarm that was raised was told to the verifier's receiver, in time, after its sample, with a value that
    the machine had."""
    fault = receiver_fault(heard)
    if fault is not None:
        return Outcome(*fault[:2], evidence=evidence, details=fault[2])
    alarms = [p.alarm for p in found if p.alarm is not None]
    notices, bad = read_notices(heard, case)
    rules = {str(p.raw.get("id")) for p in found}
    notices = [n for n in notices if n.rule in rules]
    told = {n.alarm: n for n in reversed(notices) if n.what == "raised"}
    missing = [str(a.get("id")) for a in alarms if str(a.get("id")) not in told]
    known = {str(a.get("id")) for p in found for a in p.alarms}
    lags = [(n.receipt - n.sample) / 1000 for a, n in told.items() if a in known]
    own_part = [(n.receipt - n.detect) / 1000 for a, n in told.items() if a in known]
    limit = limits["notice_lag_s"]
    figures: list[Figure] = [
        figure("alarms_raised", len(alarms), unit="alarms"),
        figure("notices_heard", len(notices), unit="notices"),
    ]
    if lags:
        figures.append(figure("notice_lag_p95_s", percentile(lags, 0.95), limit))
        figures.append(figure("notice_lag_after_detection_p95_s", percentile(own_part, 0.95), unit="s"))
        figures += _hops(told, known)
    figures += _offsets(case)

    def outcome(state: State, reason: str = "", details: str = "") -> Outcome:
        return Outcome(state, reason, tuple(figures), evidence, details)

    if not alarms:
        return outcome(State.NOT_CHECKED, "no_alarm_to_tell")
    if missing:
        return outcome(State.FAIL, "notice_missing", names(missing))
    if bad:
        return outcome(State.FAIL, "notice_unreadable", str(bad))
    strange = [n.alarm for n in notices if n.what == "raised" and n.alarm not in known]
    if strange:
        return outcome(State.FAIL, "notice_of_no_alarm", names(strange))
    invented = [f"{n.tag} = {n.value}" for n in notices if n.what == "raised" and not occurred(case, n, found)]
    if invented:
        return outcome(State.FAIL, "notice_of_no_sample", names(invented))
    if (wrong := _disorder(case, notices)) is not None:
        reason, details = wrong
        measured = case.device_offset is not None and case.cloud_offset is not None
        return outcome(State.FAIL if measured else State.REVIEW, reason, details)
    if lags and percentile(lags, 0.95) > limit.value:
        # An edge that sends a frame a minute is slow, not the reminder.
        within = percentile(lags, 0.95) - case.frame_ms / 1000 <= limit.value
        return outcome(State.REVIEW if within else State.FAIL, "notice_late_by_frames" if within else "notice_late")
    return outcome(State.PASS)


def receiver_fault(heard: Mapping[str, Any] | None) -> tuple[State, str, str] | None:
    """Why nothing can be said by what the verifier's receiver heard."""
    if heard is None:
        return State.NOT_CHECKED, "no_receiver", ""
    if heard.get("self_test"):
        return State.NOT_CHECKED, "receiver_not_reachable", str(heard["self_test"])
    channel = mapping(mapping(heard.get("channel")).get("created"))
    if channel.get("status") in (200, 201):
        return None
    code = mapping(mapping(channel.get("body")).get("error")).get("code")
    if channel.get("status") in (0, None, 401, 403):
        return State.NOT_CHECKED, "channel_not_made", str(code or channel.get("status"))
    return State.FAIL, "channel_refused", str(code or channel.get("status"))


def occurred(case: AlarmCase, notice: Notice, found: Sequence[Provoked]) -> bool:
    """Whether the machine had the value that a notice tells: a row of its tag at the alarm's trigger."""
    rows = case.rows.get(notice.tag, ())
    alarm = next((a for p in found for a in p.alarms if str(a.get("id")) == notice.alarm), {})
    at = mapping(mapping(alarm).get("trigger")).get("t")
    if not is_number(notice.value) or type(at) is not int:
        return False
    start = bisect_left(rows, at, key=lambda p: p[0])
    value = any(t == at and v == notice.value for t, v, _ in rows[start : start + 8])
    if not case.signed:
        return value
    place = bisect_left(case.times, notice.t_sample)
    return value and place < len(case.times) and case.times[place] == notice.t_sample


def _disorder(case: AlarmCase, notices: Sequence[Notice]) -> tuple[str, str] | None:
    """(reason, which) where times go backwards beyond the uncertainty of the clocks."""
    device, cloud = case.device_clock.uncertainty, (case.cloud_offset or UNKNOWN_CLOCK).uncertainty
    for n in notices:
        if n.what != "raised":
            continue
        if n.sample > n.receipt + device or n.sample > n.detect + device + cloud:
            return "notice_before_sample", n.alarm
        if n.detect > n.send + 1 or n.send > n.receipt + cloud:
            return "notice_times_disorder", n.alarm
    return None


def _hops(told: Mapping[str, Notice], known: set[str]) -> list[Figure]:
    some = [n for a, n in told.items() if a in known]
    spans = {
        "sample_to_detect_s": [n.detect - n.sample for n in some],
        "detect_to_send_s": [n.send - n.detect for n in some],
        "send_to_receipt_s": [n.receipt - n.send for n in some],
    }
    return [figure(name, max(values) / 1000, unit="s") for name, values in spans.items()]


def _offsets(case: AlarmCase) -> list[Figure]:
    found: dict[str, Offset | None] = {"device": case.device_offset, "cloud": case.cloud_offset}
    return [figure(f"clock_{k}_s", o.ms / 1000, unit="s") for k, o in found.items() if o is not None]
