"""History can be queried (tr.1): what the cloud answers for random windows is what the edge signed, row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from verifier.findings import Outcome, figure
from verifier.judging.case import MAX_TIME, mapping
from verifier.judging.records import Record, Span
from verifier.judging.values import names
from verifier.rules.types import Threshold
from verifier.states import State

Thresholds = Mapping[str, Threshold]
MAX_ROWS = 20_000
Wrong = tuple[str, int]

# What leaves open whether the record is in order, instead of breaking it.
OPEN_FAULTS = frozenset({"frame_without_key", "proof_unanswered"})


@dataclass
class Compared:
    """Rows of one machine in the windows, by what they are: (tag, time) each. `signed` rows the edge signed of the tags that
    were asked for, `all_signed` of all its tags; `unread` tags whose answer could not be used."""

    equal: int = 0
    signed: int = 0
    all_signed: int = 0
    edited: list[Wrong] = field(default_factory=list[Wrong])
    added: list[Wrong] = field(default_factory=list[Wrong])
    removed: list[Wrong] = field(default_factory=list[Wrong])
    unread: list[str] = field(default_factory=list[str])
    reasons: list[str] = field(default_factory=list[str])

    @property
    def wrong(self) -> bool:
        return bool(self.edited or self.added or self.removed)


def rows_in(answer: Any, span: Span) -> list[list[Any]] | None:
    """The rows [t, v, q] of an answer of /history; None where it is no such answer or not all of it."""
    body = mapping(mapping(answer).get("body"))
    rows = body.get("rows")
    if mapping(answer).get("status") != 200 or not isinstance(rows, list) or len(rows) > MAX_ROWS or body.get("more"):
        return None
    if not all(isinstance(r, list) and len(r) == 3 and _whole(r[0]) and _whole(r[2]) for r in rows):
        return None
    return [r for r in rows if span[0] <= r[0] < span[1]]


def _whole(value: Any) -> bool:
    return type(value) is int and abs(value) < MAX_TIME


def compare(record: Record, uid: str, asked: Sequence[Mapping[str, Any]]) -> Compared:
    """Every row of the answers against the record. `asked` are {"window": [from, to], "tag", "answer"}."""
    out = Compared()
    signed_in: dict[Span, dict[str, dict[int, list[Any]]]] = {}
    for one in asked:
        span = (int(one["window"][0]), int(one["window"][1]))
        if span not in signed_in:
            signed_in[span] = record.rows_of(uid, span)
            out.all_signed += sum(len(rows) for rows in signed_in[span].values())
        rows = rows_in(one["answer"], span)
        if rows is None:
            out.unread.append(one["tag"])
            out.reasons.append(reason_of(one["answer"]))
            continue
        _compare(out, one["tag"], rows, signed_in[span].get(one["tag"], {}))
    return out


def _compare(out: Compared, tag: str, rows: list[list[Any]], signed: dict[int, list[Any]]) -> None:
    shown: dict[int, list[Any]] = {}
    for t, v, q in rows:
        shown.setdefault(t, []).append((v, q))
    out.signed += len(signed)
    for t, said in shown.items():
        if t not in signed or len(said) > len(signed[t]):
            out.added.append((tag, t))
        elif all(any(_same(v, w) for w, _ in signed[t]) and any(q == r for _, r in signed[t]) for v, q in said):
            out.equal += 1
        else:
            out.edited.append((tag, t))
    out.removed += [(tag, t) for t in signed if t not in shown]


def _same(a: Any, b: Any) -> bool:
    """Whether two JSON values are one: true is not 1, and -0.0 and 0.0, 3 and 3.0 are."""
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def reason_of(answer: Any) -> str:
    """Why an answer cannot be used: its status, or what kept it from coming, or the code the cloud gave."""
    said = mapping(answer)
    code = mapping(mapping(said.get("body")).get("error")).get("code")
    if isinstance(code, str):
        return f"{said.get('status')} {code[:64]}"
    return str(said.get("reason") or said.get("status"))


def frames_fault(raw: Mapping[str, Any] | None) -> tuple[State, str, str] | None:
    """(state, reason, details) where the cloud did not hand over the signed frames at all."""
    if raw is None:
        return State.NOT_CHECKED, "edge_not_pinned", ""
    if not raw.get("windows"):
        return State.NOT_CHECKED, "no_history", ""
    for pages in mapping(raw.get("frames")).values():
        for answer in pages:
            body = mapping(answer.get("body"))
            if answer["status"] == 200 and isinstance(body.get("items"), list):
                continue
            code = mapping(body.get("error")).get("code")
            if code == "keys_not_here":
                return State.NOT_CHECKED, "keys_not_here", ""
            if answer["status"] in (0, 401, 403, 429, 503):
                return State.NOT_CHECKED, "frames_unanswered", reason_of(answer)
            return State.FAIL, "frames_refused", reason_of(answer)
    if raw.get("truncated"):
        return State.NOT_CHECKED, "frames_too_many", ""
    return None


def judge_query(
    uid: str,
    raw: Mapping[str, Any] | None,
    record: Record | None,
    asked: Sequence[Mapping[str, Any]],
    *,
    limits: Thresholds,
    evidence: tuple[str, ...],
) -> Outcome:
    """tr.1: rows added, edited or removed against the signed frames; the frames' signatures, keys, chain and proofs."""
    fault = frames_fault(raw)
    if fault is not None or record is None:
        state, reason, details = fault or (State.NOT_CHECKED, "edge_not_pinned", "")
        return Outcome(state, reason, evidence=evidence, details=details)
    found = compare(record, uid, asked)
    frames = len(record.items)
    share = found.equal / found.signed if found.signed else 0.0
    figures = (
        figure("windows", len(mapping(raw).get("windows") or []), unit="windows"),
        figure("rows_compared", found.signed, limits["least_rows"]),
        figure("rows_in_windows_compared_share", found.signed / found.all_signed if found.all_signed else 0.0),
        figure("rows_equal_share", share, limits["rows_equal_share"]),
        figure("rows_edited", len(found.edited), limits["none_allowed"]),
        figure("rows_added", len(found.added), limits["none_allowed"]),
        figure("rows_removed", len(found.removed), limits["none_allowed"]),
        figure("frames_opened", frames, unit="frames"),
        figure("frames_proved_share", record.proofs / frames if frames else 0.0),
        figure("frame_faults", len(record.faults), limits["none_allowed"]),
    )

    def outcome(state: State, reason: str = "", details: str = "") -> Outcome:
        return Outcome(state, reason, figures, evidence, details)

    broken = [f for f in record.faults if f[0] not in OPEN_FAULTS]
    if broken:
        return outcome(State.FAIL, broken[0][0], names([what for _, what in broken]))
    if record.faults:
        return outcome(State.NOT_CHECKED, record.faults[0][0], names([what for _, what in record.faults]))
    if found.wrong:
        for reason, rows in (
            ("rows_edited", found.edited),
            ("rows_added", found.added),
            ("rows_removed", found.removed),
        ):
            if rows:
                return outcome(State.FAIL, reason, names([f"{tag}@{t}" for tag, t in rows]))
    if found.unread:
        return _unread(found, outcome)
    if found.signed < limits["least_rows"].value:
        return outcome(State.NOT_CHECKED, "nothing_in_windows")
    return outcome(State.PASS)


def _unread(found: Compared, outcome: Any) -> Outcome:
    tags = names(list(dict.fromkeys(found.unread)))
    silent = all(r in ("too_slow", "too_much") or not r[:1].isdigit() for r in found.reasons)
    return outcome(State.NOT_CHECKED if silent else State.FAIL, "history_refused", f"{tags}: {found.reasons[0]}")
