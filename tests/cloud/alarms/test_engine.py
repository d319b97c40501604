"""The engine over a real ledger: nothing twice and nothing forgotten, wherever it dies and however batches come again."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from cloud.alarms import rules, tables
from cloud.alarms.engine import AlarmEngine
from cloud.schema import open_database
from telemetry import clock
from tests.cloud.alarms.conftest import Alarming
from tests.ingest.edge_kit import ENTERPRISE

VALUES = (9.0, 11.0, 12.0, 9.0, 25.0, 26.0, 11.0, 5.0, 30.0)


async def test_first_rules_are_entered_once_and_stay_as_people_leave_them(alarming: Alarming) -> None:
    alarming.commit(1.0)
    await alarming.take()
    with alarming.database.begin() as db:
        found = {rule.id: rule for rule in rules.newest(db, ENTERPRISE)}
        pressure = found["bl_pressure_high"]
        assert (pressure.high, pressure.high_high, pressure.source, pressure.delay_s) == (1.15, 1.2, "equipment", 3.0)
        assert found["bl_flame_fail"].states == [0] and found["bl_flame_fail"].inhibit is not None
        assert found[f"stale-{alarming.device}"].kind == "stale"
        body = rules.RuleBody(**{**pressure.model_dump(include=set(rules.RuleBody.model_fields)), "high": 1.1})
        rules.change(db, ENTERPRISE, pressure.id, body, by="me", now_ms=clock.now_ms())
        rules.retire(db, ENTERPRISE, "bl_gas_leak", by="me", now_ms=clock.now_ms())
    alarming.commit(1.0)
    await alarming.take()
    with alarming.database.connect() as db:
        again = {rule.id: rule for rule in rules.newest(db, ENTERPRISE)}
    assert len(again) == len(found)
    assert again["bl_pressure_high"].high == 1.1 and again["bl_gas_leak"].retired_ms is not None


async def test_raised_escalated_cleared_and_told(alarming: Alarming) -> None:
    alarming.channel()
    rule = alarming.rule(high_high=20.0, hysteresis=0.5)
    alarming.commit(9.0, 11.0, 25.0, 9.8, 9.4)
    engine = await alarming.take()
    [alarm] = alarming.alarms()
    assert alarm["rule"] == rule.id and alarm["rule_version"] == 1 and alarm["device"] == alarming.device
    assert alarm["level"] == "high_high" and alarm["state"] == "cleared" and alarm["limit"] == 20.0
    assert alarm["trigger"] == {"t": alarming.now + 1000, "v": 11.0, "q": 0}
    assert alarm["cleared_ms"] == alarming.now + 4000
    assert alarm["package"]["state"] == "asked"
    assert {one["what"] for one in alarm["notices"]} == {"raised", "escalated", "cleared"}
    assert engine.raised.is_set()


async def test_a_batch_again_does_nothing(alarming: Alarming) -> None:
    alarming.channel()
    alarming.rule(high_high=20.0)
    alarming.commit(*VALUES)
    engine = await alarming.take()
    told, states = alarming.told(), alarming.states()
    assert told
    await alarming.take(engine)
    await alarming.take()  # another process
    await alarming.take(items=alarming.items()[-3:])
    assert alarming.told() == told and alarming.states() == states


class Killed(OperationalError):
    """The process died here, as far as the database can tell."""


def dying(url: str, at: int) -> Engine:
    """An engine whose n-th statement fails."""
    engine, count = open_database(url), 0

    @event.listens_for(engine, "before_cursor_execute")
    def _count(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == at:
            raise Killed("killed", None, Exception())

    return engine


async def test_killed_at_every_statement(alarming: Alarming) -> None:
    alarming.channel()
    rule = alarming.rule(high_high=20.0, delay_s=1)
    alarming.commit(1.0, at_ms=alarming.now - 1000)
    await alarming.take()
    alarming.commit(*VALUES)
    url = alarming.database.url.render_as_string(hide_password=False)
    before = alarming.states()
    survived = False
    for at in range(1, 400):
        engine = dying(url, at)
        try:
            await alarming.take(AlarmEngine(engine))
            survived = True
        except OperationalError:
            assert alarming.alarms() == [] and alarming.states() == before
        finally:
            engine.dispose()
        if survived:
            break
    assert survived
    told = alarming.told()
    assert [(alarm[0], alarm[3]) for alarm in told] == [(rule.id, "cleared")] * 2
    await alarming.take()
    assert alarming.told() == told


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 6), st.booleans(), st.booleans()), min_size=1, max_size=8))
async def test_any_batches_replays_and_restarts(alarming: Alarming, way: list[tuple[int, bool, bool]]) -> None:
    if not alarming.alarms():
        alarming.channel()
        alarming.rule(high_high=20.0, delay_s=1, hysteresis=1)
        alarming.rule(kind="rate", high=None, rate_per_s=12.0)
        alarming.commit(*VALUES)
        await alarming.take()
    told = alarming.told()
    with alarming.database.begin() as db:  # from the beginning
        for table in (tables.alarms, tables.events, tables.notices, tables.requests):
            db.execute(table.delete())
        for table in (tables.states, tables.cursors, tables.skipped):
            db.execute(table.delete())
    items = alarming.items()
    engine, at = AlarmEngine(alarming.database), 0
    for size, again, restart in [*way, (len(items), False, True)]:
        batch = items[at : at + size]
        at += len(batch)
        if restart:
            engine = AlarmEngine(alarming.database)
        if batch:
            await engine.take(batch)
        if again and batch:
            await engine.take(items[max(0, at - 2 * size) : at])
    assert alarming.told() == told


async def test_an_item_that_could_not_be_opened_comes_later_once(alarming: Alarming) -> None:
    alarming.rule()
    alarming.commit(11.0, 9.0)
    items = alarming.items()
    frames = [one for one in items if one.opened is not None and one.opened.frame is not None]
    rest = [one for one in items if one is not frames[0]]
    engine = await alarming.take(items=rest)
    assert alarming.alarms() == []
    await alarming.take(engine, items=[frames[0]])
    [alarm] = alarming.alarms()
    assert alarm["late"]  # something newer had been evaluated
    await alarming.take(engine, items=[frames[0]])
    assert len(alarming.alarms()) == 1


async def test_what_comes_late_is_recorded_and_nobody_told(alarming: Alarming) -> None:
    alarming.channel()
    alarming.rule()
    alarming.commit(1.0)
    engine = await alarming.take()
    hour_ago = alarming.now - 3_600_000
    alarming.commit(9.0, 11.0, 12.0, 13.0, at_ms=hour_ago)
    await alarming.take(engine)
    [alarm] = alarming.alarms()
    assert alarm["late"] and alarm["state"] == "cleared" and alarm["notices"] == []
    assert alarm["raised_ms"] == hour_ago + 1000
    alarming.commit(12.0, 8.0, at_ms=hour_ago + 4000)
    await alarming.take(engine)
    [alarm] = alarming.alarms()
    assert alarm["cleared_ms"] == hour_ago + 5000
    alarming.commit(11.0, at_ms=alarming.now + 5000)  # what is now is told
    await alarming.take(engine)
    _, live = alarming.alarms()
    assert not live["late"] and live["state"] == "active" and len(live["notices"]) == 1


async def test_a_change_of_a_rule_holds_from_the_next_row(alarming: Alarming) -> None:
    rule = alarming.rule()
    alarming.commit(8.0)
    engine = await alarming.take()
    rule = alarming.change(rule, high=7.0)
    await alarming.take(engine)
    assert alarming.alarms() == []
    alarming.commit(8.0, at_ms=alarming.now + 1000)
    await alarming.take(engine)
    [alarm] = alarming.alarms()
    assert alarm["rule_version"] == 2 and alarm["limit"] == 7.0 and alarm["state"] == "active"
    rule = alarming.change(rule, high=20.0)
    alarming.commit(8.0, at_ms=alarming.now + 2000)
    await alarming.take(engine)
    [alarm] = alarming.alarms()
    assert alarm["state"] == "cleared"
    alarming.commit(25.0, at_ms=alarming.now + 3000)
    await alarming.take(engine)
    with alarming.database.begin() as db:
        rules.retire(db, ENTERPRISE, rule.id, by="me", now_ms=clock.now_ms())
    await engine.tick()
    assert [alarm["state"] for alarm in alarming.alarms()] == ["cleared", "retired"]


async def test_the_past_is_judged_by_the_rules_of_then(alarming: Alarming) -> None:
    rule = alarming.rule()
    alarming.commit(11.0)
    arrived = max(one.arrival_ms for one in alarming.items())
    while clock.now_ms() <= arrived:
        pass
    alarming.change(rule, high=20.0)
    await alarming.take()
    [alarm] = alarming.alarms()
    assert alarm["rule_version"] == 1 and alarm["state"] == "active"
    alarming.commit(11.0, at_ms=alarming.now + 1000)
    await alarming.take()
    assert alarming.alarms()[0]["state"] == "cleared"


async def test_a_silent_machine(alarming: Alarming, monkeypatch: pytest.MonkeyPatch) -> None:
    alarming.channel()
    alarming.rule(tag="", high=None, kind="stale", stale_s=20)
    alarming.commit(1.0)
    engine = await alarming.take()
    await engine.tick()
    assert alarming.alarms() == []
    true_now = clock.now_ms
    monkeypatch.setattr(clock, "now_ms", lambda: true_now() + 25_000)
    restarted = AlarmEngine(alarming.database)
    await restarted.tick()
    assert alarming.alarms() == []  # one that has just begun must listen first
    await engine.tick()
    await engine.tick()
    [alarm] = alarming.alarms()
    assert alarm["level"] == "stale" and alarm["state"] == "active" and alarm["tag"] == ""
    assert alarm["t_sample"] == alarming.now and alarm["trigger"]["v"] is None and alarm["package"]["state"] == "none"
    alarming.commit(1.0, at_ms=alarming.now + 30_000)
    await alarming.take(engine)
    [alarm] = alarming.alarms()
    assert alarm["state"] == "cleared" and {one["what"] for one in alarm["notices"]} == {"raised", "cleared"}


async def test_two_engines_at_one_shard(alarming: Alarming) -> None:
    alarming.rule()
    alarming.commit(1.0)
    first, second = await alarming.take(), await alarming.take()
    alarming.commit(11.0, at_ms=alarming.now + 1000)
    await alarming.take(second)
    alarming.commit(12.0, at_ms=alarming.now + 2000)
    await alarming.take(first)
    alarming.commit(9.0, at_ms=alarming.now + 3000)
    await alarming.take(second)
    [alarm] = alarming.alarms()
    assert alarm["state"] == "cleared"


async def test_rows_out_of_order_tell_nothing_again_of_a_time_in_which_the_alarm_was_active(alarming: Alarming) -> None:
    alarming.rule()
    alarming.commit(11.0)
    engine = await alarming.take()
    alarming.commit(12.0, 12.0, at_ms=alarming.now + 4000)
    await alarming.take(engine)
    alarming.commit(11.5, at_ms=alarming.now + 2000)  # as an edge sends after a break
    await alarming.take(engine)
    [alarm] = alarming.alarms()
    assert alarm["state"] == "active" and not alarm["late"]
