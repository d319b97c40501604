"""Alarm rules: what they are, and their store. A rule's versions are only ever added; the newest is in force.

Invariant: every change, in its own transaction, raises the enterprise's `rules` counter, which the engine reads before each
batch: a change is in force from the next row on.
"""

import re
import secrets
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from sqlalchemy import Connection, select, update

from cloud.alarms import counting, tables
from ingest.sql import insert_for
from telemetry.expression import Expression, ExpressionError

Kind = Literal["limit", "state", "rate", "stale"]
Source = Literal["equipment", "user", "inspector"]
_LIMITS = ("high", "high_high", "low", "low_low")
_TEXT = r"^[^\x00]*$"  # PostgreSQL keeps no NUL
_ID = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


class RuleError(ValueError):
    """This rule cannot be kept. `code`: unknown_rule, changed_meanwhile, retired or invalid_rule."""

    def __init__(self, code: str, zh: str, en: str) -> None:
        super().__init__(en)
        self.code, self.zh, self.en = code, zh, en


class RuleBody(BaseModel):
    """What a person says of a rule. For one machine (`device`), or for every machine of an equipment type (`type`).

    Values are in the tag's unit; `rate_per_s` is a magnitude in unit/s; `delay_s`, `stale_s`, `inhibit_s` in seconds. A limit
    rule compares the value, its magnitude (`absolute`) or its ratio to another tag's newest value (`divisor`)."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    device: str | None = Field(default=None, min_length=1, max_length=128, pattern=_TEXT)
    type: str | None = Field(default=None, min_length=1, max_length=64, pattern=_TEXT)
    tag: str = Field(default="", max_length=128, pattern=_TEXT)
    zh: str = Field(min_length=1, max_length=200, pattern=_TEXT)
    en: str = Field(default="", max_length=200, pattern=_TEXT)
    kind: Kind = "limit"
    high: float | None = None
    high_high: float | None = None
    low: float | None = None
    low_low: float | None = None
    absolute: bool = False
    divisor: str | None = Field(default=None, min_length=1, max_length=128, pattern=_TEXT)
    states: list[int] = Field(default_factory=list[int], max_length=64)
    rate_per_s: float | None = Field(default=None, gt=0)
    stale_s: float | None = Field(default=None, ge=1, le=30 * 86_400)
    delay_s: float = Field(default=0.0, ge=0, le=86_400)
    hysteresis: float = Field(default=0.0, ge=0)
    priority: int = Field(default=3, ge=1, le=4)
    inhibit: str | None = Field(default=None, max_length=400)
    inhibit_s: float = Field(default=0.0, ge=0, le=86_400)
    related: list[str] = Field(default_factory=list[str], max_length=64)
    channels: list[str] = Field(default_factory=list[str], max_length=64)
    enabled: bool = True

    @field_validator("inhibit")
    @classmethod
    def _expression(cls, value: str | None) -> str | None:
        if value is None or not value.strip():
            return None
        try:
            Expression.parse(value)
        except ExpressionError as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("states")
    @classmethod
    def _small(cls, value: list[int]) -> list[int]:
        if any(abs(state) > 1 << 53 for state in value):
            raise ValueError("a state is a whole number of at most 53 bits")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.device is None) == (self.type is None):
            raise ValueError("either device or type")
        if (self.tag == "") != (self.kind == "stale"):
            raise ValueError("a tag, except for a stale rule, which is of the whole machine")
        needed = {
            "limit": any(getattr(self, name) is not None for name in _LIMITS),
            "state": bool(self.states),
            "rate": self.rate_per_s is not None,
            "stale": self.stale_s is not None,
        }
        if not needed[self.kind]:
            raise ValueError(f"a {self.kind} rule without its limit")
        for first, second in (("high", "high_high"), ("low_low", "low"), ("low", "high")):
            below, above = getattr(self, first), getattr(self, second)
            if below is not None and above is not None and not below < above:
                raise ValueError(f"{first} must be below {second}")
        return self


class Rule(RuleBody):
    """A version of a rule, as it is kept."""

    id: str
    version: int
    source: Source
    retired_ms: int | None = None
    changed_ms: int
    changed_by: str

    @property
    def in_use(self) -> bool:
        """Whether it may raise anything."""
        return self.enabled and self.retired_ms is None


def usable_id(text: str) -> bool:
    """Whether a rule can be called so."""
    return _ID.fullmatch(text) is not None


def _read(text: str) -> Rule:
    return Rule.model_validate_json(text)


def create(
    db: Connection,
    enterprise: str,
    body: RuleBody,
    *,
    source: Source,
    by: str,
    now_ms: int,
    rule_id: str | None = None,
) -> Rule | None:
    """Enter a rule as version 1; None if one of this id is there (only where `rule_id` is given)."""
    rule = Rule(
        **body.model_dump(),
        id=rule_id or f"r-{secrets.token_hex(6)}",
        version=1,
        source=source,
        changed_ms=now_ms,
        changed_by=by,
    )
    if not usable_id(rule.id):
        raise RuleError("invalid_rule", f"规则编号 {rule.id!r} 无法使用", f"a rule cannot be called {rule.id!r}")
    values = {"version": 1, "device": rule.device, "type": rule.type, "retired_ms": None}
    statement = insert_for(db, tables.rules).values(enterprise=enterprise, rule=rule.id, **values)
    if db.execute(statement.on_conflict_do_nothing().returning(tables.rules.c.rule)).first() is None:
        return None
    _add_version(db, enterprise, rule)
    return rule


def change(
    db: Connection,
    enterprise: str,
    rule_id: str,
    body: RuleBody,
    *,
    by: str,
    now_ms: int,
    if_version: int | None = None,
) -> tuple[Rule, Rule]:
    """A new version of a rule; gives (before, after). Raises RuleError."""
    before = get(db, enterprise, rule_id)
    if before.retired_ms is not None:
        raise RuleError("retired", "规则已停用，不能修改", "the rule is retired")
    return _next(db, enterprise, before, {**body.model_dump()}, by=by, now_ms=now_ms, if_version=if_version)


def retire(db: Connection, enterprise: str, rule_id: str, *, by: str, now_ms: int) -> tuple[Rule, Rule]:
    """End a rule for good; gives (before, after), the same twice if it was ended before. Raises RuleError."""
    before = get(db, enterprise, rule_id)
    if before.retired_ms is not None:
        return before, before
    return _next(db, enterprise, before, {"retired_ms": now_ms}, by=by, now_ms=now_ms, if_version=None)


def _next(
    db: Connection,
    enterprise: str,
    before: Rule,
    changes: dict[str, object],
    *,
    by: str,
    now_ms: int,
    if_version: int | None,
) -> tuple[Rule, Rule]:
    changed_ms = max(now_ms, before.changed_ms)  # versions follow one another in time, too
    new = {"version": before.version + 1, "changed_ms": changed_ms, "changed_by": by}
    after = Rule.model_validate({**before.model_dump(), **changes, **new})
    table = tables.rules
    moved = db.execute(
        update(table)
        .where(
            table.c.enterprise == enterprise,
            table.c.rule == before.id,
            table.c.version == (before.version if if_version is None else if_version),
            table.c.version == before.version,
        )
        .values(version=after.version, device=after.device, type=after.type, retired_ms=after.retired_ms)
    )
    if moved.rowcount == 0:
        raise RuleError("changed_meanwhile", "规则已被他人修改，请重新读取", "the rule has been changed meanwhile")
    _add_version(db, enterprise, after)
    return before, after


def _add_version(db: Connection, enterprise: str, rule: Rule) -> None:
    db.execute(
        tables.rule_versions.insert().values(
            enterprise=enterprise,
            rule=rule.id,
            version=rule.version,
            body=rule.model_dump_json(),
            changed_ms=rule.changed_ms,
            changed_by=rule.changed_by,
        )
    )
    counting.bump(db, enterprise, "rules")


def get(db: Connection, enterprise: str, rule_id: str) -> Rule:
    """The newest version of a rule. Raises RuleError if there is none."""
    return versions(db, enterprise, rule_id)[-1]


def versions(db: Connection, enterprise: str, rule_id: str) -> list[Rule]:
    """All versions of a rule, oldest first. Raises RuleError if there is none."""
    table = tables.rule_versions
    query = select(table.c.body).where(table.c.enterprise == enterprise, table.c.rule == rule_id)
    found = [_read(row.body) for row in db.execute(query.order_by(table.c.version))]
    if not found:
        raise RuleError("unknown_rule", f"没有规则 {rule_id}", f"there is no rule {rule_id}")
    return found


def version(db: Connection, enterprise: str, rule_id: str, number: int) -> Rule | None:
    """One version of a rule."""
    table = tables.rule_versions
    body = db.execute(
        select(table.c.body).where(table.c.enterprise == enterprise, table.c.rule == rule_id, table.c.version == number)
    ).scalar()
    return None if body is None else _read(body)


def newest(db: Connection, enterprise: str, *, retired: bool = True) -> list[Rule]:
    """The newest version of every rule of an enterprise."""
    heads, table = tables.rules, tables.rule_versions
    query = (
        select(table.c.body)
        .join(
            heads,
            (heads.c.enterprise == table.c.enterprise)
            & (heads.c.rule == table.c.rule)
            & (heads.c.version == table.c.version),
        )
        .where(heads.c.enterprise == enterprise)
        .order_by(heads.c.rule)
    )
    if not retired:
        query = query.where(heads.c.retired_ms.is_(None))
    return [_read(row.body) for row in db.execute(query)]


def history(db: Connection, enterprise: str) -> dict[str, list[Rule]]:
    """Every rule's versions, oldest first."""
    table = tables.rule_versions
    query = select(table.c.body).where(table.c.enterprise == enterprise).order_by(table.c.rule, table.c.version)
    out: dict[str, list[Rule]] = {}
    for row in db.execute(query):
        rule = _read(row.body)
        out.setdefault(rule.id, []).append(rule)
    return out


def of_device(found: list[Rule], uid: str, type_id: str) -> list[Rule]:
    """Those rules that concern a machine."""
    return [rule for rule in found if rule.device == uid or (rule.device is None and rule.type == type_id)]


def complaint(error: ValidationError) -> RuleError:
    """What is wrong with a body, in words."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "rule"
    return RuleError("invalid_rule", f"规则无法使用：{where}：{first['msg']}", f"{where}: {first['msg']}")
