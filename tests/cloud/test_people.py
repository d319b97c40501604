"""People, sessions, tokens, the audit chain and the register of machines, on both databases."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, insert

from cloud import audit, auth, fleet, people, tokens
from cloud.errors import ApiError
from cloud.people import LogInRefused, PeopleError
from cloud.schema import open_database
from ingest import tables as ingest_tables
from telemetry import clock
from telemetry.dictionary import DeviceSpec, Dictionary

E1, E2 = "E1", "E2"
PASSWORD = "correct-horse"


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


def enter(database: Engine, name: str, role: auth.Role = "viewer", enterprise: str = E1) -> None:
    with database.begin() as db:
        people.create_user(db, "test", enterprise=enterprise, name=name, password=PASSWORD, role=role)


def refused(database: Engine, name: str, password: str, address: str = "a") -> LogInRefused:
    with pytest.raises(LogInRefused) as told:
        people.log_in(database, name, password, address=address)
    return told.value


def test_a_session_from_log_in_to_log_out(database: Engine) -> None:
    enter(database, "ann", "operator")
    secret = people.log_in(database, "ann", PASSWORD, address="a")
    with database.connect() as db:
        found = auth.find_session(db, secret)
        assert found is not None
        assert (found.name, found.role, found.via, found.csrf) == ("ann", "operator", "session", auth.csrf_of(secret))
        assert auth.find_session(db, secret + "x") is None
        assert people.get(db, E1, "ann")["seen_ms"] is not None
    people.log_out(database, secret)
    with database.connect() as db:
        assert auth.find_session(db, secret) is None


def test_nothing_tells_a_wrong_name_from_a_wrong_password(database: Engine) -> None:
    enter(database, "ann")
    enter(database, "gone")
    with database.begin() as db:
        people.change_user(db, "test", enterprise=E1, name="gone", disabled=True)
    told = [refused(database, name, word) for name, word in (("ann", "wrong"), ("nobody", "wrong"), ("gone", PASSWORD))]
    assert len({(one.status, one.code, one.zh, one.en) for one in told}) == 1


def test_who_guesses_must_wait_and_others_need_not(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(database, "ann")
    start = now = clock.now_ms()
    monkeypatch.setattr(clock, "now_ms", lambda: now)
    waits = []
    for _ in range(people.FREE_FAILURES + 3):
        told = refused(database, "ann", "wrong")
        waits.append(told.wait_s)
        now += told.wait_s * 1000
    assert waits[: people.FREE_FAILURES] == [0] * people.FREE_FAILURES
    while refused(database, "ann", "wrong").wait_s == 0:
        pass
    assert refused(database, "ann", PASSWORD).status == 429  # also with the right one
    assert people.log_in(database, "ann", PASSWORD, address="elsewhere")
    now = start + 2 * 86_400_000
    assert people.log_in(database, "ann", PASSWORD, address="a")


def test_names_are_unique_passwords_not_weak_and_one_administrator_stays(database: Engine) -> None:
    enter(database, "root", "administrator")
    with pytest.raises(PeopleError, match="taken"):
        enter(database, "root", enterprise=E2)
    for weak in ("short", "x" * 300):
        with pytest.raises(PeopleError, match="password"), database.begin() as db:
            people.create_user(db, "test", enterprise=E1, name="bob", password=weak, role="viewer")
    changes: list[dict[str, Any]] = [{"role": "engineer"}, {"disabled": True}]
    for change in changes:
        with pytest.raises(PeopleError, match="one administrator"), database.begin() as db:
            people.change_user(db, "test", enterprise=E1, name="root", **change)
    enter(database, "second", "administrator")
    with database.begin() as db:
        people.change_user(db, "test", enterprise=E1, name="root", role="engineer")
    with pytest.raises(PeopleError) as told, database.begin() as db:
        people.change_user(db, "test", enterprise=E2, name="root", disabled=True)
    assert told.value.status == 404


def test_tokens_are_good_until_they_end(database: Engine) -> None:
    with database.begin() as db:
        secret, entry = tokens.create(db, "test", enterprise=E1, name="n", role="viewer", hours=1)
        over, _ = tokens.create(db, "test", enterprise=E1, name="o", role="viewer", hours=-1)
        with pytest.raises(PeopleError, match="named n"):
            tokens.create(db, "test", enterprise=E1, name="n", role="viewer", hours=1)
    with database.begin() as db:
        found = auth.find_token(db, secret)
        assert found is not None and (found.name, found.login) == ("n", entry["id"])
        assert auth.find_token(db, over) is None
        with pytest.raises(PeopleError):
            tokens.revoke(db, "test", enterprise=E2, token=entry["id"])
        tokens.revoke(db, "test", enterprise=E1, token=entry["id"])
        assert auth.find_token(db, secret) is None


def test_the_chain_holds_when_many_write_at_once(database: Engine) -> None:
    def go(number: int) -> None:
        for i in range(5):
            with database.begin() as db:
                audit.record(db, f"w{number}", "act", str(i), None, {"温度": i}, enterprise=E1)

    writers = [threading.Thread(target=go, args=(number,)) for number in range(4)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    with database.connect() as db:
        found = audit.entries(db, E1)
    assert [one["n"] for one in found] == list(range(1, 21))
    assert audit.verify(found, E1) is None
    assert audit.verify(found[7:], E1, previous=found[6]["hash"]) is None
    assert audit.verify(found, E2) == 1


def test_what_is_rolled_back_leaves_no_entry(database: Engine) -> None:
    with pytest.raises(RuntimeError), database.begin() as db:
        audit.record(db, "test", "act", "x", None, None, enterprise=E1)
        raise RuntimeError
    with database.begin() as db:
        assert audit.record(db, "test", "act", "x", None, None, enterprise=E1)["n"] == 1


def chain(length: int) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for n in range(1, length + 1):
        entry: dict[str, Any] = {"n": n, "time_ms": n, "who": "w", "role": "viewer", "action": "a", "object": "o"}
        entry |= {"before": None, "after": {"x": n}, "previous": out[-1]["hash"] if out else audit.FIRST}
        out.append(entry | {"hash": audit.digest(entry, E1)})
    return out


@given(st.data())
def test_any_change_of_the_log_is_found(data: st.DataObject) -> None:
    entries = chain(6)
    at = data.draw(st.integers(0, 5))
    match data.draw(st.sampled_from(["field", "rehash", "remove", "swap"])):
        case "field":
            field = data.draw(
                st.sampled_from(["time_ms", "who", "role", "action", "object", "before", "after", "hash"])
            )
            entries[at][field] = "forged"
        case "rehash" if at < 5:  # changed with a hash that fits: then the next one's predecessor does not
            entries[at]["who"] = "forged"
            entries[at]["hash"] = audit.digest(entries[at], E1)
        case "remove" if 0 < at < 5:
            del entries[at]
        case "swap" if at < 5:
            entries[at], entries[at + 1] = entries[at + 1], entries[at]
        case _:
            return
    assert audit.verify(entries, E1) is not None


def test_the_register_remembers_which_gateway_carried_a_machine_when(database: Engine) -> None:
    def declare(edge: str, at_ms: int, *uids: str, name: str = "") -> None:
        words = Dictionary(E1, edge, tuple(DeviceSpec(uid, "industrial_boiler", name) for uid in uids))
        row = {"enterprise": E1, "edge": edge, "body": words.encode(), "arrival_ms": at_ms, "order": at_ms}
        with database.begin() as db:
            db.execute(insert(ingest_tables.dictionaries).values(hash=words.hash, **row))

    def carried(uid: str, enterprise: str = E1) -> list[tuple[str, int, int | None]]:
        with database.connect() as db:
            _, found = fleet.registered(db, enterprise, uid)
        return [(one.edge, one.from_ms, one.to_ms) for one in found]

    declare("a", 10, "d1", "d2")
    assert (fleet.sync(database), fleet.sync(database)) == (1, 0)
    declare("b", 20, "d3")
    declare("a", 30, "d1", "d2", name="new")  # the same machines: nothing ends
    declare("b", 40, "d3", "d2")  # d2 moved
    declare("a", 50, "d1")
    declare("b", 60, "d3", name="n")  # d2 is gone
    assert fleet.sync(database, E1) == 5
    assert carried("d1") == [("a", 10, None)]
    assert carried("d2") == [("a", 10, 40), ("b", 40, 60)]
    assert carried("d3") == [("b", 20, None)]
    assert carried("d1", E2) == []


def test_an_inspectors_token_has_an_end_within_hours(database: Engine) -> None:
    with database.begin() as db:
        for hours in (None, 13.0):
            with pytest.raises(ApiError, match="12 hours"):
                tokens.create(db, "test", enterprise=E1, name="i", role="inspector", hours=hours)
        _, entry = tokens.create(db, "test", enterprise=E1, name="i", role="inspector", hours=8)
    assert entry["expires_ms"] > clock.now_ms()
