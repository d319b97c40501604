"""What an observer is handed: the plan, one clock, the cloud's API, and the plant's machines with their readers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from telemetry.points import Machine
from verifier.observing.cloud import Cloud
from verifier.observing.page import Viewer, open_viewer
from verifier.plan import Plan
from verifier.readers.base import Clock, Reader, steady_clock
from verifier.readers.open import quiet_libraries, reader_for
from verifier.rules.pack import RulePack

Progress = Callable[[str, float], None]


def silent_progress(_step: str, _share: float) -> None:
    """Nobody watches."""


@dataclass
class Chain:
    """The chain under test as the verifier reaches it."""

    plan: Plan
    pack: RulePack
    clock: Clock
    cloud: Cloud
    progress: Progress = silent_progress
    _viewer: Viewer | None = field(default=None, repr=False)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """The machines in scope."""
        return self.plan.machines

    def reader(self, machine: Machine) -> Reader:
        """A new reader of a machine."""
        return reader_for(machine, self.clock, self.plan.credentials)

    async def viewer(self) -> Viewer | None:
        """An ordinary viewer of the pages, logged in once for all criteria (see its `fault`); None where the plan names no
        page."""
        if self._viewer is None:
            settings = self.plan.settings
            self._viewer = await open_viewer(
                settings.page, self.plan.viewer_password, timeout_s=settings.cloud.timeout_s, clock=self.clock
            )
        return self._viewer

    async def close(self) -> None:
        await self.cloud.close()
        if self._viewer is not None:
            await self._viewer.close()


def open_chain(plan: Plan, pack: RulePack, progress: Progress = silent_progress) -> Chain:
    """A chain for a plan. Opens nothing yet."""
    quiet_libraries()
    clock = steady_clock()
    cloud = Cloud(plan.settings.cloud.url, plan.token, timeout_s=plan.settings.cloud.timeout_s, clock=clock)
    return Chain(plan, pack, clock, cloud, progress)


async def pause(seconds: float) -> None:
    """Let time pass (time is what is being measured here)."""
    await asyncio.sleep(max(0.0, seconds))
