"""The web service's configuration file."""

from pathlib import Path

from pydantic import Field, field_validator

from ingest.historian.settings import HistorianSettings
from telemetry import keys, settings
from telemetry.mqtt import BrokerSettings
from telemetry.points import Strict


class ListenSettings(Strict):
    """Where the API and the pages are served. `certificate` and `private_key` turn on TLS."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    certificate: str | None = None
    private_key: str | None = None


class GrantKeys(Strict):
    """The cloud's public keys (base64), which an approved edge pins: the web service needs no private ones."""

    receipt: str
    command: str
    exchange: str

    @field_validator("receipt", "command", "exchange")
    @classmethod
    def _key(cls, value: str) -> str:
        keys.from_text(value)
        return value


class CloudSettings(Strict):
    """`ledger` is a folder or an fsspec URL, with `ledger_options` for its file system; `database` is the one that ingest
    uses too; `live_key` is the file live.key in ingest's folder of keys. `grant_keys`: with them edges are approved here;
    `exchange_key`: the file exchange.pem, with it inspectors may open frames; `verifications`: the folder of the
    verifier's runs."""

    listen: ListenSettings = ListenSettings()
    ledger: str
    ledger_options: dict[str, str] = Field(default_factory=dict[str, str])
    database: str = Field(description="SQLAlchemy URL, for example sqlite:///starproof.db")
    historian: HistorianSettings
    broker: BrokerSettings = BrokerSettings()
    live_key: Path
    grant_keys: GrantKeys | None = None
    exchange_key: Path | None = None
    verifications: Path | None = None


def load(path: Path) -> CloudSettings:
    """Read the file. Raises SettingsError."""
    return settings.load(path, CloudSettings)
