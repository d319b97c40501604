"""Ingest's configuration file."""

from pathlib import Path

from pydantic import Field, field_validator

from ingest.historian.settings import HistorianSettings
from telemetry import settings
from telemetry.mqtt import BrokerSettings
from telemetry.points import Strict
from telemetry.topics import SHARDS


class AlarmSettings(Strict):
    """For the alarm engine that `starproof ingest run` puts beside the worker. `package_before_s`, `package_after_s`: what
    an alarm's package covers before the condition began to hold, and after the alarm was raised."""

    enabled: bool = True
    package_before_s: float = Field(default=60.0, ge=0, le=600)
    package_after_s: float = Field(default=10.0, ge=0, le=280)


class IngestSettings(Strict):
    """`keys` is the folder of the cloud's keys; `shards` are this worker's, as "0-63" or "0,5,7-9"."""

    ledger: Path
    database: str = Field(description="SQLAlchemy URL, for example sqlite:///ingest.db")
    keys: Path
    broker: BrokerSettings = BrokerSettings()
    historian: HistorianSettings
    worker: str = "worker-1"
    shards: str = f"0-{SHARDS - 1}"
    head_period_s: float = Field(default=1.0, ge=0.1, le=3600)
    alarms: AlarmSettings = AlarmSettings()

    @field_validator("shards")
    @classmethod
    def _shards(cls, value: str) -> str:
        shard_numbers(value)
        return value


def shard_numbers(text: str) -> list[int]:
    """The numbers that "0,5,7-9" names. Raises ValueError."""
    numbers: set[int] = set()
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        if not low.isdigit() or (high and not high.isdigit()):
            raise ValueError(f'{part!r}: expected numbers such as "0-63" or "0,5,7-9"')
        numbers |= set(range(int(low), int(high or low) + 1))
    if not numbers or max(numbers) >= SHARDS:
        raise ValueError(f"shards are 0 to {SHARDS - 1}")
    return sorted(numbers)


def load(path: Path) -> IngestSettings:
    """Read the file. Raises SettingsError."""
    return settings.load(path, IngestSettings)
