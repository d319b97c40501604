"""The API against its own description: whatever is sent, an answer is one of those described, and nothing is a 5xx."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cloud import tokens
from cloud.app import BASE, create_app
from cloud.devices import newest_rows
from cloud.live import LiveHub
from cloud.schema import open_database
from cloud.services import Services
from ingest.catalogue import Catalogue
from ingest.heads import HeadKeeper
from ingest.historian.sqlite import SqliteHistorian
from tests.cloud.conftest import grant_keys, ledger_key
from tests.ingest.edge_kit import ENTERPRISE, Cloud, Edge

_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_EXAMPLES = 12


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[FastAPI, str]]:
    """The application with a little in it, and an administrator's token."""
    cloud = Cloud(tmp_path / "cloud")
    (tmp_path / "edge").mkdir()
    edge = Edge(tmp_path / "edge", cloud)
    cloud.enrol(edge)
    edge.sample(1.0)
    cloud.send(*edge.messages())
    HeadKeeper(tmp_path / "cloud" / "ledger", cloud.shards, ledger_key(cloud)).keep()
    database = open_database(f"sqlite:///{cloud.folder / 'ingest.db'}")
    historian = SqliteHistorian(tmp_path / "historian.db")
    hub = LiveHub(lambda enterprise, device: newest_rows(historian, enterprise, device))
    reader = cloud.shards.reader
    services = Services(database, Catalogue(database), historian, reader, hub, grant_keys(cloud), cloud.exchange)
    with database.begin() as db:
        secret, _ = tokens.create(db, "test", enterprise=ENTERPRISE, name="admin", role="administrator", hours=None)
    yield create_app(services), secret
    database.dispose()
    cloud.shards.close()


def test_every_answer_is_a_described_one(served: tuple[FastAPI, str]) -> None:
    app, secret = served
    headers = {"Authorization": f"Bearer {secret}"}
    schema = schemathesis.openapi.from_asgi(f"{BASE}/openapi.json", app, headers=headers)
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
        for mode in modes:

            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            @hypothesis.settings(
                max_examples=_EXAMPLES,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def hold(case: schemathesis.Case) -> None:
                case.call_and_validate(headers=headers, checks=_CHECKS)

            try:
                hold()
            except hypothesis.errors.Unsatisfiable:
                continue  # nothing of this operation can be wrong
            tried += 1
    assert tried > 40
