"""Steps a machine and keeps what it shows, as columns rounded to each tag's resolution."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulators.machine import Machine

Column = npt.NDArray[np.float64]
Action = Callable[[Machine], None]


@dataclass(frozen=True)
class Recording:
    """`times` in seconds since the machine's construction; one column per tag, `exact` and as `shown` (rounded)."""

    times: Column
    exact: Mapping[str, Column]
    shown: Mapping[str, Column]


def record(
    machine: Machine, seconds: float, *, dt_s: float = 1.0, actions: Mapping[float, Action] | None = None
) -> Recording:
    """Step for `seconds`; each action runs before the first step that begins at or after its time from now."""
    due = sorted((actions or {}).items())
    names = [tag.id for tag in machine.type.tags]
    steps = round(seconds / dt_s)
    times = np.empty(steps)
    rows = np.empty((steps, len(names)))
    values = machine.values
    began = machine.elapsed_s
    for i in range(steps):
        while due and due[0][0] <= machine.elapsed_s - began + 1e-9:
            due.pop(0)[1](machine)
        machine.step(dt_s)
        times[i] = machine.elapsed_s
        rows[i] = [values[name] for name in names]
    exact = {name: rows[:, i] for i, name in enumerate(names)}
    steps_of = {tag.id: tag.resolution for tag in machine.type.tags}
    shown = {name: np.round(column / steps_of[name]) * steps_of[name] for name, column in exact.items()}
    return Recording(times, exact, shown)
