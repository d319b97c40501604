"""`verify PLAN`: run a plan, or judge again what an earlier run kept."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from verifier.evidence import EvidenceError
from verifier.findings import Findings, encode, exit_code
from verifier.plan import PlanError
from verifier.report import show
from verifier.rules.pack import load_pack
from verifier.run import FINDINGS, judge_folder, run_plan

# A plan may stand before the options: `verify plan.yaml --out folder`.
app = typer.Typer(add_completion=False, context_settings={"allow_interspersed_args": True})

EXIT_UNUSABLE = 2


@app.callback(invoke_without_command=True)
def verify(
    plan: Annotated[Path | None, typer.Argument(help="核验计划 / the plan (plan.yaml)")] = None,
    out: Annotated[Path, typer.Option(help="结果目录 / where evidence and findings go")] = Path("verification"),
    rejudge: Annotated[
        bool, typer.Option("--rejudge", help="从留存证据重新判定 / judge the evidence kept in --out again, offline")
    ] = False,
) -> None:
    """按计划核验 / Verify a plant's connection to the cloud from live evidence.

    Exit code: 0 all pass, 100 something failed, 101 something is open, 2 the plan or the evidence cannot be used, or judged
    again it gives other findings."""
    if (plan is None) != rejudge:
        raise typer.BadParameter("either a plan, or --rejudge with the folder of an earlier run in --out")
    try:
        findings = _again(out) if plan is None else _run(plan, out)
    except (PlanError, EvidenceError, OSError) as error:
        Console(stderr=True).print(str(error), style="bold red", markup=False)
        raise typer.Exit(EXIT_UNUSABLE) from error
    show(findings, load_pack())
    Console().print(f"{out / FINDINGS}", markup=False, soft_wrap=True)
    raise typer.Exit(exit_code(findings.findings))


def _run(plan: Path, out: Path) -> Findings:
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), transient=True)
    with bar:
        task = bar.add_task("…", total=1.0)

        def progress(step: str, share: float) -> None:
            bar.update(task, description=step, completed=share)

        return asyncio.run(run_plan(plan, out, progress=progress)).findings


def _again(out: Path) -> Findings:
    findings = judge_folder(out)
    if (out / FINDINGS).read_bytes() != encode(findings):
        raise EvidenceError("与原结论不同 / judged again, the findings differ from findings.json")
    return findings
