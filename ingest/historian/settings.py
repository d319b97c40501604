"""Which historian, in YAML: {kind: sqlite, path} or {kind: influxdb, url, database, …}."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ingest.historian.base import Historian
from telemetry.points import Strict


class SqliteSettings(Strict):
    """The embedded historian."""

    kind: Literal["sqlite"]
    path: str


class InfluxSettings(Strict):
    """An InfluxDB, or a server that speaks its v2 write API and InfluxQL. Secrets lie in files of their own: either a token,
    or a user name with a password."""

    kind: Literal["influxdb"]
    url: str
    database: str = "starproof"
    retention_policy: str = "autogen"
    token_file: str | None = None
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    timeout_s: float = Field(10.0, gt=0, le=300)

    @model_validator(mode="after")
    def _one_login(self) -> "InfluxSettings":
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together")
        if self.token_file is not None and self.username is not None:
            raise ValueError("either token_file or username, not both")
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("url starts with http:// or https://")
        return self


HistorianSettings = Annotated[SqliteSettings | InfluxSettings, Field(discriminator="kind")]


def open_historian(settings: SqliteSettings | InfluxSettings) -> Historian:
    """The historian that settings describe; nothing is reached yet. Raises OSError if a secret's file cannot be read."""
    if isinstance(settings, SqliteSettings):
        from ingest.historian.sqlite import SqliteHistorian

        return SqliteHistorian(Path(settings.path))
    from ingest.historian.influxdb import InfluxHistorian  # only who uses it needs its client

    return InfluxHistorian(settings)


def secret(path: str) -> str:
    """The first line of a secret's file. Raises OSError."""
    return Path(path).read_text(encoding="utf-8").strip()
