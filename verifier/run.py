"""From a plan to findings: observe, keep, judge. Judging reads only what was kept, so it can be done again at any time.

A fault of the verifier itself (an exception in observing or judging) becomes the state `error` of every statement of the
criterion; a fault of the plant never is one.
"""

import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import structlog

from verifier import needs
from verifier.chain import Chain, Progress, open_chain, silent_progress
from verifier.criteria import device_mon_alarm, device_mon_realtime, device_mon_trace
from verifier.evidence import Evidence, load, make, read_index, save
from verifier.findings import Finding, Findings, Outcome, encode, exit_code, grade_name
from verifier.phrases import text
from verifier.plan import Plan, PlanError, load_plan
from verifier.rules.pack import RulePack, load_pack
from verifier.rules.types import Statement
from verifier.states import Grade, State

_log = structlog.get_logger(__name__)

FINDINGS = "findings.json"


@dataclass(frozen=True, slots=True)
class Criterion:
    """What a criterion's file offers."""

    id: str
    needs: needs.Needs
    grade: Grade
    observe: Callable[[Chain], Coroutine[Any, Any, dict[str, Any]]]
    judge: Callable[[Evidence, RulePack], dict[str, dict[str, Outcome]]]
    simulated: Callable[[Evidence], dict[str, bool]]


def criterion_of(module: ModuleType) -> Criterion:
    """The criterion that a file of verifier/criteria holds."""
    return Criterion(module.ID, module.NEEDS, module.GRADE, module.observe, module.judge, module.simulated)


CRITERIA: dict[str, Criterion] = {
    c.id: c for c in map(criterion_of, [device_mon_realtime, device_mon_trace, device_mon_alarm])
}


@dataclass(frozen=True, slots=True)
class Result:
    """Findings, the exit code that follows from them, and the file they were written to."""

    findings: Findings
    exit_code: int
    path: Path


async def run_plan(plan: Path | Plan, out: Path, *, progress: Progress = silent_progress) -> Result:
    """Verify what a plan names; evidence and findings.json are written below `out`. Raises PlanError, and OSError where
    `out` cannot be written."""
    pack = load_pack()
    loaded = load_plan(plan) if isinstance(plan, Path) else plan
    if unknown := [name for name in loaded.settings.criteria if name not in CRITERIA]:
        raise PlanError(f"criteria that this version does not verify: {', '.join(unknown)}")
    chain = open_chain(loaded, pack, progress)
    try:
        for name in dict.fromkeys(loaded.settings.criteria):
            save(await _observe(CRITERIA[name], chain), out)
    finally:
        await chain.close()
    findings = judge_folder(out, pack)
    path = out / FINDINGS
    path.write_bytes(encode(findings))
    return Result(findings, exit_code(findings.findings), path)


async def _observe(criterion: Criterion, chain: Chain) -> Evidence:
    started = chain.clock()
    observations: dict[str, Any] = {
        "run": {
            "enterprise": chain.plan.settings.enterprise,
            "started_ms": started,
            "simulated": {m.uid: m.simulated for m in chain.machines},
        }
    }
    try:
        observations |= await criterion.observe(chain)
        return make(criterion.id, observations)
    except Exception as error:  # noqa: BLE001  # the verifier's own fault: it must not look like the plant's
        _say("observing failed", criterion, error)
        return make(criterion.id, {"run": observations["run"], "error": {"type": type(error).__name__}})


def _say(event: str, criterion: Criterion, error: Exception) -> None:
    """Log where it happened, without the values of local variables: a token may be among them."""
    _log.error(event, criterion=criterion.id, trace="".join(traceback.format_exception(error)))


def judge_folder(out: Path, pack: RulePack | None = None) -> Findings:
    """Judge everything that is kept below `out`, again or for the first time. Raises EvidenceError for damaged evidence
    and KeyError for a criterion this version does not know."""
    rules = pack or load_pack()
    found = [load(out, name) for name in sorted(read_index(out))]
    findings = [f for evidence in found for f in judge_evidence(evidence, rules)]
    runs = [evidence["run"] for evidence in found]
    return Findings(
        ruleset=rules.criteria.meta.ruleset_id,
        rules_sha256=rules.digest,
        enterprise=runs[0]["enterprise"] if runs else "",
        started_ms=min((run["started_ms"] for run in runs), default=0),
        simulated=any(f.simulated for f in findings),
        findings=tuple(findings),
    )


def judge_evidence(evidence: Evidence, pack: RulePack) -> list[Finding]:
    """The findings of one criterion, by machine and statement in the rule pack's order. Pure."""
    criterion = CRITERIA[evidence.criterion]
    statements = pack.criteria.atoms[criterion.id].statements
    simulated: Mapping[str, bool] = evidence["run"]["simulated"]
    try:
        if evidence.get("error") is not None:
            raise VerifierError(evidence["error"]["type"])
        outcomes = criterion.judge(evidence, pack)
        simulated = criterion.simulated(evidence)
    except Exception as error:  # noqa: BLE001  # as above
        _say("judging failed", criterion, error)
        name = str(error) if isinstance(error, VerifierError) else type(error).__name__
        broken = Outcome(State.ERROR, "verifier_error", evidence=evidence.hashes("run", "error"), details=name)
        outcomes = {uid: {s.id: broken for s in statements} for uid in sorted(simulated)}
    found: list[Finding] = []
    for uid, by_statement in outcomes.items():
        settled = needs.apply(by_statement, criterion.needs)
        found += [_finding(criterion, s, uid, settled[s.id], simulated=simulated.get(uid, False)) for s in statements]
    return found


class VerifierError(RuntimeError):
    """Observing failed; what is kept says with which kind of error."""


def _finding(
    criterion: Criterion, statement: Statement, uid: str, settled: tuple[Outcome, str | None], *, simulated: bool
) -> Finding:
    outcome, blocked_by = settled
    zh, en = text(outcome.state, outcome.reason, outcome.details, blocked_by=blocked_by, simulated=simulated)
    tried = outcome.state in (State.PASS, State.FAIL, State.REVIEW)
    return Finding(
        statement=statement.id,
        criterion=criterion.id,
        machine=uid,
        need=statement.need,
        group=statement.group,
        state=outcome.state,
        grade=grade_name(criterion.grade) if tried else None,
        blocked_by=blocked_by,
        reason=outcome.reason,
        figures=outcome.figures,
        evidence=outcome.evidence,
        zh=zh,
        en=en,
        simulated=simulated,
    )
