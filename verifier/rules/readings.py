"""The readings of an ambiguous text that can change a star verdict, and what a verdict depends on.

Every reading's options are listed from strict to lenient: whatever passes under an option passes under those after it.
So two evaluations, with everything at its strictest and everything at its most lenient, bound the verdict under every
combination, and a verdict that is the same in both is robust.

Not here, because they change no gate: A02, A12, A13 (procedure and names), A06 (a threshold nobody has), and A11, A17,
A18, A24, which decide inside a sub-domain whether it is proved.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from verifier.states import State

# From strict to lenient; the default of the register is marked by DEFAULTS.
OPTIONS: dict[str, tuple[str, ...]] = {
    "A01": ("alarm_not_counted", "alarm_counted"),
    "A03": ("five_star_industry_only", "five_star_software_too"),
    "A04": ("service_data_five_star_only", "service_data_sixth_item"),
    "A05": ("industrial_security_separate", "all_in_security"),
    "A07": ("earliest_of_cutoff_and_application", "notice_date", "platform_open", "application_date"),
    "A08": ("92_days", "calendar_months", "90_days"),
    "A09": ("background_all_stars", "background_not_for_five"),
    "A10": ("net_amount", "required_sub_domains_gross", "all_sub_domains_gross"),
    "A14": ("other_after_confirmation", "other_counted"),
    "A15": ("two_of_base_and_app", "two_of_base_app_data"),
    "A16": ("services_only", "edge_and_services"),
    "A19": ("greater", "greater_or_equal"),
    "A20": ("inherited_from_three", "not_required_for_four"),
    "A21": ("every_day", "every_month"),
    "A22": ("new_mode_is_one", "eleven_leaves"),
    "A23": ("three_star_public_only", "any_cloud_form"),
    "A25": ("application_date_and_cutoff", "cutoff_only"),
}

DEFAULTS: dict[str, str] = {
    "A01": "alarm_not_counted",
    "A03": "five_star_industry_only",
    "A04": "service_data_sixth_item",
    "A05": "all_in_security",
    "A07": "earliest_of_cutoff_and_application",
    "A08": "calendar_months",
    "A09": "background_all_stars",
    "A10": "required_sub_domains_gross",
    "A14": "other_after_confirmation",
    "A15": "two_of_base_app_data",
    "A16": "edge_and_services",
    "A19": "greater",
    "A20": "not_required_for_four",
    "A21": "every_month",
    "A22": "eleven_leaves",
    "A23": "any_cloud_form",
    "A25": "application_date_and_cutoff",
}

Readings = Mapping[str, str]
Evaluate = Callable[[Readings], State]


@dataclass(frozen=True, slots=True)
class Dependence:
    """A smallest set of readings that, changed together, turn the verdict into `state`."""

    changes: tuple[tuple[str, str], ...]
    state: State


def alternatives(ambiguity: str) -> Iterator[str]:
    """The options of an ambiguity that are not its default."""
    return (option for option in OPTIONS[ambiguity] if option != DEFAULTS[ambiguity])


def with_changes(changes: Mapping[str, str]) -> dict[str, str]:
    """The default readings with some changed. Raises KeyError for an unknown ambiguity, ValueError for an option."""
    for ambiguity, option in changes.items():
        if option not in OPTIONS[ambiguity]:
            raise ValueError(f"{ambiguity} has no reading {option}")
    return {**DEFAULTS, **changes}


def dependences(evaluate: Evaluate) -> tuple[Dependence, ...]:
    """What the verdict depends on: empty where it is robust.

    Single readings that change it come first. Where none does in one direction but the bound of that direction differs,
    a minimal combination is given instead.
    """
    default = evaluate(DEFAULTS)
    found = [
        Dependence(((ambiguity, option),), state)
        for ambiguity in OPTIONS
        for option in alternatives(ambiguity)
        if (state := evaluate(with_changes({ambiguity: option}))) != default
    ]
    for end in (0, -1):
        bound = {a: options[end] for a, options in OPTIONS.items() if options[end] != DEFAULTS[a]}
        if evaluate(with_changes(bound)) != default and not any(_towards(d, bound) for d in found):
            changes = _minimal(evaluate, bound, default)
            found.append(Dependence(tuple(changes.items()), evaluate(with_changes(changes))))
    return tuple(found)


def _towards(dependence: Dependence, bound: Mapping[str, str]) -> bool:
    """Whether a single change goes in the direction of a bound."""
    ((ambiguity, option),) = dependence.changes
    if ambiguity not in bound:
        return False
    order = OPTIONS[ambiguity]
    default, here, there = order.index(DEFAULTS[ambiguity]), order.index(option), order.index(bound[ambiguity])
    return (here - default) * (there - default) > 0


def _minimal(evaluate: Evaluate, changes: Mapping[str, str], default: State) -> dict[str, str]:
    """Take back one change after the other as long as the verdict stays changed."""
    left = dict(changes)
    for ambiguity in changes:
        fewer = {a: o for a, o in left.items() if a != ambiguity}
        if fewer and evaluate(with_changes(fewer)) != default:
            left = fewer
    return left
