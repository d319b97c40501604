"""Both stores under one suite: what one historian does, the other does."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ingest.historian.base import Historian
from ingest.historian.settings import InfluxSettings, SqliteSettings, open_historian
from tests import influx


@pytest.fixture(scope="session")
def influx_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with influx.server(tmp_path_factory.mktemp("influx")) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("influxdb", marks=pytest.mark.influxdb)])
async def historian(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Historian]:
    if request.param == "sqlite":
        settings = SqliteSettings(kind="sqlite", path=str(tmp_path / "historian.db"))
    else:
        url = request.getfixturevalue("influx_url")
        settings = InfluxSettings(kind="influxdb", url=url, database=f"d{uuid.uuid4().hex}")
    store = open_historian(settings)
    yield store
    await store.close()
