"""Each fault against real processes: the verifier must find just what was written down for it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from starproof.demo import layout
from starproof.demo.files import Choices
from starproof.demo.run import DemoPlant
from tests.faults import table
from tests.faults.faults import FAULTS
from tests.faults.kinds import Fault, flowing, old_enough
from verifier.run import Result, run_plan


class Plants:
    """One plant for all faults of a criterion, since each puts back what it broke; another one for the next criterion, whose
    history knows nothing of the outages before."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._running: tuple[str, DemoPlant] | None = None

    def of(self, criterion: str) -> DemoPlant:
        if self._running is None or self._running[0] != criterion:
            self.stop()
            made = DemoPlant(layout.make(self._folders.mktemp("plant")), Choices())
            self._running = criterion, made
            made.write()
            asyncio.run(made.start_all(lambda _: None))
        return self._running[1]

    def stop(self) -> None:
        if self._running is not None:
            self._running[1].stop()
            self._running = None


@pytest.fixture(scope="module")
def plants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plants]:
    made = Plants(tmp_path_factory)
    yield made
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


def plan_for(plant: DemoPlant, criterion: str) -> Path:
    """The demo's plan with one criterion."""
    data = yaml.safe_load(plant.layout.file("plan.yaml").read_text(encoding="utf-8"))
    path = plant.layout.file("plan-of-one.yaml")
    path.write_text(yaml.safe_dump(data | {"criteria": [criterion]}, allow_unicode=True), encoding="utf-8")
    return path


@pytest.mark.parametrize("fault", [pytest.param(f, id=f.id, marks=marks(f)) for f in FAULTS])
def test_fault(plants: Plants, fault: Fault, tmp_path: Path) -> None:
    plant = plants.of(fault.criterion)

    async def verify() -> Result:
        await plant.wait_for_port("web", "web")
        await plant.wait_for_data(lambda _: None)
        await flowing(plant)
        if fault.criterion != "device.mon.realtime":
            await old_enough(plant)
        async with fault.inject(plant):
            return await run_plan(plan_for(plant, fault.criterion), tmp_path / "out")

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
