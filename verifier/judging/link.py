"""The acquisition link of one machine: did the edge answer a fresh nonce, does the ledger have that answer, do samples
newer than the challenge arrive, and is the machine at the other end the one that was declared?"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from telemetry.topics import Address
from verifier.clocks import Offset, estimate
from verifier.evidence import from_b64
from verifier.findings import Figure, Outcome, figure
from verifier.judging.case import MachineCase
from verifier.judging.pace import quiet
from verifier.judging.proofs import InclusionCheck, check_echo, check_frame, check_inclusion
from verifier.rules.types import Threshold
from verifier.states import State

Thresholds = Mapping[str, Threshold]

# The verifier itself is not let in: that says nothing about the machine.
NO_ACCESS = frozenset(
    {
        "credentials_unusable",
        "BadIdentityTokenRejected",
        "BadIdentityTokenInvalid",
        "BadUserAccessDenied",
        "BadCertificateUntrusted",
        "BadSecurityChecksFailed",
    }
)
PLATE = ("maker", "model", "serial")


@dataclass(frozen=True, slots=True)
class EdgeAnswer:
    """An edge's answer to the challenge. `fault` is empty where everything about it is in order."""

    fault: str
    answer_s: float | None = None
    proof: InclusionCheck | None = None


def edge_answer(
    record: Mapping[str, Any] | None, *, edge: Address, public: bytes | None, head_key: bytes, limits: Thresholds
) -> EdgeAnswer:
    """Judge the record of a challenge, from its raw bytes."""
    if public is None:
        return EdgeAnswer("edge_not_pinned")
    if not record:
        return EdgeAnswer("edge_not_challenged")
    if record.get("reason"):
        return EdgeAnswer(str(record["reason"]))
    nonce = from_b64(record["nonce"])
    if not record.get("frame"):
        return EdgeAnswer("no_nonce")
    at, raw = record["frame"]
    sealed = from_b64(raw)
    answer_s = (at - record["sent_ms"]) / 1000
    found = check_frame(sealed, edge=edge, public=public, nonce=nonce)
    if found.fault:
        return EdgeAnswer(f"frame_{found.fault}", answer_s)
    if answer_s > limits["challenge_answer_s"].value:
        return EdgeAnswer("nonce_late", answer_s)
    proof = record.get("proof") or {}
    if proof.get("status") != 200:
        reason = "cloud_unreachable" if proof.get("status") == 0 else "not_in_ledger"
        return EdgeAnswer(reason, answer_s)
    included = check_inclusion(proof.get("body"), sealed=sealed, edge=edge, head_key=head_key)
    fault = f"proof_{included.fault}" if included.fault else ""
    return EdgeAnswer(fault, answer_s, included)


def edge_offset(record: Mapping[str, Any] | None, *, edge: Address, public: bytes | None) -> Offset | None:
    """The edge's clock against the verifier's, from the signed echoes of the challenge and of the one that closed the
    watch: a clock that stepped in between is known no better than by its step."""
    exchanges: list[tuple[int, int, int]] = []
    for one in (record, (record or {}).get("closing")):
        if public is None or not one or not one.get("echo"):
            continue
        at, raw = one["echo"]
        echo = check_echo(from_b64(raw), edge=edge, public=public, nonce=from_b64(one["nonce"]))
        if echo is not None:
            exchanges.append((one["sent_ms"], echo.wall_ms, at))
    return estimate(exchanges)


def judge_link(
    case: MachineCase, answer: EdgeAnswer, *, cloud_fault: str, limits: Thresholds, evidence: tuple[str, ...]
) -> Outcome:
    """rt.1 of a machine."""

    def outcome(state: State, reason: str = "", figures: tuple[Figure, ...] = (), details: str = "") -> Outcome:
        return Outcome(state, reason, figures, evidence, details)

    if cloud_fault:
        return outcome(State.NOT_CHECKED if cloud_fault == "token_refused" else State.FAIL, cloud_fault)
    if case.device is None:
        return outcome(State.FAIL, "not_in_cloud")
    figures = _hops(case, answer, limits)
    if answer.fault:
        return outcome(State.FAIL, answer.fault, figures, case.edge)
    challenged = case.began_ms if case.link is None else case.link["sent_ms"]
    fresh = freshest(case, since=challenged)
    if not case.scans:
        return _silent(case, outcome, fresh is not None, figures)
    if fresh is None:
        why = quiet(case, limits, since=challenged, until=case.ended_ms, renewals=1)
        return outcome(State.NOT_CHECKED if why else State.FAIL, why or "cloud_not_fresh", figures)
    figures = (*figures, figure("fresh_sample_after_challenge_s", fresh, unit="s"))
    state, reason, details = _identity(case)
    return outcome(state, reason, figures, details)


def _silent(case: MachineCase, outcome: Any, cloud_fresh: bool, figures: tuple[Figure, ...]) -> Outcome:
    """The machine answered the verifier not once."""
    reasons = [reason for _, reason in case.silent] or [str(case.identity.get("reason") or "no_reply")]
    if any(r in NO_ACCESS for r in reasons):
        return outcome(State.NOT_CHECKED, "no_access", figures, reasons[-1])
    if cloud_fresh:
        return outcome(State.FAIL, "silent_but_shown_good", figures, reasons[-1])
    return outcome(State.NOT_CHECKED, "machine_silent", figures, reasons[-1])


def _hops(case: MachineCase, answer: EdgeAnswer, limits: Thresholds) -> tuple[Figure, ...]:
    """Identity and time of each hop, as far as the answer got."""
    found: list[Figure] = [figure("edge", case.edge)]
    if answer.answer_s is not None:
        found.append(figure("nonce_back_s", answer.answer_s, limits["challenge_answer_s"]))
    if answer.proof is not None and answer.proof.arrival_ms is not None and case.link and not answer.proof.fault:
        offset = case.cloud_offset.ms if case.cloud_offset else 0.0
        arrived = (answer.proof.arrival_ms - offset - case.link["sent_ms"]) / 1000
        found.append(figure("ledger_arrival_s", arrived, unit="s"))
        found.append(figure("ledger_leaf", f"{answer.proof.shard}/{answer.proof.leaf} of {answer.proof.size}"))
    return tuple(found)


def freshest(case: MachineCase, *, since: float) -> float | None:
    """Seconds from a moment to the newest good sample, None where there is none after it (give or take the clocks)."""
    ages = [
        (case.mine(tag, row) - since, case.offset_of(tag, row))
        for tag in case.tags.values()
        for row in tag.rows
        if row.good
    ]
    after = [seconds for seconds, offset in ages if seconds > -offset.uncertainty]
    return max(after) / 1000 if after else None


def _plain(text: str) -> str:
    """A nameplate text for comparison: some protocols carry only ASCII, so other characters are left out."""
    return " ".join(unicodedata.normalize("NFKC", text).encode("ascii", "ignore").decode().lower().split())


def _identity(case: MachineCase) -> tuple[State, str, str]:
    """Whether machine, cloud and the plant's list name the same machine."""
    own = {k: str(v) for k, v in (case.identity.get("nameplate") or {}).items() if k in PLATE}
    if not own:
        return State.REVIEW, "identity_not_served", str(case.identity.get("reason") or "")
    cloud = (case.device or {}).get("nameplate")
    for name, other in (("cloud", cloud), ("points", case.declared.get("nameplate"))):
        plate = other if isinstance(other, dict) else {}
        shared = [k for k in PLATE if plate.get(k) and own.get(k)]
        differs = [k for k in shared if _plain(str(plate[k])) != _plain(own[k])]
        if differs:
            key = differs[-1]
            # Makers write their own name in many ways; a model or serial number has one.
            state = State.REVIEW if differs == ["maker"] else State.FAIL
            return state, f"identity_differs_from_{name}", f"{key}: {own[key]} ≠ {plate[key]}"
        if name == "cloud" and not {"model", "serial"} & set(shared):
            return State.REVIEW, "identity_not_in_cloud", ""
    return State.PASS, "", ""
