"""device.mon.alarm on a trial on paper: each fault fails its own statement, and only that."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.verifier import alarm_scene as scene
from tests.verifier.alarm_scene import OWN, OWN_ALARM, PLANT, UID, odd, told
from tests.verifier.scene import T0, answer
from verifier.evidence import from_b64
from verifier.findings import encode
from verifier.run import judge_evidence

Found = dict[str, Any]


@pytest.fixture(scope="module")
def healthy() -> Found:
    return scene.scene()


@pytest.fixture
def found(healthy: Found) -> Found:
    return copy.deepcopy(healthy)


def own(found: Found) -> Found:
    return found[f"alarm/{UID}"]["own"]


def plant(found: Found) -> Found:
    return found[f"alarm/{UID}"]["plant"]


def alarms(kept: Found) -> list[Found]:
    return kept["alarms"]["body"]["alarms"]


def beyond(since: int) -> int:
    """The time of the next row beyond the verifier's limit."""
    return next(t for t in range(since, since + 9000, 1000) if scene.value("load_pct", t) > 74.9)


def notices(found: Found) -> list[Found]:
    return found["receiver"]["notices"]


def test_a_healthy_trial_passes_and_prints_what_was_recomputed(found: Found) -> None:
    assert odd(found) == {}, told(found)
    figures = {(f.statement, x.name): x.value for f in scene.findings(found) for x in f.figures}
    assert figures["al.2", "own_raised"] == 1
    assert figures["al.2", "own_raised_without_hysteresis"] == 9
    assert figures["al.5", "rows_compared_with_sealed"] == figures["al.5", "history_rows_compared"] == 296


def test_the_same_evidence_gives_the_same_findings(found: Found) -> None:
    evidence = scene.make("device.mon.alarm", found)
    once, again = (judge_evidence(evidence, scene.PACK) for _ in range(2))
    assert [f.model_dump() for f in once] == [f.model_dump() for f in again]
    assert encode  # findings are written by the one encoder


# ---------------------------------------------------------------- al.1


def no_entry(found: Found) -> None:
    found["audit"] = scene.audit(*(s for s in scene.steps(found) if s[1] != PLANT))


def no_before(found: Found) -> None:
    found["audit"] = scene.audit(*((a, o, {} if b else None, c) for a, o, b, c in scene.steps(found)))


def broken_chain(found: Found) -> None:
    found["audit"]["pages"][0]["body"]["entries"][3]["who"] = "somebody"


def entry_gone(found: Found) -> None:
    del found["audit"]["pages"][0]["body"]["entries"][2]


def history_gone(found: Found) -> None:
    del found["audit"]["pages"][0]["body"]["entries"][0]


def audit_missing_at_all(found: Found) -> None:
    found["audit"] = {"start": None, "first": answer(None, 404), "pages": []}


def effective_late(found: Found) -> None:
    late = beyond(scene.OWN_T + 4000)
    alarms(own(found))[0] |= {"trigger": {"t": late, "v": scene.value("load_pct", late), "q": 0}, "t_sample": late}
    one = alarms(own(found))[0]
    notices(found)[1] = scene.notice({**one, "detected_ms": late + 700})


def never_effective(found: Found) -> None:
    alarms(own(found)).clear()
    del notices(found)[1]


def not_restored(found: Found) -> None:
    plant(found)["after"]["body"]["rule"]["low"] = 11.0


def not_stored(found: Found) -> None:
    own(found)["stored"]["body"]["rule"]["hysteresis"] = 0.0


def not_retired(found: Found) -> None:
    own(found)["after"]["body"]["rule"]["retired_ms"] = None


def refused(found: Found) -> None:
    own(found)["created"] = answer({"error": {"code": "no"}}, 422)
    for name in ("changed", "stored", "after", "alarms"):
        own(found).pop(name)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (no_entry, "fail audit_missing"),
        (no_before, "fail audit_missing"),
        (broken_chain, "fail audit_chain_broken"),
        (entry_gone, "fail audit_chain_broken"),
        (history_gone, "fail audit_chain_broken"),
        (audit_missing_at_all, "fail audit_unreadable"),
        (effective_late, "fail change_not_effective"),
        (never_effective, "fail change_not_effective"),
        (not_restored, "fail not_restored"),
        (not_stored, "fail rule_not_stored"),
        (not_retired, "fail rule_not_retired"),
        (refused, "fail rule_refused"),
    ],
)
def test_configuration(found: Found, spoil: Callable[[Found], None], reason: str) -> None:
    spoil(found)
    assert odd(found) == {"al.1": reason}, told(found)


def test_a_cloud_that_fell_silent_before_restoring_is_a_question_for_a_person(found: Found) -> None:
    plant(found)["after"] = answer(None, 0)
    plant(found)["restored"] = answer(None, 0)
    assert odd(found) == {"al.1": "review not_restored"}


# ---------------------------------------------------------------- al.2


def disabled(found: Found) -> None:
    rules = found[f"alarm/{UID}"]["rules"]["body"]["rules"]
    next(r for r in rules if r["id"] == "mo_overload")["enabled"] = False


def never_raises(found: Found) -> None:
    for kept in (own(found), plant(found)):
        alarms(kept).clear()
    notices(found).clear()
    found.pop(f"package/{UID}")


def raises_though_false(found: Found) -> None:
    early = scene.alarm("cc" * 16, scene.rule(OWN, 1), "high", T0 + 4300, T0 + 5300)
    alarms(own(found)).append(early)


def raises_twice(found: Found) -> None:
    again = beyond(scene.OWN_T + 6000)
    second = {**alarms(own(found))[0], "id": "cc" * 16, "t_sample": again}
    second["trigger"] = {"t": again, "v": scene.value("load_pct", again), "q": 0}
    alarms(own(found)).append(second)


def raises_too_early(found: Found) -> None:
    """Without waiting for the delay."""
    alarms(plant(found))[0]["t_sample"] = scene.PLANT_T


def raises_for_no_row(found: Found) -> None:
    alarms(plant(found))[0]["trigger"]["v"] = 3.0


def raises_for_a_row_within(found: Found) -> None:
    within = next(t for t in range(scene.OWN_T, scene.OWN_T + 9000, 1000) if scene.value("load_pct", t) <= 74.9)
    alarms(own(found))[0] |= {
        "trigger": {"t": within, "v": scene.value("load_pct", within), "q": 0},
        "t_sample": within,
    }


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (disabled, "fail rule_disabled"),
        (raises_though_false, "fail raised_though_false"),
        (raises_twice, "fail raised_twice"),
        (raises_too_early, "fail raised_wrongly"),
        (raises_for_no_row, "fail raised_wrongly"),
    ],
)
def test_conditions(found: Found, spoil: Callable[[Found], None], reason: str) -> None:
    spoil(found)
    assert odd(found) == {"al.2": reason}, told(found)


def test_an_alarm_of_a_row_within_the_limit_is_wrong(found: Found) -> None:
    raises_for_a_row_within(found)
    assert odd(found)["al.2"] == "fail raised_wrongly"


def test_where_nothing_is_ever_raised_no_change_can_be_seen_to_work(found: Found) -> None:
    never_raises(found)
    assert odd(found) == {"al.2": "fail not_raised", "al.1": "not_checked effect_not_seen"}


def test_only_the_plants_rule_is_dead(found: Found) -> None:
    alarms(plant(found)).clear()
    del notices(found)[0]
    assert odd(found) == {"al.2": "fail not_raised"}


def test_a_machine_whose_value_moved_away_accuses_nobody() -> None:
    """The condition was not met: no row was beyond the moved limit."""
    signed = scene.rows()
    for row in signed["voltage_avg"]:
        row[1] = 12.0
    found = scene.scene(signed=signed)
    alarms(plant(found)).clear()
    del notices(found)[0]
    assert odd(found) == {"al.2": "not_checked condition_not_met"}, told(found)


def test_an_alarm_that_could_not_be_due_accuses_nobody(found: Found) -> None:
    alarms(plant(found)).clear()
    del notices(found)[0]
    plant(found)["looked"] = scene.RAISED + 1000
    plant(found)["restored"]["before"] = scene.RAISED + 1100
    assert odd(found) == {"al.2": "not_checked condition_not_met"}, told(found)


def test_a_machine_without_a_rule_that_fits_is_not_checked(found: Found) -> None:
    found[f"alarm/{UID}"]["drawn"]["plant"] = None
    found[f"alarm/{UID}"]["plant"] = {}
    found["audit"] = scene.audit(*(s for s in scene.steps(scene.scene()) if s[1] != PLANT))
    assert odd(found) == {"al.2": "not_checked no_rule_fits"}, told(found)


def test_by_history_where_nothing_signed_can_be_opened(found: Found) -> None:
    """Without frame keys the alarms are recomputed from history; the package cannot be held against what was sealed."""
    refused = answer({"error": {"code": "keys_not_here"}}, 409)
    found["record/edge-1"]["frames"] = {"0-1": [refused]}
    found["windows/edge-1"] = {"answers": [refused], "proofs": []}
    signed = scene.rows()
    found[f"alarm/{UID}"]["rows"] = {t: answer({"rows": signed[t]}) for t in ("voltage_avg", "load_pct")}
    assert odd(found) == {"al.5": "not_checked keys_not_here"}, told(found)


# ---------------------------------------------------------------- al.3


def missing(found: Found) -> None:
    del notices(found)[0]


def missing_but_accepted(found: Found) -> None:
    """The channel says that it delivered; nothing came."""
    del notices(found)[0]
    alarms(plant(found))[0]["notices"] = [{"t_accepted": T0 + 7000}]


def before_sample(found: Found) -> None:
    one = alarms(plant(found))[0]
    notices(found)[0] = scene.notice(
        one, at=one["t_sample"] - 1500, t_detect=one["t_sample"] - 1700, t_send=one["t_sample"] - 1600
    )


def disordered(found: Found) -> None:
    notices(found)[0]["said"]["t_send"] -= 5000


def invented(found: Found) -> None:
    notices(found)[0]["said"]["value"] = 3.25


def invented_time(found: Found) -> None:
    notices(found)[0]["said"]["t_sample"] += 17


def of_no_alarm(found: Found) -> None:
    notices(found).append(scene.notice({**alarms(plant(found))[0], "id": "dd" * 16}))


def late(found: Found) -> None:
    notices(found)[0]["at"] += 20_000


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (missing, "fail notice_missing"),
        (missing_but_accepted, "fail notice_missing"),
        (before_sample, "fail notice_before_sample"),
        (disordered, "fail notice_times_disorder"),
        (invented, "fail notice_of_no_sample"),
        (invented_time, "fail notice_of_no_sample"),
        (of_no_alarm, "fail notice_of_no_alarm"),
        (late, "fail notice_late"),
    ],
)
def test_reminders(found: Found, spoil: Callable[[Found], None], reason: str) -> None:
    spoil(found)
    assert odd(found) == {"al.3": reason}, told(found)


def test_a_receiver_that_nobody_reaches_says_nothing_of_the_plant(found: Found) -> None:
    found["receiver"] |= {"self_test": "ConnectError", "notices": []}
    assert odd(found) == {"al.3": "not_checked receiver_not_reachable"}


def test_clocks_that_are_off_fail_nothing() -> None:
    """Edge an hour ahead: its rows and all that is told of them are in its own time."""
    ahead = 3_600_000
    found = scene.scene()
    found["edge/edge-1"] = scene.echo(clock=ahead)
    shifted = {tag: [[t + ahead, v, q] for t, v, q in some] for tag, some in scene.rows().items()}
    found["record/edge-1"] = scene.record_of(shifted, ahead)
    for kept in (own(found), plant(found)):
        for one in alarms(kept):
            one["trigger"]["t"] += ahead
            one["t_sample"] += ahead
    for one in notices(found):
        one["said"]["t_sample"] += ahead
    odds = odd(found)
    assert {s: r for s, r in odds.items() if s in ("al.1", "al.2", "al.3")} == {}, told(found)


# ---------------------------------------------------------------- al.4 and al.5


def test_a_package_that_is_not_ready(found: Found) -> None:
    found[f"package/{UID}"] |= {"size": 0, "zip": None, "answer": answer(None, 404)}
    assert odd(found) == {"al.4": "fail no_package"}


def test_a_package_whose_checksums_do_not_fit(found: Found) -> None:
    scene.repack(found, lambda _m, _r: None, spoil="samples.csv")
    assert odd(found) == {"al.4": "fail package_checksum"}, told(found)


def test_a_package_that_is_not_the_one_that_the_cloud_names(found: Found) -> None:
    found[f"package/{UID}"]["alarm"]["body"]["alarm"]["package"]["sha256"] = "0" * 64
    assert odd(found) == {"al.4": "fail package_checksum"}


@pytest.mark.parametrize("data", [b"no zip", b"PK\x03\x04", b""])
def test_a_package_that_is_none(found: Found, data: bytes) -> None:
    scene.package(found, data)
    assert odd(found) == {"al.4": f"fail {'package_unreadable' if data else 'no_package'}"}, told(found)


def another_time(manifest: Found, rows: Found) -> None:
    for name in ("from_ms", "to_ms"):
        manifest["window"][name] -= 90_000
    for some in rows.values():
        for row in some:
            row[0] -= 90_000


def another_alarm(manifest: Found, _rows: Found) -> None:
    manifest["alarm"] = OWN_ALARM


def another_version(manifest: Found, _rows: Found) -> None:
    manifest["rule"] = {**manifest["rule"], "version": 3}


def other_limits(manifest: Found, _rows: Found) -> None:
    manifest["rule"] = {**manifest["rule"], "delay_s": 0.0}


def without_trigger(_manifest: Found, rows: Found) -> None:
    rows["voltage_avg"] = [r for r in rows["voltage_avg"] if r[0] != scene.PLANT_T]


def without_related(_manifest: Found, rows: Found) -> None:
    del rows["speed"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (another_time, "fail package_other_time"),
        (another_alarm, "fail package_other_alarm"),
        (another_version, "fail package_other_rule"),
        (other_limits, "fail package_other_rule"),
        (without_trigger, "fail package_without_trigger"),
        (without_related, "fail related_tags_missing"),
    ],
)
def test_packages(found: Found, change: Callable[[Found, Found], None], reason: str) -> None:
    scene.repack(found, change)
    assert odd(found) == {"al.4": reason}, told(found)


def test_a_trigger_that_violates_nothing(found: Found) -> None:
    """The alarm itself names a sample within the limits: al.2 says so first, and of the package it would be said too."""
    from verifier.judging.packages import judge_package, open_package

    limits = scene.PACK.thresholds.criteria["device.mon.alarm"]
    kept = found[f"package/{UID}"]
    inside = scene.rule(PLANT, 4, low=9.0)
    scene.repack(found, lambda m, _r: m.update(rule=inside))
    package = open_package(from_b64(kept["zip"]))
    outcome = judge_package(kept, package, alarms(plant(found))[0], inside, periods_ms={}, evidence=(), limits=limits)
    assert (outcome.state.value, outcome.reason) == ("fail", "trigger_does_not_violate")


def smoothed(_manifest: Found, rows: Found) -> None:
    for some in rows.values():
        values = [r[1] for r in some]
        for i, row in enumerate(some):
            near = values[max(0, i - 2) : i + 3]
            row[1] = row[1] if row[0] == scene.PLANT_T else sum(near) / len(near)


def with_a_gap(_manifest: Found, rows: Found) -> None:
    rows["current_a"] = [r for r in rows["current_a"] if not T0 - 20_000 < r[0] < T0 - 12_000]


def thinned(_manifest: Found, rows: Found) -> None:
    for tag, some in rows.items():
        rows[tag] = [r for r in some if (r[0] - scene.PLANT_T) % 5000 == 0]


def wrong_features(manifest: Found, _rows: Found) -> None:
    manifest["features"]["voltage_avg"]["slope_before_per_s"] += 1.0


def no_first_out(manifest: Found, _rows: Found) -> None:
    manifest["first_out"] = None


def wrong_first_out(manifest: Found, _rows: Found) -> None:
    manifest["first_out"] = {"tag": "load_pct", "t": scene.PLANT_T, "why": "limit"}


def other_first_out(manifest: Found, _rows: Found) -> None:
    manifest["first_out"] = {"tag": "speed", "t": scene.PLANT_T - 5000, "why": "left_normal_band"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (smoothed, "fail package_differs_from_sealed"),
        (with_a_gap, "fail package_differs_from_sealed"),
        (thinned, "fail package_differs_from_sealed"),
        (wrong_features, "fail features_differ"),
        (no_first_out, "fail first_out_missing"),
        (wrong_first_out, "fail first_out_wrong"),
    ],
)
def test_fluctuation(found: Found, change: Callable[[Found, Found], None], reason: str) -> None:
    scene.repack(found, change)
    assert odd(found) == {"al.5": reason}, told(found)


def test_another_reckoning_of_what_moved_first_is_shown_and_accuses_nobody(found: Found) -> None:
    scene.repack(found, other_first_out)
    assert odd(found) == {}


@pytest.mark.parametrize(("change", "reason"), [(with_a_gap, "fail gap_in_package"), (thinned, "fail rate_too_low")])
def test_an_edge_that_itself_seals_too_little(
    found: Found, change: Callable[[Found, Found], None], reason: str
) -> None:
    """What was sealed has the gap as well, and history does not show the rows."""
    signed = scene.rows()
    change({}, signed)
    scene.repack(found, change)
    found["windows/edge-1"] = scene.window(signed)
    found[f"package/{UID}"]["history"] = {
        tag: answer({"rows": [r for r in some if scene.PLANT_T - 60_000 <= r[0] <= scene.RAISED + 10_000]})
        for tag, some in signed.items()
    }
    assert odd(found) == {"al.5": reason}, told(found)


def test_a_window_that_ends_with_the_trigger(found: Found) -> None:
    signed = {tag: [r for r in some if r[0] <= scene.PLANT_T] for tag, some in scene.rows().items()}

    def cut(manifest: Found, rows: Found) -> None:
        manifest["window"]["to_ms"] = scene.PLANT_T
        for tag in rows:
            rows[tag] = [r for r in rows[tag] if r[0] <= scene.PLANT_T]

    scene.repack(found, cut)
    found["windows/edge-1"] = scene.window(signed)
    found[f"package/{UID}"]["history"] = {t: answer({"rows": s[-60:]}) for t, s in signed.items()}
    assert odd(found) == {"al.5": "fail window_short"}, told(found)


def test_an_edge_that_started_half_a_minute_ago_has_no_gap(found: Found) -> None:
    """What it had not yet acquired is not missing; less than that is a question for a person."""
    for since, odds in ((20_000, {}), (8_000, {"al.5": "review ring_short"})):
        young = scene.PLANT_T - since
        signed = {tag: [r for r in some if r[0] >= young] for tag, some in scene.rows().items()}

        def cut(manifest: Found, rows: Found, young: int = young) -> None:
            for tag in rows:
                rows[tag] = [r for r in rows[tag] if r[0] >= young]
            manifest |= scene.manifest_of(alarms(plant(found))[0], manifest["rule"], rows)
            manifest["window"]["ring_from_ms"] = young

        scene.repack(found, cut)
        found["windows/edge-1"] = scene.window(signed, ring_from_ms=young)
        for tag, answered in found[f"package/{UID}"]["history"].items():
            answered["body"]["rows"] = [r for r in signed[tag] if r[0] <= scene.RAISED + 10_000]
        assert odd(found) == odds, told(found)


def test_a_ring_that_is_said_to_be_younger_than_was_sealed(found: Found) -> None:
    scene.repack(found, lambda m, _r: m["window"].update(ring_from_ms=scene.PLANT_T - 20_000))
    assert odd(found) == {"al.5": "fail package_differs_from_sealed"}


def test_a_cloud_that_hands_over_no_frames(found: Found) -> None:
    for status, odds in ((404, "fail frames_refused"), (503, "not_checked frames_unanswered")):
        found["windows/edge-1"] = {"answers": [answer(None, status)], "proofs": []}
        assert odd(found) == {"al.5": odds}


def test_nothing_was_sealed(found: Found) -> None:
    found["windows/edge-1"]["answers"][0]["body"]["items"] = []
    assert odd(found) == {"al.5": "fail no_sealed_window"}


def test_the_window_of_another_alarm_is_none(found: Found) -> None:
    found["windows/edge-1"] = scene.window(scene.rows(), alarm=OWN_ALARM)
    assert odd(found) == {"al.5": "fail no_sealed_window"}


def test_a_window_that_is_not_in_the_ledger(found: Found) -> None:
    found["windows/edge-1"]["proofs"][0]["answer"] = answer(None, 404)
    assert odd(found) == {"al.5": "fail frame_not_in_ledger"}


def test_a_window_that_somebody_else_signed(found: Found) -> None:
    one = found["windows/edge-1"]["answers"][0]["body"]["items"][0]
    sealed = bytearray(from_b64(one["sealed"]))
    sealed[-1] ^= 1
    one["sealed"] = scene.to_b64(bytes(sealed))
    assert odd(found) == {"al.5": "fail frame_bad_signature"}


def test_history_that_says_otherwise(found: Found) -> None:
    found[f"package/{UID}"]["history"]["speed"]["body"]["rows"][5][1] += 1.0
    assert odd(found) == {"al.5": "fail package_differs_from_history"}, told(found)


def test_a_machine_that_says_otherwise(found: Found) -> None:
    """Package, sealed window and history agree with each other, and with nothing that the machine said."""
    for read in found[f"machine/{UID}"]["reads"]["speed"]:
        read[2] += 100.0
    assert odd(found) == {"al.5": "fail package_contradicts_reads"}, told(found)
