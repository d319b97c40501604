"""Loads the rule pack and refuses one that contradicts itself.

The pack is data: two files beside this one. Its digest is printed in every finding, so that a reviewer knows by which
rules a verdict was reached.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from telemetry.settings import SettingsError, parse
from verifier.rules.types import AtLeast, Criteria, InvestmentAbove, ReportOnly, Threshold, Thresholds

CRITERIA = "criteria.yaml"
THRESHOLDS = "thresholds.yaml"


class RulesError(ValueError):
    """The rule pack cannot be used: an unknown key, or two places that contradict each other."""


@dataclass(frozen=True)
class RulePack:
    """`digest` is the SHA-256 (hex) over the names and bytes of the pack's files."""

    criteria: Criteria
    thresholds: Thresholds
    digest: str

    def threshold(self, criterion: str, name: str) -> Threshold:
        """Raises RulesError where the pack has no such number."""
        try:
            return self.thresholds.criteria[criterion][name]
        except KeyError as error:
            raise RulesError(f"no threshold {name} for {criterion}") from error


@cache
def load_pack() -> RulePack:
    """The pack that is installed with the package."""
    folder = files("verifier.rules")
    return parse_pack((folder / CRITERIA).read_bytes(), (folder / THRESHOLDS).read_bytes())


def parse_pack(criteria: bytes, thresholds: bytes) -> RulePack:
    """The pack from the bytes of its files. Raises RulesError."""
    try:
        rules = parse(criteria.decode(), Criteria, name=CRITERIA)
        numbers = parse(thresholds.decode(), Thresholds, name=THRESHOLDS)
    except (SettingsError, UnicodeDecodeError) as error:
        raise RulesError(str(error)) from error
    faults = list(contradictions(rules))
    faults += [f"{THRESHOLDS}: unknown criterion {name}" for name in numbers.criteria if name not in rules.atoms]
    if faults:
        raise RulesError("\n".join(faults))
    return RulePack(rules, numbers, _digest({CRITERIA: criteria, THRESHOLDS: thresholds}))


def _digest(parts: dict[str, bytes]) -> str:
    out = hashlib.sha256()
    for name, data in sorted(parts.items()):
        out.update(f"{name}\0{len(data)}\0".encode() + data)
    return out.hexdigest()


def contradictions(rules: Criteria) -> Iterator[str]:
    """What in the pack disagrees with itself, in words."""
    yield from _ids(rules)
    yield from _pools(rules)
    yield from _gates(rules)
    yield from _references(rules)


def _ids(rules: Criteria) -> Iterator[str]:
    ids = [leaf.id for _, leaf in rules.leaves()]
    ids += [s.id for atoms in rules.atoms.values() for s in atoms.statements]
    ids += [c.id for other in rules.other_checks.values() for c in other.checks]
    ids += [p.id for p in rules.prerequisites]
    for twice in sorted({i for i in ids if ids.count(i) > 1}):
        yield f"id {twice} is given twice"
    for atoms in rules.atoms.values():
        for s in atoms.statements:
            if (s.need == "any_of_group") != (s.group is not None):
                yield f"statement {s.id}: a group goes with need any_of_group"


def _pools(rules: Criteria) -> Iterator[str]:
    for name, pool in rules.pools.items():
        leaves = [leaf for home, leaf in rules.leaves() if home in pool.sources]
        tabled = [leaf for leaf in leaves if leaf.in_table]
        others = sum(leaf.open_ended for leaf in tabled)
        if (len(tabled), len(tabled) - others, others) != (pool.size, pool.named, pool.open_ended):
            yield f"pool {name}: size {pool.size} = {pool.named} + {pool.open_ended} is not what its leaves count"
        if pool.size_with_alarm not in (None, len(leaves)):
            yield f"pool {name}: size_with_alarm is not {len(leaves)}"
        groups = [leaf.group_zh for leaf in tabled if leaf.group_zh]
        if pool.size_if_new_mode_is_one not in (None, pool.size - len(groups) + len(set(groups))):
            yield f"pool {name}: size_if_new_mode_is_one is not what its groups count"
        for star, least in pool.minimum.items():
            if least is not None and not 0 < least <= pool.size:
                yield f"pool {name}: {least} of {pool.size} cannot be asked for {star} stars"


def _gates(rules: Criteria) -> Iterator[str]:
    items = rules.items()
    amounts = items["effect.investment"].strictly_greater_than_cny if "effect.investment" in items else None
    subclasses = {s.id for c in rules.classes for s in c.subclasses}
    for star, terms in rules.gates.items():
        used: list[str] = []
        for term in terms:
            match term:
                case AtLeast():
                    used += term.of
                case InvestmentAbove():
                    if amounts is None or amounts.get(star) != term.investment_gt_cny:
                        yield f"gate {star}: investment {term.investment_gt_cny} is not the table's"
                case ReportOnly():
                    if term.report_only not in subclasses:
                        yield f"gate {star}: unknown {term.report_only}"
                case _ if term in rules.pools:
                    used.append(term)
                case _ if term not in items:
                    yield f"gate {star}: unknown term {term}"
                case _:
                    pass
        for name in used:
            if name not in rules.pools or rules.pools[name].minimum[star] is None:
                yield f"gate {star}: pool {name} has no minimum for it"


def _references(rules: Criteria) -> Iterator[str]:
    known = set(rules.ambiguity_defaults)
    used = {leaf.amb for _, leaf in rules.leaves()} | {p.amb for p in rules.prerequisites}
    used |= {item.amb for item in rules.items().values()} | {n.amb for n in rules.notes.values()}
    used |= {s.amb for c in rules.classes for s in c.subclasses} | {rules.procedure.onsite.amb}
    for missing in sorted({a for a in used if a is not None} - known):
        yield f"ambiguity {missing} is not in the register"
    leaves = {leaf.id for _, leaf in rules.leaves()}
    for name in rules.atoms:
        if name not in leaves:
            yield f"atoms of {name}: no such sub-domain"
