"""Worked cases for the three stars, at every boundary of the text."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.rules.facts import CloudService, Facts, Investment
from verifier.rules.gates import StarResult, TermResult, judge_star, judge_terms
from verifier.rules.pack import RulesError, load_pack, parse_pack
from verifier.rules.prerequisites import CHECKS, judge_prerequisites, one_year_after
from verifier.rules.readings import DEFAULTS, OPTIONS
from verifier.rules.types import STARS, Star
from verifier.states import State, worst

PACK = load_pack()
RULES = PACK.criteria


def leaves(pool: str, n: int, *, skip: tuple[str, ...] = ()) -> list[str]:
    sources = RULES.pools[pool].sources
    found = [x.id for home, x in RULES.leaves() if home in sources and x.in_table and not x.open_ended]
    return [x for x in found if x not in skip][:n]


def proved(**pools: int) -> dict[str, State]:
    return {leaf: State.PASS for pool, n in pools.items() for leaf in leaves(pool, n)}


ENOUGH: dict[Star, dict[str, int]] = {
    3: {"base_cloud": 5, "industrial_app": 4, "basic_effect": 4},
    4: {"device_access": 1, "edge_service": 8, "basic_effect": 5},
    5: {
        "base_cloud": 6,
        "industrial_app": 5,
        "data_cloud": 5,
        "device_access": 1,
        "edge_service": 9,
        "basic_effect": 6,
        "innovation": 1,
    },
}
ABOVE: dict[Star, int] = {3: 30_000, 4: 100_000, 5: 300_000}
SERVICE = CloudService(
    "cloud",
    dt.date(2023, 4, 1),
    every_month=True,
    every_day=True,
    in_use_at_application=True,
    in_use_at_cutoff=True,
)


def application(star: Star, **changes: Any) -> Facts:
    facts = Facts(
        stars_applied=(star,),
        application_date=dt.date(2023, 9, 1),
        leaves=proved(**ENOUGH[star]),
        witnessed=True,
        in_jiangsu=True,
        legal_person=True,
        registration_date=dt.date(2015, 1, 1),
        finance_sound=True,
        credit_good=True,
        industry="C",
        holds_star=0 if star == 3 else star - 1,
        cloud_form="public",
        signed_and_sealed=True,
        background_sound=True,
        plan_sound=True,
        services=(SERVICE,),
        investment=Investment(Decimal(ABOVE[star]) + Decimal("0.01")),
    )
    return replace(facts, **changes)


def judge(star: Star, **changes: Any) -> StarResult:
    return judge_star(RULES, star, facts=application(star, **changes))


def term(result: StarResult, name: str) -> TermResult:
    return next(t for t in result.terms if t.term.startswith(name))


def failed(result: StarResult) -> set[str]:
    bad = {t.term for t in result.terms if t.state is State.FAIL}
    return bad | {p.id for p in result.prerequisites if p.state is State.FAIL}


def without(star: Star, pool: str) -> dict[str, State]:
    """Exactly one leaf fewer than the star asks of a pool."""
    return proved(**{**ENOUGH[star], pool: ENOUGH[star][pool] - 1})


@pytest.mark.parametrize("star", STARS)
def test_an_application_that_has_exactly_enough_passes(star: Star) -> None:
    result = judge(star)
    assert result.state is State.PASS, failed(result)


@pytest.mark.parametrize(
    ("star", "pool"),
    [
        (3, "basic_effect"),
        *((4, pool) for pool in ("device_access", "edge_service", "basic_effect")),
        *((5, pool) for pool in ("device_access", "edge_service", "basic_effect", "innovation")),
    ],
)
def test_one_leaf_fewer_than_asked_fails(star: Star, pool: str) -> None:
    assert failed(judge(star, leaves=without(star, pool))) == {pool}


@pytest.mark.parametrize("pool", ["base_cloud", "industrial_app", "data_cloud"])
def test_five_stars_need_all_three_business_pools(pool: str) -> None:
    result = judge(5, leaves=without(5, pool))
    assert failed(result) == {"at_least_3_of_base_cloud_industrial_app_data_cloud"}


@pytest.mark.parametrize(
    ("have", "state"),
    [
        ({"base_cloud": 5, "industrial_app": 4}, State.PASS),
        ({"base_cloud": 5, "data_cloud": 4}, State.PASS),
        ({"industrial_app": 4, "data_cloud": 4}, State.PASS),
        ({"base_cloud": 5, "industrial_app": 3, "data_cloud": 3}, State.FAIL),
        ({"base_cloud": 9}, State.FAIL),
    ],
)
def test_three_stars_need_any_two_business_pools(have: dict[str, int], state: State) -> None:
    assert judge(3, leaves=proved(**have, basic_effect=4)).state is state


def test_two_pools_of_which_one_is_data_depend_on_a15() -> None:
    result = judge(3, leaves=proved(base_cloud=6, data_cloud=5, basic_effect=4))
    assert result.state is State.PASS
    assert result.dependence_text == "depends on A15"


@pytest.mark.parametrize("star", STARS)
@pytest.mark.parametrize(("cents", "state"), [(0, State.FAIL), (1, State.PASS), (-1, State.FAIL)])
def test_investment_is_strictly_greater(star: Star, cents: int, state: State) -> None:
    result = judge(star, investment=Investment(Decimal(ABOVE[star]) + Decimal(cents) / 100))
    assert term(result, "effect.investment").state is state
    assert ("A19" in result.dependence_text) == (cents == 0)


def test_the_exact_amount_depends_on_a19() -> None:
    assert judge(3, investment=Investment(Decimal(30_000))).dependence_text == "depends on A19"


def test_net_amount_below_depends_on_a10() -> None:
    paid = Investment(Decimal(31_000), net=Decimal(27_434))
    assert judge(3, investment=paid).dependence_text == "depends on A10"


@pytest.mark.parametrize(
    ("start", "state", "depends"),
    [
        (dt.date(2023, 4, 29), State.PASS, "robust"),
        (dt.date(2023, 4, 30), State.PASS, "depends on A08"),
        (dt.date(2023, 5, 1), State.FAIL, "depends on A08"),
        (dt.date(2023, 5, 2), State.FAIL, "robust"),
    ],
)
def test_the_latest_start_is_30_april(start: dt.date, state: State, depends: str) -> None:
    result = judge(3, services=(replace(SERVICE, start=start),))
    assert (result.state, result.dependence_text) == (state, depends)
    assert term(result, "effect.time").named == (() if state is State.PASS else ("cloud",))


def test_a_sub_domain_that_began_too_late_does_not_count() -> None:
    late = replace(SERVICE, name="late", start=dt.date(2023, 5, 1), leaves=(leaves("base_cloud", 1)[0],))
    result = judge(3, services=(SERVICE, late))
    assert term(result, "at_least_2").pools[0].too_late == ("biz.base.compute",)
    assert term(result, "at_least_2").state is State.FAIL


@pytest.mark.parametrize(
    ("registered", "state", "depends"),
    [
        (dt.date(2022, 7, 30), State.PASS, "robust"),
        (dt.date(2022, 7, 31), State.FAIL, "depends on A07"),
        (dt.date(2022, 9, 1), State.FAIL, "depends on A07"),
        (dt.date(2022, 9, 2), State.FAIL, "robust"),
    ],
)
def test_registered_for_a_year_on_the_earlier_date(registered: dt.date, state: State, depends: str) -> None:
    result = judge(3, registration_date=registered)
    assert (result.state, result.dependence_text) == (state, depends)


def test_a_year_after_a_leap_day_is_the_months_last_day() -> None:
    assert one_year_after(dt.date(2020, 2, 29)) == dt.date(2021, 2, 28)


@pytest.mark.parametrize(
    ("star", "holds", "bad"),
    [
        (3, 3, {"pre.no_repeat"}),
        (3, 4, {"pre.no_repeat"}),
        (4, 0, {"pre.ladder_4"}),
        (4, 4, {"pre.no_repeat"}),
        (5, 3, {"pre.ladder_5"}),
        (5, 5, {"pre.no_repeat"}),
        (4, 3, set[str]()),
        (5, 4, set[str]()),
    ],
)
def test_ladder_and_no_repeat(star: Star, holds: int, bad: set[str]) -> None:
    assert failed(judge(star, holds_star=holds)) == bad


def test_exactly_one_star_may_be_applied_for() -> None:
    assert failed(judge(4, stars_applied=(4, 5))) == {"pre.one_star_only"}


@pytest.mark.parametrize(
    ("star", "industry", "good"), [(3, "I", True), (3, "F", False), (4, "I", False), (4, "D", True)]
)
def test_industries(star: Star, industry: str, good: bool) -> None:
    assert (judge(star, industry=industry).state is State.PASS) == good


def test_a_software_firm_for_five_stars_depends_on_a03() -> None:
    result = judge(5, industry="I65")
    assert result.state is State.FAIL
    assert "A03" in result.dependence_text


@pytest.mark.parametrize("unknown", ["finance_sound", "credit_good", "plan_sound", "investment", "signed_and_sealed"])
def test_what_nobody_has_judged_is_a_question_for_a_person(unknown: str) -> None:
    assert judge(3, **{unknown: None}).state is State.REVIEW


def test_eight_only_with_the_alarm_depends_on_a01() -> None:
    have = {**proved(device_access=1, edge_service=7, basic_effect=5), "device.mon.alarm": State.PASS}
    result = judge(4, leaves=have)
    pool = term(result, "edge_service").pools[0]
    assert (result.state, pool.have, pool.size, pool.apart) == (State.FAIL, 7, 12, ("device.mon.alarm",))
    assert result.dependence_text == "depends on A01"


def test_eight_of_which_two_at_the_edge_depend_on_a16() -> None:
    result = judge(4)
    assert "A16" in result.dependence_text  # the ten services alone hold six


def test_ten_services_and_an_inherited_three_star_make_a_robust_four() -> None:
    have = proved(base_cloud=9, industrial_app=12, data_cloud=6, device_access=4, edge_service=12, basic_effect=7)
    result = judge(4, leaves=have)
    assert (result.state, result.dependence_text) == (State.PASS, "robust")


def test_other_leaves_count_once_a_person_confirms_them() -> None:
    have = {**proved(base_cloud=5, industrial_app=3, basic_effect=4), "biz.app.other": State.PASS}
    waiting = judge(3, leaves=have)
    assert waiting.state is State.REVIEW
    assert "A14" in waiting.dependence_text
    assert judge(3, leaves=have, confirmed=frozenset({"biz.app.other"})).state is State.PASS


def test_a_star_without_a_witnessed_machine_is_review() -> None:
    assert judge(4, witnessed=False).state is State.REVIEW
    assert judge(3, witnessed=False).state is State.PASS


def test_a_combination_is_named_where_no_single_reading_changes_the_verdict() -> None:
    have = {**proved(device_access=1, edge_service=7, basic_effect=5), "device.mon.alarm": State.PASS}
    result = judge(4, leaves=have, investment=Investment(Decimal(100_000)))
    assert result.state is State.FAIL
    assert "A01+A19" in result.dependence_text


def test_simulated_machines_give_only_a_would_be() -> None:
    assert judge(4, simulated=True).would_be


CHANGES = st.fixed_dictionaries(
    {
        "leaves": st.dictionaries(
            st.sampled_from([x.id for _, x in RULES.leaves()]), st.sampled_from([State.PASS, State.REVIEW]), max_size=64
        ),
        "industry": st.sampled_from(["C", "I", None]),
        "registration_date": st.dates(dt.date(2022, 7, 25), dt.date(2022, 9, 5)),
        "services": st.lists(
            st.builds(
                CloudService,
                name=st.just("s"),
                start=st.dates(dt.date(2023, 4, 27), dt.date(2023, 5, 3)),
                every_month=st.booleans(),
                in_use_at_cutoff=st.just(True),
                in_use_at_application=st.booleans(),
            ),
            max_size=2,
        ).map(tuple),
    }
)
RANK = {State.FAIL: 0, State.REVIEW: 1, State.PASS: 2, State.NOT_APPLICABLE: 2}


@settings(max_examples=30, deadline=None)
@given(star=st.sampled_from(STARS), changes=CHANGES, data=st.data())
def test_a_more_lenient_reading_never_makes_a_verdict_worse(star: Star, changes: Any, data: st.DataObject) -> None:
    facts = application(star, **changes)

    def state(readings: dict[str, str]) -> int:
        results = [r.state for r in judge_prerequisites(RULES, star, facts=facts, readings=readings)]
        return RANK[worst(results + [t.state for t in judge_terms(RULES, star, facts=facts, readings=readings)])]

    for ambiguity, options in OPTIONS.items():
        ranks = [state({**DEFAULTS, ambiguity: option}) for option in options]
        assert ranks == sorted(ranks), ambiguity


def test_every_check_of_the_pack_has_a_judge() -> None:
    assert {p.check for p in RULES.prerequisites} == set(CHECKS)


def test_every_reading_is_in_the_register_and_has_its_default() -> None:
    assert set(OPTIONS) == set(DEFAULTS) <= set(RULES.ambiguity_defaults)
    assert all(DEFAULTS[a] in options for a, options in OPTIONS.items())


RAW = (files("verifier.rules") / "criteria.yaml").read_bytes()
NUMBERS = (files("verifier.rules") / "thresholds.yaml").read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (b"meta:\n", b"meta:\n  surprise: 1\n", "unknown key"),
        (b"size: 12, named: 12", b"size: 13, named: 13", "size"),
        (b"investment_gt_cny: 100000", b"investment_gt_cny: 90000", "not the table's"),
        (b"- device_access\n", b"- device_accesss\n", "unknown term"),
        (b"id: rt.2,", b"id: rt.1,", "twice"),
        (b"amb: A07}", b"amb: A77}", "A77"),
    ],
)
def test_a_pack_that_contradicts_itself_is_refused(old: bytes, new: bytes, word: str) -> None:
    assert old in RAW
    with pytest.raises(RulesError, match=word):
        parse_pack(RAW.replace(old, new), NUMBERS)


def test_the_digest_covers_every_byte_of_the_pack() -> None:
    assert parse_pack(RAW + b"\n", NUMBERS).digest != PACK.digest
    assert parse_pack(RAW, NUMBERS + b"\n").digest != PACK.digest
