"""What a fault is: how it is put in and taken out, and the sets of findings that must come of it.

A finding is "statement machine". Everything not named passes. The sets were written before the verifier was run.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from starproof.demo.layout import MACHINES
from starproof.demo.run import DemoPlant
from tests.chain.harness import committed, drained, until
from tests.faults.altered import altering

UIDS = tuple(uid for uid, _, _ in MACHINES)
NOTHING: frozenset[str] = frozenset()


def of(machine: str, *statements: str) -> frozenset[str]:
    """Findings of one machine."""
    return frozenset(f"{statement} {machine}" for statement in statements)


async def flowing(plant: DemoPlant) -> None:
    """Wait until values flow through the whole chain: new ones are committed and reach the historian."""
    more = committed(plant) + 10
    await until(lambda: committed(plant) > more and drained(plant), "values to flow", 60)


OLD_ENOUGH_MS = 45_000


async def old_enough(plant: DemoPlant) -> None:
    """Wait until the plant has a past to look into: windows of history, raw rows before an alarm."""

    def is_old() -> bool:
        cover = plant.get(f"/api/v1/devices/{UIDS[0]}/coverage?from=0&to={1 << 52}")
        first = min((tag["first"] for tag in cover["tags"].values()), default=cover["server_ms"])
        return cover["server_ms"] - first > OLD_ENOUGH_MS

    await until(is_old, "the plant to have a past", OLD_ENOUGH_MS / 1000 + 60)


def every(*statements: str) -> frozenset[str]:
    """Findings of all machines."""
    return frozenset().union(*(of(uid, *statements) for uid in UIDS))


Inject = Callable[[DemoPlant], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """A fault of one criterion: how it is put in and taken out, and what must come of it. `blocked` findings are not_checked
    because of
    another statement; `open` ones are not_checked for a reason of their own. `quick` ones run in `make test` too."""

    id: str
    zh: str
    inject: Inject
    fail: frozenset[str] = NOTHING
    blocked: frozenset[str] = NOTHING
    review: frozenset[str] = NOTHING
    open: frozenset[str] = NOTHING
    quick: bool = False
    criterion: str = "device.mon.realtime"


@asynccontextmanager
async def nothing(_: DemoPlant) -> AsyncIterator[None]:
    yield


def stopped(name: str) -> Inject:
    """A service that does not run."""

    @asynccontextmanager
    async def inject(plant: DemoPlant) -> AsyncIterator[None]:
        plant.processes.stop(name)
        try:
            yield
        finally:
            plant.start(name)

    return inject


@asynccontextmanager
async def through(plant: DemoPlant, **lie: Any) -> AsyncIterator[None]:
    """Whoever verifies comes through a proxy that lies (see tests.faults.altered)."""
    path = plant.layout.file("plan.yaml")
    right = path.read_text(encoding="utf-8")
    url = yaml.safe_load(right)["cloud"]["url"]
    async with altering(url, **lie) as proxy:
        path.write_text(right.replace(url, proxy), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(right, encoding="utf-8")
