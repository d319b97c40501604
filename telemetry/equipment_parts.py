"""The parts of an equipment type: tag, alarm, control, relation, sentinels. Meanings: the header of equipment.yaml."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, PlainValidator, model_validator
from pydantic.dataclasses import dataclass

from telemetry.expression import Equation, Expression

STRICT = ConfigDict(extra="forbid", populate_by_name=True)
_VALUE = Expression.parse("value")


class TagKind(StrEnum):
    """What a tag is."""

    ANALOGUE = "a"
    COUNTER = "c"
    BOOLEAN = "b"
    ENUM = "e"
    LABORATORY = "l"
    DERIVED = "d"
    SETPOINT = "sp"


class ControlKind(StrEnum):
    """What a control point does."""

    SETPOINT = "setpoint"
    START = "start"
    STOP = "stop"
    ACTION = "action"


class Challenge(StrEnum):
    """Whether a control may be used for an inspector's test."""

    FREE = "free"
    NEEDS_ALLOW_STOP = "needs_allow_stop"
    NEVER = "never"


class Direction(StrEnum):
    """How the process quantity answers."""

    TOWARD = "toward"
    TO_VALUE = "to_value"
    UP = "up"
    DOWN = "down"


class Stat(StrEnum):
    """Which turning points of a cycling quantity answer."""

    PEAK = "peak"
    TROUGH = "trough"


class RelationKind(StrEnum):
    """Whether a relation holds at one moment or over a window."""

    INSTANT = "instant"
    WINDOW = "window"


def _formula(raw: Any) -> Expression:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise ValueError("expected an expression")
    return Expression.parse(str(raw))


def _window_formula(raw: Any) -> Expression:
    return Expression.parse(raw if isinstance(raw, str) else repr(raw), window=True)


def _expected(raw: Any) -> tuple[Expression, ...]:
    return tuple(_formula(x) for x in raw) if isinstance(raw, list) else (_formula(raw),)


def _state(raw: Any) -> Any:
    if not (isinstance(raw, list) and len(raw) == 2):
        raise ValueError("expected [name, zh]")
    return State(name=raw[0], zh=raw[1])


Formula = Annotated[Expression, PlainValidator(_formula)]
WindowFormula = Annotated[Expression, PlainValidator(_window_formula)]


@dataclass(frozen=True, config=STRICT)
class State:
    """What one value of an enum means; `name` of a run state is one of Meta.run_state_names."""

    name: str
    zh: str


@dataclass(frozen=True, config=STRICT)
class Tag:
    """One quantity. lo..hi is the typical range while running, `normal` the value of the reference machine,
    `period_s` its sampling period, `resolution` the step in which a machine shows it."""

    id: str
    zh: str
    unit: str
    lo: float
    hi: float
    normal: Annotated[float, Field(alias="n")]
    period_s: Annotated[float, Field(alias="s", gt=0)]
    resolution: Annotated[float, Field(alias="res", gt=0)]
    kind: Annotated[TagKind, Field(alias="k")] = TagKind.ANALOGUE
    states: Mapping[int, Annotated[State, PlainValidator(_state)]] = Field(default_factory=dict[int, State])

    @property
    def resolution_text(self) -> str:
        """Decimal text, such as "0.001", for a tag dictionary."""
        return format(Decimal(repr(self.resolution)).normalize(), "f")

    @property
    def writable(self) -> bool:
        """Whether it is a set-point or command register."""
        return self.kind is TagKind.SETPOINT


@dataclass(frozen=True, config=STRICT)
class Status:
    """Which tags are run state, remote mode, local lock-out (1 = locked) and trip summary."""

    run_state: str
    remote_mode: str
    local_lockout: str
    trip: str


@dataclass(frozen=True, config=STRICT)
class Alarm:
    """`op` is ">", "<", "==", "abs>" (magnitude) or "ratio<tag" (this tag over that one); a limit may be None.
    No alarm while `inhibit` holds and for `inhibit_s` after. `pack` = the tags whose window belongs to the alarm."""

    id: str
    tag: str
    zh: str
    op: Annotated[str, Field(pattern=r"^(>|<|==|abs>|ratio<\w+)$")]
    warn: float | None
    trip: float | None
    delay_s: float
    pack: tuple[str, ...]
    inhibit: Formula | None = None
    inhibit_s: float = 0.0


@dataclass(frozen=True, config=STRICT)
class Response:
    """The process quantity that must answer a command within `settle_s`; `expect` are the values any of which will do
    (empty for up and down); no answer can be asked for unless `when` holds at the command."""

    tag: str
    direction: Direction
    tol: float
    settle_s: float
    expect: Annotated[tuple[Expression, ...], PlainValidator(_expected)] = ()
    when: Formula = Expression.parse("always")
    stat: Stat | None = None
    at: float | None = None

    @property
    def expected(self) -> tuple[Expression, ...]:
        """`expect`, or the value written where none is given."""
        has_target = self.direction in (Direction.TOWARD, Direction.TO_VALUE)
        return self.expect or ((_VALUE,) if has_target else ())


@dataclass(frozen=True, config=STRICT)
class Control:
    """A declared control point; see the file's header for each field. `together` are registers written in the same
    request. Everything not declared is denied."""

    id: str
    zh: str
    kind: ControlKind
    unit: str
    lo: float
    hi: float
    max_step: float
    write: str
    echo: str
    readback: str
    responses: Annotated[tuple[Response, ...], Field(alias="response")]
    challenge: Challenge
    pre: tuple[Formula, ...]
    echo_s: float
    together: Annotated[Mapping[str, float], Field(alias="with")] = Field(default_factory=dict[str, float])
    min_step: float | None = None
    max_rate: float | None = None
    two_person: bool = False
    min_interval_s: float = 0.0
    operator_notice: bool = False
    legal_basis: bool = False
    device_delay_s: float = 0.0
    cool_down_s: float = 0.0
    fresh_s: float | None = None
    undo: str | None = None
    hold_s: float | None = None
    revert_s: float | None = None
    cycle_s: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_response_is_a_list_of_one(cls, raw: Any) -> Any:
        data = getattr(raw, "kwargs", raw)
        if isinstance(data, dict) and isinstance(data.get("response"), dict):
            return {**data, "response": [data["response"]]}
        return raw

    def response_to(self, value: float) -> Response | None:
        """The answer due to a written value; None where the point declares none for it."""
        return next((r for r in self.responses if r.at is None or r.at == value), None)


@dataclass(frozen=True, config=STRICT)
class Relation:
    """A law between tags: `equation` true if |left - right| <= max(tol*|right|, atol), or `cond` true."""

    id: str
    kind: RelationKind
    when: WindowFormula
    basis: str
    equation: Annotated[
        Equation | None, Field(alias="eq"), PlainValidator(lambda raw: Equation.parse(str(raw), window=True))
    ] = None
    cond: WindowFormula | None = None
    tol: float = 0.0
    atol: float = 0.0
    after_s: float = 0.0
    over_s: float = 0.0
    text: str = ""

    @model_validator(mode="after")
    def _complete(self) -> "Relation":
        if (self.equation is None) == (self.cond is None):
            raise ValueError("expected either eq or cond")
        if (self.kind is RelationKind.WINDOW) != (self.over_s > 0):
            raise ValueError("over_s belongs to a window relation, and only to it")
        if self.kind is RelationKind.INSTANT and any(e.window for e in self.expressions):
            raise ValueError("rate, moved_km and hours need a window")
        return self

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """Every expression of the relation."""
        sides = (self.equation.left, self.equation.right) if self.equation else ()
        return (self.when, *sides, *((self.cond,) if self.cond else ()))

    @property
    def names(self) -> frozenset[str]:
        """Tags the relation speaks of."""
        return frozenset[str]().union(*(e.names for e in self.expressions))

    def allowed(self, right: Any) -> Any:
        """Largest |left - right| for a right side (float or array)."""
        return np.maximum(self.tol * np.abs(right), self.atol)


@dataclass(frozen=True, config=STRICT)
class SentinelCode:
    """Raw contents meaning `code`, by register width; a pair is a range (ends included)."""

    code: str
    zh: str
    u16: int | tuple[int, int] | None = None
    s16: int | tuple[int, int] | None = None
    u32: int | tuple[int, int] | None = None
    s32: int | tuple[int, int] | None = None
    basis: str = ""


@dataclass(frozen=True, config=STRICT)
class Sentinels:
    """Register contents that mean not available."""

    basis: str
    widths: Mapping[str, tuple[str, ...]]
    often_missing: tuple[str, ...]
    without_current: tuple[str, ...]
    codes: tuple[SentinelCode, ...]
