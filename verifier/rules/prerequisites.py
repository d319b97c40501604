"""The conditions on the applicant itself: each a pass, a fail, or a question for a person (review)."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from verifier.rules.facts import Facts
from verifier.rules.readings import Readings
from verifier.rules.types import Criteria, Star
from verifier.states import State

INDUSTRY = frozenset("BCD")  # GB/T 4754: mining, manufacturing, utilities
SOFTWARE = "I"  # information transmission, software and information services


@dataclass(frozen=True, slots=True)
class PrerequisiteResult:
    id: str
    zh: str
    state: State
    doc: str | None


def _known(value: bool | None) -> State:
    return State.REVIEW if value is None else State.PASS if value else State.FAIL


def one_year_after(day: dt.date) -> dt.date:
    """The same day a year on; 29 February becomes 28 February (the month's last day where the day is missing)."""
    try:
        return day.replace(year=day.year + 1)
    except ValueError:
        return day.replace(year=day.year + 1, day=28)


def _reference_date(rules: Criteria, facts: Facts, readings: Readings) -> dt.date:
    match readings["A07"]:
        case "application_date":
            return facts.application_date
        case "notice_date":
            return rules.meta.issued
        case "platform_open":
            return rules.dates.platform_open
        case _:
            return min(rules.dates.service_cutoff, facts.application_date)


def _registered(rules: Criteria, star: Star, facts: Facts, readings: Readings) -> State:
    if facts.registration_date is None:
        return State.REVIEW
    return _known(one_year_after(facts.registration_date) <= _reference_date(rules, facts, readings))


def _industry(facts: Facts, allowed: frozenset[str]) -> State:
    return State.REVIEW if facts.industry is None else _known(facts.industry[:1].upper() in allowed)


def _industry_45(rules: Criteria, star: Star, facts: Facts, readings: Readings) -> State:
    software = star == 5 and readings["A03"] == "five_star_software_too"
    return _industry(facts, INDUSTRY | {SOFTWARE} if software else INDUSTRY)


def _cloud_form(rules: Criteria, star: Star, facts: Facts, readings: Readings) -> State:
    if facts.cloud_form is None:
        return State.REVIEW
    public_only = star == 3 and readings["A23"] == "three_star_public_only"
    return _known(not public_only or facts.cloud_form == "public")


Judge = Callable[[Criteria, Star, Facts, Readings], State]

# By the words of `check` in the pack: a check that has no judge here is a pack this version cannot apply.
CHECKS: dict[str, Judge] = {
    "registered_address_in_jiangsu": lambda _r, _s, f, _: _known(f.in_jiangsu),
    "entity_type_is_legal_person": lambda _r, _s, f, _: _known(f.legal_person),
    "registration_date + 1y <= reference_date": _registered,
    "human": lambda _r, _s, f, _: _known(f.finance_sound),
    "human_or_credit_report": lambda _r, _s, f, _: _known(f.credit_good),
    "industry_in_B_C_D_or_I": lambda _r, _s, f, _: _industry(f, INDUSTRY | {SOFTWARE}),
    "industry_in_B_C_D": _industry_45,
    "holds_star_3": lambda _r, _s, f, _: _known(f.holds_star >= 3),
    "holds_star_4": lambda _r, _s, f, _: _known(f.holds_star >= 4),
    "applied_star > held_star": lambda _r, s, f, _: _known(s > f.holds_star),
    "exactly_one_star_applied": lambda _r, s, f, _: _known(f.stars_applied == (s,)),
    "cloud_form_declared": _cloud_form,
    "signature_and_seal_present": lambda _r, _s, f, _: _known(f.signed_and_sealed),
}


def judge_prerequisites(
    rules: Criteria, star: Star, *, facts: Facts, readings: Readings
) -> tuple[PrerequisiteResult, ...]:
    """Every prerequisite of a star, in the pack's order. Raises KeyError for a check this version does not know."""
    return tuple(
        PrerequisiteResult(p.id, p.zh, CHECKS[p.check](rules, star, facts, readings), p.doc)
        for p in rules.prerequisites
        if star in p.stars
    )
