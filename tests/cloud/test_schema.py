"""The schema: migrations and metadata agree, on both databases, however many processes come first."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DatabaseError

from cloud import audit
from cloud.schema import INGESTS, all_tables, open_database
from cloud.schema import people as tables


def test_migrations_and_metadata_agree(database_url: str) -> None:
    engine = open_database(database_url)
    ours = {"include_name": lambda name, kind, _: kind != "table" or not name.startswith(INGESTS)}
    with engine.connect() as db:
        assert compare_metadata(MigrationContext.configure(db, opts=ours), all_tables()) == []
    engine.dispose()


def test_two_processes_may_open_it_at_once(database_url: str) -> None:
    errors: list[BaseException] = []

    def go() -> None:
        try:
            open_database(database_url).dispose()
        except BaseException as error:  # noqa: BLE001 – told by the assertion
            errors.append(error)

    several = [threading.Thread(target=go) for _ in range(4)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert errors == []


def test_the_database_itself_refuses_to_change_the_audit_log(database_url: str) -> None:
    engine = open_database(database_url)
    with engine.begin() as db:
        audit.record(db, "test", "x", "y", None, {"a": 1}, enterprise="E1")
    for statement in (update(tables.audit).values(who="nobody"), delete(tables.audit)):
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as db:
            db.execute(statement)
    with engine.connect() as db:
        assert [row.who for row in db.execute(select(tables.audit))] == ["test"]
    engine.dispose()
