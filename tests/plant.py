"""A simulated plant for tests: in this process, on free ports, with a control client.

async with simulated_plant(tmp_path, machines=["motor-1:large_motor"]) as plant:
    plant.point_list("motor-1")          # the true list of points, ready for a driver or a reader
    await plant.control.fault("motor-1", "freeze")
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from simulators.control import ControlClient
from simulators.journal import read
from simulators.plant import Plant
from simulators.settings import PlantSettings

ALL = (
    "boiler-1:industrial_boiler",
    "motor-1:large_motor",
    "compressor-1:air_compressor",
    "pv-1:photovoltaic",
    "cnc-1:cnc_machine",
)


class TestPlant(Plant):
    """A Plant with a connected control client."""

    __test__ = False
    control: ControlClient

    def journal(self, uid: str) -> list[dict[str, Any]]:
        """The whole lines of a machine's journal."""
        return read(self.journal_path(uid))


@asynccontextmanager
async def simulated_plant(
    folder: Path, *, machines: Sequence[str | dict[str, Any]] = ALL, **settings: Any
) -> AsyncIterator[TestPlant]:
    """A running plant. A machine is "uid:type" or a MachineSettings as a dict; `settings` are PlantSettings' fields."""
    entries = [dict(zip(("uid", "type"), m.split(":"), strict=True)) if isinstance(m, str) else m for m in machines]
    made = PlantSettings.model_validate({"machines": entries, "state": folder, **settings})
    async with TestPlant(made) as plant, ControlClient(made.host, plant.control_port) as control:
        plant.control = control
        yield plant


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], *, within_s: float = 10.0, what: str = ""
) -> None:
    """Wait until a condition holds. Raises AssertionError after `within_s`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while True:
        result = condition()
        if await result if isinstance(result, Awaitable) else result:
            return
        if loop.time() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what or condition}")
        await asyncio.sleep(0.02)
