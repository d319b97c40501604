"""Runs of the verifier that lie in a folder, read for pages. The pages show them; they never make or judge one.

Invariant: a run is shown only to the enterprise it is about, and an observation only if its bytes fit its hash.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from verifier.evidence import FOLDER, EvidenceError, read_index
from verifier.findings import Figure, Finding, Findings, counted, criterion_states, decode
from verifier.phrases import FIGURES
from verifier.report import OPS
from verifier.rules.pack import RulePack, load_pack
from verifier.states import GRADE_TEXT, STATE_ZH, WORST_FIRST, Grade, State, worst

FINDINGS = "findings.json"
MOST_RUNS = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNITLESS = ("moments", "tags", "reads", "messages")


@dataclass(frozen=True, slots=True)
class Run:
    """One run: the name of its folder, and what it found."""

    name: str
    folder: Path
    findings: Findings

    @property
    def counts(self) -> dict[State, int]:
        """How many statements ended in each state, worst first, those that occur."""
        found = [finding.state for finding in self.findings.findings]
        return {state: found.count(state) for state in WORST_FIRST if state in found}

    @property
    def state(self) -> State:
        """The worst state that counts."""
        return worst([finding.state for finding in counted(self.findings.findings)])

    @property
    def criteria(self) -> list[str]:
        """The criteria that were verified."""
        return list(dict.fromkeys(finding.criterion for finding in self.findings.findings))

    @property
    def machines(self) -> list[str]:
        """The machines that were looked at."""
        return list(dict.fromkeys(finding.machine for finding in self.findings.findings))


class Damaged(ValueError):
    """An observation's bytes do not fit its hash."""


def runs(folder: Path | None, enterprise: str) -> list[Run]:
    """The runs about an enterprise, newest first. A folder without readable findings is none (yet)."""
    if folder is None or not folder.is_dir():
        return []
    names = sorted((one.name for one in folder.iterdir() if one.is_dir()), reverse=True)[:MOST_RUNS]
    found = [run for name in names if (run := read(folder, name, enterprise)) is not None]
    return sorted(found, key=lambda run: (run.findings.started_ms, run.name), reverse=True)


def read(folder: Path | None, name: str, enterprise: str) -> Run | None:
    """One run, None if there is none of this name about this enterprise."""
    if folder is None or not _NAME.fullmatch(name):
        return None
    try:
        findings = decode((folder / name / FINDINGS).read_bytes())
    except (OSError, ValidationError):
        return None
    return Run(name, folder / name, findings) if findings.enterprise == enterprise else None


def names_of_evidence(run: Run) -> dict[str, str]:
    """What each observation is of ("machine/boiler-1") by its hash; empty if there is no index."""
    try:
        index = read_index(run.folder)
    except EvidenceError:
        return {}
    return {sha256: name for names in index.values() for name, sha256 in names.items()}


def observation(run: Run, sha256: str) -> bytes | None:
    """The bytes of an observation that the run rests on; None if it has none of this hash. Raises Damaged."""
    cited = {one for finding in run.findings.findings for one in finding.evidence} | names_of_evidence(run).keys()
    if not _SHA256.fullmatch(sha256) or sha256 not in cited:
        return None
    try:
        data = (run.folder / FOLDER / f"{sha256}.json").read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Damaged(sha256)
    return data


def view(run: Run, pack: RulePack | None = None) -> list[dict[str, Any]]:
    """The findings by criterion and machine, worst machine first, as the page shows them."""
    rules = pack or load_pack()
    titles = {leaf.id: leaf.zh for _, leaf in rules.criteria.leaves()}
    names = names_of_evidence(run)
    out: list[dict[str, Any]] = []
    for criterion in run.criteria:
        found = [finding for finding in run.findings.findings if finding.criterion == criterion]
        state, one_machine = criterion_states(found)
        out.append(
            {
                "id": criterion,
                "zh": titles.get(criterion, criterion),
                "state": state,
                "one_machine": one_machine,
                "statements": _statements(found, rules),
                "machines": _machines(found, rules, names),
            }
        )
    return out


def _statements(found: Iterable[Finding], rules: RulePack) -> list[dict[str, Any]]:
    """One row a statement: its state at every machine."""
    rows: dict[str, dict[str, Any]] = {}
    for finding in found:
        row = rows.setdefault(
            finding.statement,
            {"id": finding.statement, "zh": _words(finding.statement, rules), "need": finding.need, "states": {}},
        )
        row["states"][finding.machine] = finding.state
    return list(rows.values())


def _machines(found: list[Finding], rules: RulePack, names: dict[str, str]) -> list[dict[str, Any]]:
    by_machine: dict[str, list[Finding]] = {}
    for finding in found:
        by_machine.setdefault(finding.machine, []).append(finding)
    machines = [
        {
            "uid": uid,
            "state": worst([finding.state for finding in counted(some)]),
            "simulated": any(finding.simulated for finding in some),
            "findings": [_shown(finding, rules, names) for finding in some],
        }
        for uid, some in by_machine.items()
    ]
    return sorted(machines, key=lambda one: WORST_FIRST.index(one["state"]))


def _shown(finding: Finding, rules: RulePack, names: dict[str, str]) -> dict[str, Any]:
    grade = GRADE_TEXT[Grade[finding.grade.upper()]] if finding.grade else None
    return {
        "statement": finding.statement,
        "statement_zh": _words(finding.statement, rules),
        "need": finding.need,
        "state": finding.state,
        "blocked_by": finding.blocked_by,
        "zh": finding.zh,
        "en": finding.en,
        "simulated": finding.simulated,
        "grade_zh": grade[0] if grade else "",
        "grade_en": grade[1] if grade else "",
        "figures": [_figure(figure) for figure in finding.figures],
        "evidence": [{"sha256": one, "name": names.get(one, "")} for one in finding.evidence],
    }


def _words(statement: str, rules: RulePack) -> str:
    try:
        return rules.criteria.statement(statement)[1].zh
    except KeyError:
        return ""


def _figure(figure: Figure) -> dict[str, Any]:
    value = (
        "—" if figure.value is None else f"{figure.value:g}" if isinstance(figure.value, float) else str(figure.value)
    )
    return {
        "name": figure.name,
        "zh": FIGURES.get(figure.name, ""),
        "value": value,
        "unit": "" if figure.unit in _UNITLESS else figure.unit,
        "limit": "" if figure.threshold is None else f"{OPS.get(figure.op or '', '')} {figure.threshold:g}",
        "why_zh": figure.why_zh,
        "why_en": figure.why_en,
    }


__all__ = ["FINDINGS", "STATE_ZH", "Damaged", "Run", "names_of_evidence", "observation", "read", "runs", "view"]
