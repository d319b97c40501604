"""Whose turn it is: each task of a device on its own fixed grid of period multiples.

No drift: due times are start + n * period, whatever the work took. A grid point that has passed is skipped and counted,
never made up for, so a slow device is asked less often, not in bursts.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from telemetry.clock import mono_ms

What = TypeVar("What")


@dataclass(slots=True)
class Turn(Generic[What]):
    """Something to do every `period_ms`, next at monotonic time `due_ms`."""

    what: What
    period_ms: int
    due_ms: int

    def advance(self) -> int:
        """To the first grid point after now; returns how many were passed over."""
        steps = max(1, (mono_ms() - self.due_ms) // self.period_ms + 1)
        self.due_ms += steps * self.period_ms
        return steps - 1


async def next_turn(turns: Sequence[Turn[What]]) -> Turn[What]:
    """Wait for the turn that is due first, and give it."""
    turn = min(turns, key=lambda t: t.due_ms)
    await asyncio.sleep(max(0, turn.due_ms - mono_ms()) / 1000)
    return turn
