"""The web service's configuration file."""

from pathlib import Path

from pydantic import Field

from ingest.historian.settings import HistorianSettings
from telemetry import settings
from telemetry.mqtt import BrokerSettings
from telemetry.points import Strict


class ListenSettings(Strict):
    """Where the API and the pages are served. `certificate` and `private_key` turn on TLS."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    certificate: str | None = None
    private_key: str | None = None


class CloudSettings(Strict):
    """`ledger` is a folder or an fsspec URL, with `ledger_options` for its file system; `database` is ingest's; `live_key`
    is the file live.key in ingest's folder of keys."""

    listen: ListenSettings = ListenSettings()
    tokens: Path
    ledger: str
    ledger_options: dict[str, str] = Field(default_factory=dict[str, str])
    database: str = Field(description="SQLAlchemy URL, for example sqlite:///ingest.db")
    historian: HistorianSettings
    broker: BrokerSettings = BrokerSettings()
    live_key: Path


def load(path: Path) -> CloudSettings:
    """Read the file. Raises SettingsError."""
    return settings.load(path, CloudSettings)
