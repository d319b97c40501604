"""The one SQL schema of the cloud: opened by whoever needs it, brought to its newest form by whoever comes first."""

import importlib
from importlib import resources

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, MetaData

from ingest import tables

_ROOMS = ("cloud.schema.people", "cloud.schema.fleet", "cloud.alarms.tables")
INGESTS = "ingest_"  # its tables are not in the migrations


def all_tables() -> MetaData:
    """The metadata with every room's tables on it."""
    for name in _ROOMS:  # by name, and late: they import this package
        importlib.import_module(name)
    from cloud.schema.metadata import metadata

    return metadata


def open_database(url: str) -> Engine:
    """An engine on the database, its tables brought to their newest form. Several processes may do this at once: one
    migrates, the others wait. Raises sqlalchemy.exc.SQLAlchemyError."""
    engine = tables.connect(url)
    with tables.alone(engine) as db:
        upgrade(db)
    return engine


def upgrade(db: Connection, revision: str = "head") -> None:
    """Bring the tables to a revision, within the connection's transaction."""
    config = Config()
    with resources.as_file(resources.files("cloud.schema") / "migrations") as folder:
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = db
        command.upgrade(config, revision)
