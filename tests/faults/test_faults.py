"""Each fault against real processes: the verifier must find just what was written down for it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from starproof.demo import layout
from starproof.demo.files import Choices
from starproof.demo.run import DemoPlant
from tests.faults import table
from tests.faults.faults import FAULTS, Fault, flowing
from verifier.run import Result, run_plan


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoPlant]:
    """One plant for all faults; each puts back what it broke."""
    made = DemoPlant(layout.make(tmp_path_factory.mktemp("plant")), Choices())

    async def start() -> None:
        await made.start_all(lambda _: None)

    try:
        made.write()
        asyncio.run(start())
        yield made
    finally:
        made.stop()


def marks(fault: Fault) -> list[pytest.MarkDecorator]:
    return [pytest.mark.faults, pytest.mark.timeout(180), *([pytest.mark.quick] if fault.quick else [])]


def sets(result: Result) -> dict[str, set[str]]:
    """Findings by what became of them; those that pass are left out."""
    found: dict[str, set[str]] = {"fail": set(), "blocked": set(), "review": set(), "open": set(), "error": set()}
    for finding in result.findings.findings:
        state = str(finding.state)
        if state == "not_checked":
            state = "blocked" if finding.blocked_by else "open"
        if state in found:
            found[state].add(f"{finding.statement} {finding.machine}")
    return found


@pytest.mark.parametrize("fault", [pytest.param(f, id=f.id, marks=marks(f)) for f in FAULTS])
def test_fault(plant: DemoPlant, fault: Fault, tmp_path: Path) -> None:
    async def verify() -> Result:
        await plant.wait_for_port("web", "web")
        await plant.wait_for_data(lambda _: None)
        await flowing(plant)
        async with fault.inject(plant):
            return await run_plan(plant.layout.file("plan.yaml"), tmp_path / "out")

    result = asyncio.run(verify())
    found = sets(result)
    table.keep(fault, found)
    expected = {
        "fail": set(fault.fail),
        "blocked": set(fault.blocked),
        "review": set(fault.review),
        "open": set(fault.open),
        "error": set(),
    }
    assert found == expected, json.dumps(
        [
            (f.statement, f.machine, str(f.state), f.reason, [str(x) for x in f.figures])
            for f in result.findings.findings
            if str(f.state) != "pass"
        ],
        ensure_ascii=False,
        indent=1,
        default=str,
    )
