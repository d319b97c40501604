"""Drivers of a configuration, running, and all that came of them."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from edge_agent.describe import to_dictionary
from edge_agent.drivers.base import Driver, LinkState
from edge_agent.drivers.build import make_drivers
from edge_agent.settings import AgentSettings
from telemetry.clock import mono_ms
from telemetry.dictionary import Dictionary
from telemetry.samples import Quality, Samples, quality


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Edge:
    """Drivers of a configuration, running, and all that came of them."""

    def __init__(self, *devices: dict[str, Any], state_dir: str = "s") -> None:
        self.settings = AgentSettings.model_validate(
            {
                "enterprise": "91350100M000100Y43",
                "edge": "e",
                "state_dir": state_dir,
                "broker": {"host": "h"},
                "keys": "k",
                "cloud_keys": "c",
                "devices": list(devices),
            }
        )
        self.dictionary: Dictionary = to_dictionary(self.settings)
        self.batches: list[Samples] = []
        self.links: list[tuple[str, LinkState]] = []
        self.details: list[str] = []
        self.nameplates: dict[str, Any] = {}
        self.drivers: list[Driver] = []

    def _link(self, uid: str, state: LinkState, detail: str) -> None:
        self.links.append((uid, state))
        self.details.append(detail)

    async def __aenter__(self) -> "Edge":
        self.drivers = list(
            make_drivers(
                self.settings,
                self.dictionary,
                emit=self.batches.append,
                on_link=self._link,
                on_nameplate=lambda uid, plate: self.nameplates.update({uid: plate}),
            )
        )
        self.tasks = [asyncio.create_task(d.run(), name=f"driver {d.uid}") for d in self.drivers]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        results = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert all(isinstance(r, asyncio.CancelledError) for r in results), results

    def rows(self, uid: str, tag: str) -> list[tuple[Any, int]]:
        """(value, quality) of a tag, in order of arrival."""
        number = self.dictionary.number(uid, tag)
        return [
            (batch.value_at(i), int(batch.quality[i]))
            for batch in self.batches
            for i in (batch.tag == number).nonzero()[0].tolist()
        ]

    def last(self, uid: str, tag: str) -> tuple[Any, int] | None:
        """The last (value, quality) of a tag."""
        number = self.dictionary.number(uid, tag)
        for batch in reversed(self.batches):
            found = (batch.tag == number).nonzero()[0]
            if len(found):
                row = int(found[-1])
                return batch.value_at(row), int(batch.quality[row])
        return None


async def until(condition: Callable[[], Any], *, seconds: float = 8.0) -> None:
    deadline = mono_ms() + seconds * 1000
    while not condition():
        assert mono_ms() < deadline, "condition not met in time"
        await asyncio.sleep(0.01)


def lost(reason: int) -> tuple[None, int]:
    """The row of a tag without a value."""
    return None, quality(Quality.BAD, reason, has_value=False)
