"""Counting sub-domains: which leaves a pool holds under a reading, and whether enough of them are proved."""

import datetime as dt
from dataclasses import dataclass

from verifier.rules.facts import Facts
from verifier.rules.readings import Readings
from verifier.rules.types import Criteria, Leaf, Star
from verifier.states import State

ALARM = "device.mon.alarm"
SERVICE_DATA = "data.service"
INDUSTRIAL_SECURITY = "biz.base.sec_industrial"
DAYS_BACK = {"90_days": 90, "92_days": 92}


@dataclass(frozen=True, slots=True)
class PoolResult:
    """`counted` leaves are proved and count, `waiting` would count once a person decides, `apart` are proved but stand
    outside the pool under this reading. `size` and `least` are in units of counting."""

    pool: str
    size: int
    least: int
    counted: tuple[str, ...]
    waiting: tuple[str, ...]
    apart: tuple[str, ...]
    too_late: tuple[str, ...]
    have: int
    state: State


def latest_start(rules: Criteria, readings: Readings) -> dt.date:
    """The last day on which a service may have begun (三个月, reading A08)."""
    days = DAYS_BACK.get(readings["A08"])
    cutoff = rules.dates.service_cutoff
    return rules.dates.service_latest_start if days is None else cutoff - dt.timedelta(days=days)


def members(rules: Criteria, pool: str, star: Star, readings: Readings) -> tuple[Leaf, ...]:
    """The leaves that a pool holds for a star under the readings A01, A04, A05, A16."""
    sources = rules.pools[pool].sources
    if pool == "edge_service" and readings["A16"] == "services_only":
        sources = tuple(s for s in sources if s != "device.edge")
    leaves = [leaf for home, leaf in rules.leaves() if home in sources]
    outside: set[str] = set()
    if readings["A01"] == "alarm_not_counted":
        outside |= {leaf.id for leaf in leaves if not leaf.in_table}
    if readings["A04"] == "service_data_five_star_only" and star != 5:
        outside.add(SERVICE_DATA)
    if readings["A05"] == "industrial_security_separate":
        outside.add(INDUSTRIAL_SECURITY)
    return tuple(leaf for leaf in leaves if leaf.id not in outside)


def judge_pool(rules: Criteria, pool: str, star: Star, *, facts: Facts, readings: Readings) -> PoolResult:
    """Whether at least the minimum of a pool's leaves is proved. Raises KeyError where the star asks for none."""
    least = rules.pools[pool].minimum[star]
    if least is None:
        raise KeyError(f"{pool} is not asked for {star} stars")
    held = members(rules, pool, star, readings)
    late = _too_late(rules, facts, readings)
    counted: list[Leaf] = []
    waiting: list[Leaf] = []
    for leaf in held:
        state = facts.leaves.get(leaf.id)
        if leaf.id in late or state not in (State.PASS, State.REVIEW):
            continue
        unconfirmed = leaf.open_ended and leaf.id not in facts.confirmed
        if state is State.REVIEW or (unconfirmed and readings["A14"] == "other_after_confirmation"):
            waiting.append(leaf)
        else:
            counted.append(leaf)
    have, could = _units(counted, readings), _units(counted + waiting, readings)
    state = State.PASS if have >= least else State.REVIEW if could >= least else State.FAIL
    inside = {leaf.id for leaf in held}
    homes = rules.pools[pool].sources
    return PoolResult(
        pool=pool,
        size=_units(list(held), readings),
        least=least,
        counted=tuple(leaf.id for leaf in counted),
        waiting=tuple(leaf.id for leaf in waiting),
        apart=tuple(
            leaf.id
            for home, leaf in rules.leaves()
            if home in homes and leaf.id not in inside and facts.leaves.get(leaf.id) is State.PASS
        ),
        too_late=tuple(leaf.id for leaf in held if leaf.id in late),
        have=have,
        state=state,
    )


def _units(leaves: list[Leaf], readings: Readings) -> int:
    """How many items these leaves are: a group is one under A22's alternative."""
    if readings["A22"] != "new_mode_is_one":
        return len(leaves)
    return len({leaf.group_zh or leaf.id for leaf in leaves})


def _too_late(rules: Criteria, facts: Facts, readings: Readings) -> frozenset[str]:
    """Sub-domains whose every claimed service began too late: they cannot be claimed (ti.5)."""
    latest = latest_start(rules, readings)
    first: dict[str, dt.date] = {}
    for service in facts.services:
        for leaf in service.leaves:
            first[leaf] = min(first.get(leaf, service.start), service.start)
    return frozenset(leaf for leaf, start in first.items() if start > latest)
