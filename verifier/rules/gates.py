"""The three star gates: every term of a gate must hold, and the verdict says on which reading it depends.

Pure functions of an application's facts. A verdict over simulated machines is never more than "would be".
"""

from dataclasses import dataclass
from decimal import Decimal

from verifier.rules.facts import CloudService, Facts
from verifier.rules.pools import PoolResult, judge_pool, latest_start
from verifier.rules.prerequisites import PrerequisiteResult, judge_prerequisites
from verifier.rules.readings import DEFAULTS, Dependence, Readings, dependences
from verifier.rules.types import AtLeast, Criteria, InvestmentAbove, ReportOnly, Star, term_name
from verifier.states import State, worst


@dataclass(frozen=True, slots=True)
class TermResult:
    """One term of a gate, with the figure beside its threshold in words."""

    term: str
    state: State
    figure: str = ""
    pools: tuple[PoolResult, ...] = ()
    named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StarResult:
    """`state` under the default readings; `depends_on` is empty where every reading gives the same."""

    star: Star
    state: State
    prerequisites: tuple[PrerequisiteResult, ...]
    terms: tuple[TermResult, ...]
    depends_on: tuple[Dependence, ...]
    would_be: bool

    @property
    def robust(self) -> bool:
        """Whether the verdict is the same under every reading."""
        return not self.depends_on

    @property
    def dependence_text(self) -> str:
        """`robust`, or the readings on which the verdict depends."""
        if self.robust:
            return "robust"
        names = dict.fromkeys("+".join(a for a, _ in d.changes) for d in self.depends_on)
        return "depends on " + ", ".join(names)


def judge_star(rules: Criteria, star: Star, *, facts: Facts) -> StarResult:
    """The verdict on one star."""
    prerequisites = judge_prerequisites(rules, star, facts=facts, readings=DEFAULTS)
    terms = judge_terms(rules, star, facts=facts, readings=DEFAULTS)

    def evaluate(readings: Readings) -> State:
        first = judge_prerequisites(rules, star, facts=facts, readings=readings)
        then = judge_terms(rules, star, facts=facts, readings=readings)
        return worst([r.state for r in first] + [t.state for t in then])

    return StarResult(star, evaluate(DEFAULTS), prerequisites, terms, dependences(evaluate), facts.simulated)


def judge_terms(rules: Criteria, star: Star, *, facts: Facts, readings: Readings) -> tuple[TermResult, ...]:
    """Every term of a star's gate under some readings, in the gate's order."""
    out: list[TermResult] = []
    for term in rules.gates[star]:
        match term:
            case AtLeast():
                out.append(_at_least(rules, star, term, facts=facts, readings=readings))
            case InvestmentAbove():
                out.append(_investment(term, facts, readings))
            case ReportOnly():
                value = "not entered" if facts.device_value_10k is None else f"{facts.device_value_10k} 万元"
                out.append(TermResult(term.report_only, State.NOT_APPLICABLE, f"{value} (reported, no threshold)"))
            case "effect.time":
                out.append(_time(rules, facts, readings))
            case _ if term in rules.pools:
                out.append(_pool(judge_pool(rules, term, star, facts=facts, readings=readings)))
            case _:
                out.append(_narrative(term, star, facts, readings))
    if star == 4 and readings["A20"] == "inherited_from_three":
        out += [
            _at_least(rules, 3, inherited, facts=facts, readings=readings)
            for inherited in rules.gates[3]
            if isinstance(inherited, AtLeast)
        ]
    if "device_access" in rules.gates[star]:
        state = State.PASS if facts.witnessed else State.REVIEW
        out.append(TermResult("device.witnessed", state, "" if facts.witnessed else "machine not witnessed"))
    return tuple(out)


def _pool(result: PoolResult) -> TermResult:
    figure = f"{result.have} of {result.size}, at least {result.least}"
    return TermResult(result.pool, result.state, figure, (result,))


def _at_least(rules: Criteria, star: Star, term: AtLeast, *, facts: Facts, readings: Readings) -> TermResult:
    names = term.of
    if star == 3 and readings["A15"] == "two_of_base_and_app":
        names = tuple(n for n in names if n != "data_cloud")
    pools = tuple(judge_pool(rules, n, star, facts=facts, readings=readings) for n in names)
    good = sum(p.state is State.PASS for p in pools)
    could = sum(p.state in (State.PASS, State.REVIEW) for p in pools)
    state = State.PASS if good >= term.at_least else State.REVIEW if could >= term.at_least else State.FAIL
    return TermResult(term_name(term), state, f"{good} of {len(pools)}, at least {term.at_least}", pools)


def _investment(term: InvestmentAbove, facts: Facts, readings: Readings) -> TermResult:
    name = term_name(term)
    if facts.investment is None:
        return TermResult(name, State.REVIEW, "not entered")
    amount = _amount(facts, readings)
    limit = Decimal(term.investment_gt_cny)
    or_equal = readings["A19"] == "greater_or_equal"
    holds = amount >= limit if or_equal else amount > limit
    figure = f"{amount} CNY {'>=' if or_equal else '>'} {limit}"
    return TermResult(name, State.PASS if holds else State.FAIL, figure)


def _amount(facts: Facts, readings: Readings) -> Decimal:
    paid = facts.investment
    if paid is None:
        raise ValueError("no investment entered")
    other = {"net_amount": paid.net, "all_sub_domains_gross": paid.all_sub_domains}.get(readings["A10"])
    return paid.counted if other is None else other


def _narrative(term: str, star: Star, facts: Facts, readings: Readings) -> TermResult:
    if term == "practice.background" and star == 5 and readings["A09"] == "background_not_for_five":
        return TermResult(term, State.NOT_APPLICABLE)
    answers = {"practice.background": facts.background_sound, "practice.plan": facts.plan_sound}
    answer = answers[term]
    state = State.REVIEW if answer is None else State.PASS if answer else State.FAIL
    return TermResult(term, state, "judged by a person" if answer is not None else "a person has to judge it")


def _time(rules: Criteria, facts: Facts, readings: Readings) -> TermResult:
    """All claimed services: begun in time, used without a break, still in use."""
    if not facts.services:
        return TermResult("effect.time", State.REVIEW, "no cloud service entered")
    latest = latest_start(rules, readings)
    states = {s.name: _service(s, latest.toordinal(), readings) for s in facts.services}
    state = worst(list(states.values()))
    named = tuple(name for name, each in states.items() if each is not State.PASS)
    return TermResult("effect.time", state, f"start <= {latest.isoformat()}", named=named)


def _service(service: CloudService, latest: int, readings: Readings) -> State:
    checks: list[bool | None] = [service.start.toordinal() <= latest, service.in_use_at_cutoff]
    checks.append(service.every_day if readings["A21"] == "every_day" else service.every_month)
    if readings["A25"] == "application_date_and_cutoff":
        checks.append(service.in_use_at_application)
    if False in checks:
        return State.FAIL
    return State.REVIEW if None in checks else State.PASS
