"""Committed values off the broker into the hub: unlocked with the house's live key; what does not unlock is nobody's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog

from cloud.live import LiveBatch, LiveHub
from ingest import live
from telemetry import clock, topics
from telemetry.mqtt import BrokerSettings, Incoming, Session
from telemetry.seal import SealError

_log = structlog.get_logger(__name__)

_MAX_AGE_MS = 60_000  # ingest publishes nothing older than 10 s; the rest is for two computers' clocks


class LiveFeed:
    """Hands live messages to a hub. Raises OSError if the live key cannot be read."""

    def __init__(self, hub: LiveHub, key_file: Path) -> None:
        self._hub = hub
        self._secret = key_file.read_bytes()
        self.refused = 0

    def session(self, broker: BrokerSettings, client_id: str) -> Session:
        """A connection that feeds the hub while it is open."""
        return Session(broker, client_id, ((topics.LIVE_FILTER, 0),), on_message=self.receive)

    def receive(self, message: Incoming) -> None:
        """A message off the broker. A retained one is not live."""
        if message.retained:
            return
        try:
            batches = list(_batches(live.decode(message.payload, secret=self._secret, topic=message.topic)))
            if any(batch.arrival_ms < clock.now_ms() - _MAX_AGE_MS for batch in batches):
                raise SealError("old", "an old live message again")
        except (SealError, KeyError, TypeError) as error:
            self.refused += 1
            if (
                self.refused & (self.refused - 1) == 0
            ):  # the 1st, 2nd, 4th, 8th …: whoever floods us does not flood the log
                _log.warning("live message refused", topic=message.topic, count=self.refused, reason=str(error))
            return
        for batch in batches:
            self._hub.publish(batch)


def _batches(body: dict[str, Any]) -> Iterator[LiveBatch]:
    for one in body["devices"]:
        yield LiveBatch(body["enterprise"], one["device"], one["simulated"], body["arrival_ms"], one["rows"])
