"""A finding: one atomic statement, one machine, one state, with the figures and the evidence it rests on.

Findings depend on evidence and rules only: judged again from the same files they are the same bytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from verifier.evidence import canonical
from verifier.rules.types import Threshold
from verifier.states import WORST_FIRST, Grade, State, worst

SCHEMA_VERSION = 1
EXIT_PASS, EXIT_FAIL, EXIT_OPEN = 0, 100, 101
MARK_ZH, MARK_EN = "仿真数据", "SIMULATED"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(_Frozen):
    """Something measured, beside its threshold where it has one and the reason for that."""

    name: str
    value: int | float | str | None
    unit: str = ""
    op: str | None = None
    threshold: float | None = None
    why_zh: str = ""
    why_en: str = ""


class Finding(_Frozen):
    """`reason` is a short code ("" for a plain pass); `blocked_by` the statement whose failure is the reason; `evidence`
    SHA-256 hashes; `simulated` marks whatever rests on a simulated machine, indelibly."""

    statement: str
    criterion: str
    machine: str
    need: str
    group: str | None = None
    state: State
    grade: str | None = None
    blocked_by: str | None = None
    reason: str = ""
    figures: tuple[Figure, ...] = ()
    evidence: tuple[str, ...] = ()
    zh: str = ""
    en: str = ""
    simulated: bool = False


class Findings(_Frozen):
    """findings.json."""

    schema_version: int = SCHEMA_VERSION
    ruleset: str
    rules_sha256: str
    enterprise: str
    started_ms: int
    simulated: bool
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a judge says of one statement and machine before needs are applied."""

    state: State
    reason: str = ""
    figures: tuple[Figure, ...] = ()
    evidence: tuple[str, ...] = ()
    details: str = ""


def figure(name: str, value: float | str | None, threshold: Threshold | None = None, *, unit: str = "") -> Figure:
    """A figure, rounded to what is worth reading, beside the pack's threshold."""
    if isinstance(value, float):
        value = float(f"{value:.6g}") + 0.0  # + 0.0: minus nought is nought
    if threshold is None:
        return Figure(name=name, value=value, unit=unit)
    return Figure(
        name=name,
        value=value,
        unit=unit or threshold.unit,
        op=threshold.op,
        threshold=threshold.value,
        why_zh=threshold.why_zh,
        why_en=threshold.why_en,
    )


def grade_name(grade: Grade) -> str:
    """A grade as it stands in findings.json."""
    return grade.name.lower()


def encode(findings: Findings) -> bytes:
    """The bytes of findings.json."""
    return canonical(findings.model_dump(mode="json")) + b"\n"


def decode(data: bytes) -> Findings:
    """Inverse of `encode`. Raises pydantic's ValidationError."""
    return Findings.model_validate_json(data)


def counted(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that count for a verdict: not `should`, and of an any-one-of group that is satisfied not the members
    that were not exercised. A member that was exercised and failed counts whatever the others did."""
    all_of_them = list(findings)
    satisfied = {_group(f) for f in all_of_them if f.group is not None and f.state is State.PASS}
    idle = (State.NOT_CHECKED, State.NOT_APPLICABLE)
    return [
        f
        for f in all_of_them
        if f.need != "should" and not (f.group is not None and _group(f) in satisfied and f.state in idle)
    ]


def criterion_states(findings: Iterable[Finding]) -> tuple[State, State]:
    """(worst machine, best machine) of one criterion: the verdict, and what it would be if one machine were enough (the
    other reading of A17)."""
    by_machine: dict[str, list[State]] = {}
    for finding in counted(findings):
        by_machine.setdefault(finding.machine, []).append(finding.state)
    states = [worst(one) for one in by_machine.values()]
    return worst(states), max(states, key=WORST_FIRST.index, default=State.NOT_APPLICABLE)


def _group(finding: Finding) -> tuple[str, str, str | None]:
    return finding.criterion, finding.machine, finding.group


def exit_code(findings: Sequence[Finding]) -> int:
    """100 if a must failed or erred, else 101 if one is not checked or under review, else 0."""
    states = {f.state for f in counted(findings)}
    if states & {State.FAIL, State.ERROR}:
        return EXIT_FAIL
    return EXIT_OPEN if states & {State.NOT_CHECKED, State.REVIEW} else EXIT_PASS
