"""What evaluation remembers of a machine between batches, and its JSON.

A machine has two lanes. The *live* lane sees rows as they come; rows that come late (back-filled) run through the *late*
lane, so that the past never changes what is pending or active now.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

LEVELS = {"high": 1, "low": 1, "high_high": 2, "low_low": 2, "state": 1, "rate": 1, "stale": 1}  # the rank of each
NEVER = -(1 << 62)


class Row(NamedTuple):
    """A value at a time, with its quality."""

    t: int
    v: float
    q: int


@dataclass(slots=True)
class RuleMemory:
    """A rule on a machine: the version last applied; `since`: the row from which on a level's condition holds; the open
    alarm's level, if there is one."""

    version: int
    since: dict[str, Row] = field(default_factory=dict[str, Row])
    alarm: str | None = None  # id
    level: str | None = None
    side: int = 0

    @property
    def busy(self) -> bool:
        """Whether any row of its tag matters, not only one beyond a limit."""
        return bool(self.since) or self.alarm is not None


@dataclass(slots=True)
class InhibitMemory:
    """An inhibiting expression: its value now (None: not all of its tags have been seen), and since when it is false."""

    value: bool | None = None
    free_ms: int = NEVER


@dataclass(slots=True)
class Lane:
    """`newest`: by tag, of the tags that rules use. `watermark`: the newest time of any counted row."""

    newest: dict[str, Row] = field(default_factory=dict[str, Row])
    watermark: int = NEVER
    rules: dict[str, RuleMemory] = field(default_factory=dict[str, RuleMemory])
    inhibits: dict[str, InhibitMemory] = field(default_factory=dict[str, InhibitMemory])


@dataclass(slots=True)
class DeviceMemory:
    """`heard_ms`: arrival of the last item with a live row of it; `edge`: who carries it."""

    live: Lane = field(default_factory=Lane)
    late: Lane = field(default_factory=Lane)
    heard_ms: int = 0
    late_heard_ms: int = 0
    edge: str = ""
    type: str = ""
    simulated: bool = False


def encode(memory: DeviceMemory) -> bytes:
    """JSON of it."""
    return orjson.dumps(
        {
            "live": _lane(memory.live),
            "late": _lane(memory.late),
            "heard": memory.heard_ms,
            "late_heard": memory.late_heard_ms,
            "edge": memory.edge,
            "type": memory.type,
            "simulated": memory.simulated,
        }
    )


def decode(data: bytes) -> DeviceMemory:
    """Inverse of `encode`."""
    raw = orjson.loads(data)
    return DeviceMemory(
        live=_read_lane(raw["live"]),
        late=_read_lane(raw["late"]),
        heard_ms=raw["heard"],
        late_heard_ms=raw["late_heard"],
        edge=raw["edge"],
        type=raw["type"],
        simulated=raw["simulated"],
    )


def _lane(lane: Lane) -> dict[str, Any]:
    return {
        "newest": {tag: [row.t, row.v, row.q] for tag, row in lane.newest.items()},
        "watermark": lane.watermark,
        "rules": {
            name: [
                one.version,
                {level: [row.t, row.v, row.q] for level, row in one.since.items()},
                one.alarm,
                one.level,
                one.side,
            ]
            for name, one in lane.rules.items()
        },
        "inhibits": {text: [one.value, one.free_ms] for text, one in lane.inhibits.items()},
    }


def _read_lane(raw: dict[str, Any]) -> Lane:
    return Lane(
        newest={tag: Row(int(t), float(v), int(q)) for tag, (t, v, q) in raw["newest"].items()},
        watermark=raw["watermark"],
        rules={
            name: RuleMemory(
                version,
                {level: Row(int(t), float(v), int(q)) for level, (t, v, q) in since.items()},
                alarm,
                level,
                side,
            )
            for name, (version, since, alarm, level, side) in raw["rules"].items()
        },
        inhibits={text: InhibitMemory(value, free) for text, (value, free) in raw["inhibits"].items()},
    )
