"""MQTT topics. Enterprise heads each, then one of 64 shards, so that ingest workers can share the load by subscription.

starproof/v1/{enterprise}/{shard}/{edge}/{channel}     between an edge and the cloud
starproof/v1/{enterprise}/live                         inside the cloud: committed values, locked, for web processes
"""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

SHARDS = 64
_ROOT = "starproof/v1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class TopicError(ValueError):
    """Not one of our topics, or a name that cannot stand in one."""


class Channel(StrEnum):
    """The last part of an edge's topics. Upwards: up, birth, will, echo. Downwards: receipt, challenge, window."""

    UP = "up"
    BIRTH = "birth"
    WILL = "will"
    ECHO = "echo"
    RECEIPT = "receipt"
    CHALLENGE = "challenge"
    WINDOW = "window"


_CHANNELS = frozenset(str(channel) for channel in Channel)


@dataclass(frozen=True, slots=True)
class Address:
    """Whose topic it is."""

    enterprise: str
    edge: str

    @property
    def shard(self) -> int:
        """0..63, from a hash of enterprise and edge: stays the same for ever."""
        return int.from_bytes(hashlib.sha256(f"{self.enterprise}/{self.edge}".encode()).digest()[:8], "big") % SHARDS

    def topic(self, channel: Channel) -> str:
        """The topic of one channel. Raises TopicError for names that cannot stand in a topic."""
        for name in (self.enterprise, self.edge):
            if not _NAME.fullmatch(name):
                raise TopicError(f"{name!r}: letters, digits, '_', '.', '-' only, at most 64")
        return f"{_ROOT}/{self.enterprise}/{self.shard:02d}/{self.edge}/{channel}"


def parse(topic: str) -> tuple[Address, Channel]:
    """Inverse of `Address.topic`. Raises TopicError, also where the shard is not the edge's own."""
    parts = topic.split("/")
    if len(parts) != 6 or "/".join(parts[:2]) != _ROOT or parts[5] not in _CHANNELS:
        raise TopicError(f"{topic!r} is not an edge's topic")
    address = Address(parts[2], parts[4])
    channel = Channel(parts[5])
    if address.topic(channel) != topic:
        raise TopicError(f"{topic!r}: shard is not the edge's own")
    return address, channel


def shard_filter(shard: int, channel: Channel) -> str:
    """Subscription to one channel of every edge in a shard."""
    return f"{_ROOT}/+/{shard:02d}/+/{channel}"


def live(enterprise: str) -> str:
    """Where committed values are handed to web processes."""
    return f"{_ROOT}/{enterprise}/live"


LIVE_FILTER = f"{_ROOT}/+/live"
