"""Findings as a table on a terminal: statement by machine, the figure beside its threshold, where the evidence lies."""

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from verifier.findings import MARK_EN, MARK_ZH, Figure, Finding, Findings, criterion_states, exit_code
from verifier.phrases import FIGURES
from verifier.rules.pack import RulePack
from verifier.states import STATE_ZH, State

# Grey by default, saturated colour only for what is abnormal (ISA-101).
STYLES = {
    State.PASS: "dim",
    State.NOT_APPLICABLE: "dim",
    State.REVIEW: "yellow",
    State.NOT_CHECKED: "yellow",
    State.FAIL: "bold red",
    State.ERROR: "bold magenta",
}
HEADINGS = ("判据 statement", "结论 verdict", "实测与限值 measured and limit", "证据 evidence")
OPS = {"<=": "≤", ">=": "≥", "<": "<", ">": ">", "==": "="}


def render(findings: Findings, pack: RulePack) -> RenderableType:
    """The whole report, worst machine first within each criterion."""
    parts: list[RenderableType] = []
    if findings.simulated:
        parts.append(Text(f"{MARK_ZH} / {MARK_EN}", style="bold yellow"))
    for criterion in dict.fromkeys(f.criterion for f in findings.findings):
        parts.append(_table(criterion, [f for f in findings.findings if f.criterion == criterion], pack))
    parts.append(Text(summary(findings)))
    return Group(*parts)


def show(findings: Findings, pack: RulePack, console: Console | None = None) -> None:
    """Print the report; where no terminal tells its width, wide enough for a log to be read."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, 118)
    console.print(render(findings, pack))


def _table(criterion: str, findings: list[Finding], pack: RulePack) -> Table:
    names = {leaf.id: leaf.zh for _, leaf in pack.criteria.leaves()}
    state, one_machine = criterion_states(findings)
    title = f"{names.get(criterion, criterion)} {criterion} — {STATE_ZH[state]} / {state.value}"
    if one_machine is not state:
        title += f"  (A17, 一台设备即可 / if one machine is enough: {STATE_ZH[one_machine]} / {one_machine.value})"
    table = Table(title=title, title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    machine = ""
    for finding in _worst_first(findings):
        if finding.machine != machine:
            machine = finding.machine
            table.add_section()
            mark = f"【{MARK_ZH}】" if finding.simulated else ""
            table.add_row(Text(f"{machine} {mark}", style="bold"))
        _, statement = pack.criteria.statement(finding.statement)
        table.add_row(
            f"{finding.statement} {statement.zh}",
            _verdict(finding),
            "\n".join(map(figure_text, _shown(finding))),
            "\n".join(digest[:12] for digest in finding.evidence[-_EVIDENCE:]) + _more(finding),
        )
    return table


_EVIDENCE = 2


def _verdict(finding: Finding) -> Text:
    """The state; where it is not a pass, in words why."""
    verdict = Text(f"{STATE_ZH[finding.state]} {finding.state.value}", style=STYLES[finding.state])
    if finding.state is State.PASS:
        return verdict
    return Text.assemble(verdict, f"\n{finding.zh}\n{finding.en}")


def _shown(finding: Finding) -> list[Figure]:
    """The figures that have a limit; all are in findings.json. Where none has, the first few."""
    limited = [figure for figure in finding.figures if figure.threshold is not None]
    return limited or list(finding.figures[:3])


def _more(finding: Finding) -> str:
    left = len(finding.evidence) - _EVIDENCE
    return f" +{left}" if left > 0 else ""


def _worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Machines with the worst statement first, statements in their order."""
    by_machine: dict[str, list[Finding]] = {}
    for finding in findings:
        by_machine.setdefault(finding.machine, []).append(finding)
    order = list(STYLES)
    ranked = sorted(by_machine, key=lambda uid: -max(order.index(f.state) for f in by_machine[uid]))
    return [f for uid in ranked for f in by_machine[uid]]


def figure_text(figure: Figure) -> str:
    """One figure: `随机数返回 nonce_back_s 0.31 s ≤ 20`."""
    zh = FIGURES.get(figure.name, "")
    unit = f" {figure.unit}" if figure.unit and figure.unit not in ("moments", "tags", "reads", "messages") else ""
    limit = "" if figure.threshold is None else f" {OPS.get(figure.op or '', '')} {figure.threshold:g}"
    return f"{zh} {figure.name} {figure.value}{unit}{limit}".strip()


def summary(findings: Findings) -> str:
    """Counts by state, the rule pack's digest and the exit code, in one line."""
    counts = {state: sum(f.state is state for f in findings.findings) for state in State}
    text = ", ".join(f"{STATE_ZH[state]} {n}" for state, n in counts.items() if n)
    mark = f"{MARK_ZH} {MARK_EN} · " if findings.simulated else ""
    rules = f"{findings.ruleset} {findings.rules_sha256[:12]}"
    return f"{mark}{text or '—'} · rules {rules} · exit {exit_code(findings.findings)}"
