"""History reaches back (tr.2): the oldest sample, how much of the time since is covered, and whether every hole is stated.

A hole is a stretch without a row of the machine. It is in order where something signed says so: a LOSS record, an OPEN item
(a process began, nothing was acquired since the item before), or rows without a value at its beginning (the machine did not
answer). What the cloud itself says of a hole counts for nothing.
"""

import bisect
import datetime as dt
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from telemetry.samples import SEVERITY_MASK, Quality
from telemetry.seal import ItemKind
from verifier.findings import Outcome, figure
from verifier.judging.case import MAX_TIME, dicts, mapping
from verifier.judging.features import mapping_of_buckets, read_points
from verifier.judging.history import reason_of
from verifier.judging.records import Kept, Record, Span
from verifier.rules.types import Threshold
from verifier.states import State

Thresholds = Mapping[str, Threshold]
NEAR_MS = 1_000
JOIN_MS = 5_000
STARTUP_MS = 60_000  # from a process's beginning to its first row
STORED_MS = 5_000  # rows of the last frame may be younger than the last row that is compared
SILENCE_MS = 30_000  # from the last good row to the one that says that there was no reply
MAX_ENTRIES = 5000
_CALENDAR_ENDS = 253_000_000_000_000  # about the year 9987


def coverage_of(answer: Any) -> Mapping[str, Any] | None:
    """The body of an answer of /coverage, None where there is none."""
    said = mapping(answer)
    body = mapping(said.get("body"))
    return body if said.get("status") == 200 and isinstance(body.get("tags"), dict) else None


def bounds_of(answer: Any) -> Span | None:
    """(oldest, newest) sample times of a machine as the cloud says."""
    body = coverage_of(answer)
    if body is None:
        return None
    spans = [s for s in mapping(body["tags"]).values() if isinstance(s, dict)]
    firsts = [s["first"] for s in spans if type(s.get("first")) is int and 0 < s["first"] < MAX_TIME]
    lasts = [s["last"] for s in spans if type(s.get("last")) is int and 0 < s["last"] < MAX_TIME]
    if not firsts or not lasts or min(firsts) > max(lasts):
        return None
    return min(firsts), max(lasts)


def oldest_of(answer: Any) -> int | None:
    """The time of the oldest sample: what the cloud calls so, else the least first time of the tags."""
    body = coverage_of(answer)
    found = bounds_of(answer)
    if body is None or found is None:
        return None
    said = body.get("oldest_ms")
    return said if type(said) is int and 0 < said < MAX_TIME else found[0]


def hole_ms(declared: Mapping[str, Any], limits: Thresholds) -> int:
    """From which length on a stretch without rows of a machine is a hole."""
    fastest = min(int(t["period_ms"]) for t in declared["tags"].values())
    return max(int(limits["hole_s"].value * 1000), 3 * fastest)


def holes_in(answers: Iterable[Any], least_ms: int, *, inner: bool = False) -> list[Span]:
    """Stretches of at least `least_ms` in which no series of an answer of /trend has a row: between raw rows exactly, else
    from bucket to bucket (`inner`: only such, still to be looked at closely)."""
    out: list[Span] = []
    for answer in answers:
        series = list(dicts(mapping(mapping(answer).get("body")).get("series")))[:16]
        if not series:
            continue
        if all(s.get("raw") is True for s in series):
            times = sorted({t for s in series for t, _ in read_points(s.get("points")) or []})
            if not inner:
                out += [(a, b) for a, b in itertools.pairwise(times) if b - a >= least_ms]
        elif inner:
            out += _empty_buckets([mapping_of_buckets(s.get("buckets")) for s in series], least_ms)
    return sorted(set(out))


def _empty_buckets(buckets: Sequence[Mapping[str, list[Any]] | None], least_ms: int) -> list[Span]:
    """Stretches of buckets that are empty in every series (where their grids agree)."""
    grids = [b for b in buckets if b is not None]
    if not grids or any(b["start"] != grids[0]["start"] for b in grids) or len(grids[0]["start"]) < 2:
        return []
    starts = grids[0]["start"]
    width = starts[1] - starts[0]
    out: list[Span] = []
    began: int | None = None
    for i, start in enumerate([*starts, starts[-1] + width]):
        empty = i < len(starts) and not any(b["count"][i] for b in grids)
        if empty and began is None:
            began = start
        elif not empty and began is not None:
            out.append((began, start))
            began = None
    return [(a, b) for a, b in out if b - a >= least_ms]


def holes_of(answers: Sequence[Any], least_ms: int) -> list[Span]:
    """All holes that answers of /trend show, the first of them over all that exists, the others close to what it shows:
    between raw rows exactly, as far as raw rows stand beside an empty bucket. Gaps that the cloud itself calls unstated
    count too."""
    times = sorted(
        {t for answer in answers for s in _raw_series(answer) for t, _ in read_points(s.get("points")) or []}
    )
    out = {*holes_in(answers, least_ms), *unstated_in(answers, least_ms)}
    for a, b in holes_in(answers[:1], least_ms, inner=True):
        left, right = bisect.bisect_left(times, a), bisect.bisect_left(times, b)
        near = 2 * (_grid_ms(answers[0]) or 0)
        first = times[left - 1] if left and times[left - 1] >= a - near else a
        last = times[right] if right < len(times) and times[right] < b + near else b
        out.add((first, last))
    return sorted(out)


def _raw_series(answer: Any) -> list[dict[str, Any]]:
    series = list(dicts(mapping(mapping(answer).get("body")).get("series")))[:16]
    return series if all(s.get("raw") is True for s in series) else []


def _grid_ms(answer: Any) -> int | None:
    """The width of an answer's buckets, None where it has none."""
    for one in dicts(mapping(mapping(answer).get("body")).get("series")):
        buckets = mapping_of_buckets(one.get("buckets"))
        if buckets is not None and len(buckets["start"]) > 1:
            return buckets["start"][1] - buckets["start"][0]
    return None


def end_near(answer: Any, *, last: bool) -> tuple[int, int] | None:
    """(start, width) of the last (first) bucket with rows of any series; None where there are no buckets or no rows."""
    width = _grid_ms(answer)
    if not width or width < 0:
        return None
    found = [mapping_of_buckets(s.get("buckets")) for s in dicts(mapping(mapping(answer).get("body")).get("series"))]
    starts = [t for b in found if b is not None for t, n in zip(b["start"], b["count"], strict=True) if n]
    return ((max if last else min)(starts), width) if starts else None


def unstated_in(answers: Iterable[Any], least_ms: int) -> list[Span]:
    """Gaps that the cloud itself shows as unstated."""
    out: set[Span] = set()
    for answer in answers:
        for series in itertools.islice(dicts(mapping(mapping(answer).get("body")).get("series")), 16):
            for gap in itertools.islice(dicts(series.get("gaps")), MAX_ENTRIES):
                a, b = gap.get("from"), gap.get("to")
                if type(a) is int and type(b) is int and b - a >= least_ms and gap.get("reason") == "unstated":
                    out.add((a, b))
    return sorted(out)


@dataclass(frozen=True, slots=True)
class Stated:
    """Something signed that may state a hole: "loss" of what lay in a span, "stopped" (a process began at the end of the span,
    the item before it lies at its start), "restored" (a new stream began there, and what was before it cannot be read),
    "no_reply" (a row without a value, at both ends of the span)."""

    how: str
    span: Span

    def states(self, hole: Span, slack_ms: int) -> bool:
        """Whether this is about that hole."""
        first, last = self.span
        match self.how:
            case "loss":
                return first - slack_ms <= hole[0] and hole[1] <= last + slack_ms
            case "no_reply":
                return hole[0] - NEAR_MS <= first <= min(hole[1], hole[0] + SILENCE_MS)
            case _:
                begins_within = hole[0] <= last <= hole[1] + NEAR_MS and hole[1] - last <= STARTUP_MS
                return begins_within and first <= hole[0] + STORED_MS


def statements(record: Record, uid: str) -> list[Stated]:
    """All that the signed record says about times without rows of a machine."""
    out = [Stated("loss", (first, last)) for _, _, _, first, last in record.losses]
    known = {**record.neighbours, **{place: kept.item for place, kept in record.items.items()}}
    for (stream, number), item in known.items():
        if item.header.kind is not ItemKind.OPEN:
            continue
        began = item.header.span[0]
        before = known.get((stream, number - 1))
        if number == 0:
            out.append(Stated("restored", (0, began)))
        elif before is not None and item.header.previous == before.hash:
            out.append(Stated("stopped", (before.header.span[1], began)))
    silent = sorted(
        t
        for kept in record.items.values()
        for rows in kept.rows.get(uid, {}).values()
        for t, v, q in rows
        if v is None and q & SEVERITY_MASK == Quality.BAD
    )
    return out + [Stated("no_reply", (t, t)) for t in dict.fromkeys(silent)]


def stated_by(hole: Span, said: Sequence[Stated], slack_ms: int) -> str:
    """By what a hole is stated, "" where by nothing; "restored" only where nothing better does."""
    found = {one.how for one in said if one.states(hole, slack_ms)}
    return next((how for how in ("loss", "stopped", "no_reply", "restored") if how in found), "")


# ---------------------------------------------------------------- late data


def late_spans(*answers: Any) -> list[Span]:
    """Stretches that the cloud shows as late, in answers of /coverage and /trend."""
    out: list[Span] = []
    for answer in answers:
        body = mapping(mapping(answer).get("body"))
        lists = [body.get("late"), *(s.get("late") for s in itertools.islice(dicts(body.get("series")), 16))]
        for listed in lists:
            for one in itertools.islice(dicts(listed), MAX_ENTRIES):
                a, b = one.get("from"), one.get("to")
                if type(a) is int and type(b) is int and 0 <= a <= b < MAX_TIME:
                    out.append((a, b))
    return sorted(set(out))


def length_of(spans: Iterable[Span]) -> int:
    """How much time some stretches cover together."""
    total, end = 0, -1
    for a, b in sorted(spans):
        total += max(0, b - max(a, end))
        end = max(end, b)
    return total


def joined(spans: Sequence[Span]) -> list[Span]:
    """Late stretches with no more than the pause between two frames in between as one."""
    out: list[Span] = []
    for a, b in spans:
        if out and a - out[-1][1] <= JOIN_MS:
            out[-1] = (out[-1][0], max(b, out[-1][1]))
        else:
            out.append((a, b))
    return out


def late_frames(record: Record, uid: str, late_ms: float) -> tuple[list[Kept], int]:
    """(those that came late, how many there are) of the frames of the record with rows of a machine."""
    frames = [k for k in record.items.values() if k.rows.get(uid) and k.arrival_ms is not None]
    late = [k for k in frames if k.arrival_ms is not None and k.arrival_ms - k.item.header.span[1] > late_ms]
    return late, len(frames)


# ---------------------------------------------------------------- the statement


def judge_reach(
    uid: str,
    record: Record | None,
    observed: Mapping[str, Any],
    *,
    declared: Mapping[str, Any],
    now_ms: int | None,
    limits: Thresholds,
    evidence: tuple[str, ...],
) -> Outcome:
    """tr.2. `observed` is {"coverage": answer, "whole": [answer of /trend, …]}."""
    coverage = observed.get("coverage")
    body, bounds, oldest = coverage_of(coverage), bounds_of(coverage), oldest_of(coverage)
    if body is None:
        return Outcome(State.FAIL, "coverage_refused", evidence=evidence, details=reason_of(coverage))
    if bounds is None or oldest is None or record is None:
        return Outcome(State.NOT_CHECKED, "no_history", evidence=evidence)
    least = hole_ms(declared, limits)
    whole = observed.get("whole") or []
    holes = holes_of(whole, least)
    said = statements(record, uid)
    how = {hole: stated_by(hole, said, least) for hole in holes}
    spans = late_spans(coverage, *whole)
    share = length_of(joined(spans)) / max(1, bounds[1] - oldest)
    late, frames = late_frames(record, uid, limits["late_after_s"].value * 1000)
    with_data, in_all = _days(body.get("days"), oldest, bounds[1])
    longest = max((b - a for a, b in _all_holes(whole)), default=0)
    figures = (
        figure("oldest_age_h", None if now_ms is None else (now_ms - oldest) / 3_600_000, unit="h"),
        figure("oldest", _date(oldest)),
        figure("days_with_data", with_data, unit="d"),
        figure("days_in_all", in_all, unit="d"),
        figure("longest_gap_s", longest / 1000, unit="s"),
        figure("holes", len(holes), unit="holes"),
        figure("holes_stated", ", ".join(sorted({h for h in how.values() if h})) or "—"),
        figure("holes_unstated", sum(not h for h in how.values()), limits["none_allowed"]),
        figure("late_share", share, limits["late_share"]),
        figure("late_frames_in_windows", f"{len(late)} / {frames}"),
    )

    def outcome(state: State, reason: str = "", details: str = "") -> Outcome:
        return Outcome(state, reason, figures, evidence, details)

    if not any(s.get("status") == 200 for s in map(mapping, whole)):
        return outcome(State.FAIL, "trend_refused", reason_of(whole[0]) if whole else "")
    admitted = unstated_in(whole, least)
    hidden_rows = _signed_within(record, uid, [hole for hole in holes if hole not in admitted], whole)
    if hidden_rows:
        return outcome(State.FAIL, "gap_has_signed_rows", ", ".join(hidden_rows[:6]))
    unstated = [hole for hole, by in how.items() if not by]
    if unstated:
        # What reports by exception may honestly have nothing to say while it is at rest.
        state = State.REVIEW if declared.get("protocol") == "opcua" else State.FAIL
        return outcome(state, "gap_unstated", ", ".join(f"{a}…{b}" for a, b in unstated[:6]))
    if not _is_signed(record, uid, oldest):
        return outcome(State.FAIL, "oldest_not_signed", str(oldest))
    hidden = [
        k
        for k in late
        if k.proved and not any(a <= k.item.header.span[1] and k.item.header.span[0] <= b for a, b in spans)
    ]
    if hidden:
        return outcome(State.FAIL, "late_not_flagged", ", ".join(f"{k.place[0][:8]}/{k.place[1]}" for k in hidden[:6]))
    if share > limits["late_share"].value:
        return outcome(State.REVIEW, "late_share")
    if any(by == "restored" for by in how.values()):
        return outcome(State.REVIEW, "gap_stated_in_part")
    return outcome(State.PASS)


def _signed_within(record: Record, uid: str, holes: Sequence[Span], whole: Sequence[Any]) -> list[str]:
    """Rows with a value that the edge signed inside holes, of the tags that were asked for."""
    tags = {str(s.get("tag")) for answer in whole for s in dicts(mapping(mapping(answer).get("body")).get("series"))}
    return [
        f"{tag}@{t}"
        for kept in record.items.values()
        for tag, rows in kept.rows.get(uid, {}).items()
        if tag in tags
        for t, v, q in rows
        if v is not None and q & SEVERITY_MASK != Quality.BAD and any(a < t < b for a, b in holes)
    ]


def _date(t: int) -> str:
    """A moment as text; one that no calendar has as a number."""
    return dt.datetime.fromtimestamp(t / 1000, dt.UTC).isoformat(timespec="seconds") if t < _CALENDAR_ENDS else str(t)


def _is_signed(record: Record, uid: str, t: int) -> bool:
    return any(
        row[0] == t for kept in record.items.values() for rows in kept.rows.get(uid, {}).values() for row in rows
    )


def _all_holes(whole: Sequence[Any]) -> list[Span]:
    return [*holes_in(whole, 1), *holes_in(whole, 1, inner=True)]


def _days(raw: Any, oldest: int, newest: int) -> tuple[int | None, int]:
    """(days with data as the cloud lists them, days from the oldest to the newest sample)."""
    day = 86_400_000
    in_all = newest // day - oldest // day + 1
    if not isinstance(raw, list):
        return None, in_all
    return sum(1 for one in itertools.islice(dicts(raw), 20_000) if one.get("count")), in_all
