"""The part program that the simulated machining centre runs: operations in order, with speeds, feeds and loads."""

from dataclasses import dataclass
from enum import Enum, IntEnum, auto


class CncState(IntEnum):
    """run_state."""

    OFF = 0
    IDLE = 1
    RUNNING = 2
    PAUSED = 3
    FAULT = 4


class Move(Enum):
    """What an operation does."""

    TOOL_CHANGE = auto()
    SPIN_UP = auto()
    RAPID = auto()
    CUT = auto()
    PART_CHANGE = auto()


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: `feed` in mm/min (whole thousands, so that every per cent of it lies on the display's grid of 10),
    `rpm` programmed, `load` of the spindle in per cent at full feed, `seconds` at 100 %."""

    move: Move
    seconds: float
    tool: int
    rpm: float = 0.0
    feed: float = 0.0
    load: float = 0.0


def _tool(number: int, rpm: float, feed: float, load: float, passes: tuple[float, ...]) -> tuple[Op, ...]:
    ops = [Op(Move.TOOL_CHANGE, 5.0, number), Op(Move.SPIN_UP, 1.0, number, rpm)]
    for seconds in passes:
        ops.append(Op(Move.RAPID, 2.5, number, rpm, 10_000.0))
        ops.append(Op(Move.CUT, seconds, number, rpm, feed, load))
    return tuple(ops)


PROGRAM: tuple[Op, ...] = (
    Op(Move.PART_CHANGE, 12.0, 7),
    *_tool(7, 6000.0, 2000.0, 45.0, (46.0, 46.0)),
    *_tool(12, 8000.0, 3000.0, 36.0, (34.0, 34.0)),
    *_tool(3, 4000.0, 1000.0, 55.0, (30.0,)),
    *_tool(18, 10000.0, 2000.0, 28.0, (40.0,)),
)
