"""The rule pack as frozen types. Every key of criteria.yaml has a field here; a key that has none is refused.

Money is CNY, `min: null` in a pool means that the star does not ask for it, dates are calendar dates in the scheme's
time zone.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Star = Literal[3, 4, 5]
STARS: tuple[Star, ...] = (3, 4, 5)


class Frozen(BaseModel):
    """A key that nobody reads is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Meta(Frozen):
    scheme_id: str
    ruleset_id: str
    schema_version: Literal[1]
    scheme_zh: str
    notice_zh: str
    doc_no: str
    guide_zh: str
    issuer_zh: str
    issued: dt.date
    timezone: str
    attachments: dict[str, str]
    attachment_2_text_available: bool


class PaymentWindow(Frozen):
    """Payments made from `from` to `to`, both days included."""

    start: dt.date = Field(alias="from")
    end: dt.date = Field(alias="to")
    basis: Literal["payment_date"]
    inclusive: Literal[True]


class Dates(Frozen):
    platform_open: dt.date
    local_deadline: dt.date | None
    city_to_province_deadline: dt.date
    service_cutoff: dt.date
    service_min_continuous: Literal["P3M"]
    service_latest_start: dt.date
    service_in_use_at: Literal["application_date"]
    payment_window: PaymentWindow


class Prerequisite(Frozen):
    id: str
    zh: str
    stars: tuple[Star, ...]
    check: str
    doc: str | None = None
    amb: str | None = None


class Leaf(Frozen):
    """A countable sub-domain (子域). `in_table` is false for the one that stands in the text only."""

    id: str
    zh: str
    domain_zh: str | None = None
    text_zh: str | None = None
    alias_zh: str | None = None
    group_zh: str | None = None
    examples_zh: tuple[str, ...] = ()
    open_ended: bool = False
    in_table: bool = True
    in_text: bool | None = None
    amb: str | None = None


class Item(Frozen):
    """A row of the table that is not counted but judged: a narrative, the time, the money."""

    id: str
    zh: str
    kind: Literal["text"] | None = None
    req_zh: str | None = None
    stars: tuple[Star, ...] = STARS
    note: int | None = None
    strictly_greater_than_cny: dict[Star, int] | None = None
    remark_zh: str | None = None
    amb: str | None = None


class Subclass(Frozen):
    id: str
    zh: str
    note: int | None = None
    leaves: tuple[Leaf, ...] = ()
    kind: Literal["amount_cny_10k"] | None = None
    threshold: None = None
    stars: tuple[Star, ...] = STARS
    amb: str | None = None


class Class(Frozen):
    id: str
    zh: str
    items: tuple[Item, ...] = ()
    subclasses: tuple[Subclass, ...] = ()
    leaves: tuple[Leaf, ...] = ()


class Note(Frozen):
    zh: str
    amb: str | None = None


class Pool(Frozen):
    """`from` names subclasses (or a class) whose leaves are counted; `minimum` by star."""

    sources: tuple[str, ...] = Field(alias="from")
    size: int
    named: int
    open_ended: int
    minimum: dict[Star, int | None] = Field(alias="min")
    size_with_alarm: int | None = None
    size_if_new_mode_is_one: int | None = None


class AtLeast(Frozen):
    at_least: int
    of: tuple[str, ...]


class InvestmentAbove(Frozen):
    investment_gt_cny: int


class ReportOnly(Frozen):
    report_only: str


Term = str | AtLeast | InvestmentAbove | ReportOnly


class Onsite(Frozen):
    min_ratio_of_applicants: float
    scope_zh: str
    star_coverage: tuple[Star, ...]
    checklist_in_source: bool
    amb: str


class Procedure(Frozen):
    steps_zh: tuple[str, ...]
    evaluator: dict[Star, str]
    onsite: Onsite


class Statement(Frozen):
    """An atomic statement: `live` is what a machine can verify, `paper` what an inspector would want to see."""

    id: str
    need: Literal["must", "should", "any_of_group"]
    group: str | None = None
    en: str
    zh: str
    live: str
    paper: str


class Atoms(Frozen):
    def_zh: str
    statements: tuple[Statement, ...]


class Check(Frozen):
    id: str
    rule: str
    fail: str | None = None


class OtherCheck(Frozen):
    inputs: tuple[str, ...]
    checks: tuple[Check, ...]
    docs: tuple[str, ...]
    kpi_examples: dict[str, str] = Field(default_factory=dict)


class Version(Frozen):
    year: int
    doc: str | None
    facts: str
    table_seen: bool
    src: str | None = None


class Ambiguity(Frozen):
    """`default` is the reading used for pass or fail; `alt` is computed and shown beside it."""

    zh: str
    default: str
    alt: str


class Criteria(Frozen):
    """criteria.yaml."""

    meta: Meta
    dates: Dates
    prerequisites: tuple[Prerequisite, ...]
    classes: tuple[Class, ...]
    notes: dict[int, Note]
    pools: dict[str, Pool]
    gates: dict[Star, tuple[Term, ...]]
    remark_business_zh: str
    investment_scope: dict[Star, tuple[str, ...]]
    procedure: Procedure
    atoms: dict[str, Atoms]
    other_checks: dict[str, OtherCheck]
    versions_found: tuple[Version, ...]
    ambiguity_defaults: dict[str, Ambiguity]

    def leaves(self) -> Iterator[tuple[str, Leaf]]:
        """(id of the subclass or class that holds it, leaf) in the table's order."""
        for each in self.classes:
            for subclass in each.subclasses:
                for leaf in subclass.leaves:
                    yield subclass.id, leaf
            for leaf in each.leaves:
                yield each.id, leaf

    def items(self) -> dict[str, Item]:
        """The rows that are judged, not counted."""
        return {item.id: item for each in self.classes for item in each.items}

    def statement(self, statement_id: str) -> tuple[str, Statement]:
        """(criterion, statement). Raises KeyError."""
        for criterion, atoms in self.atoms.items():
            for statement in atoms.statements:
                if statement.id == statement_id:
                    return criterion, statement
        raise KeyError(statement_id)


class Threshold(Frozen):
    """A number that decides something, with the reason for it."""

    value: float
    unit: str
    op: Literal["<=", "<", ">=", ">", "=="]
    why_zh: str
    why_en: str


class Thresholds(Frozen):
    """thresholds.yaml: numbers by criterion and name."""

    schema_version: Literal[1]
    criteria: dict[str, dict[str, Threshold]]


def term_name(term: Any) -> str:
    """A term of a gate as a short name."""
    match term:
        case AtLeast():
            return f"at_least_{term.at_least}_of_" + "_".join(term.of)
        case InvestmentAbove():
            return "effect.investment"
        case ReportOnly():
            return term.report_only
        case _:
            return str(term)
