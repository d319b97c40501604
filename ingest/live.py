"""Committed values on their way to web processes: decoded, locked with the house's live key, at QoS 0.

This consumer keeps no cursor: what a web process missed it asks the historian for, and an old value must not appear
as live. So it begins at the ledger's end, and leaves out what is older than it should be.
"""

from collections.abc import Callable
from typing import Any

import orjson

from ingest.index import Committed
from telemetry import clock, plain, seal, topics
from telemetry.seal import SealError

_MAX_AGE_MS = 10_000

Publish = Callable[[str, bytes], bool]


class LivePublisher:
    """`publish(topic, payload)` hands a message to the broker; one that it does not take is not kept."""

    name = "live"
    durable = False

    def __init__(self, publish: Publish, secret: bytes) -> None:
        self._publish = publish
        self._secret = secret

    async def take(self, batch: list[Committed]) -> list[Committed]:
        """Publish frames, one message each."""
        for one in batch:
            if one.opened is None or one.opened.frame is None or one.arrival_ms < clock.now_ms() - _MAX_AGE_MS:
                continue
            topic = topics.live(one.address.enterprise)
            self._publish(topic, seal.lock(encode(one), secret=self._secret, topic=topic))
        return []


def encode(one: Committed) -> bytes:
    """A frame as JSON: whose it is, when it arrived, where it lies in the ledger, and rows by device."""
    assert one.opened is not None and one.opened.frame is not None and one.opened.dictionary is not None
    words = one.opened.dictionary
    simulated = {device.uid: device.simulated for device in words.devices}
    return orjson.dumps(
        {
            "enterprise": one.address.enterprise,
            "edge": one.address.edge,
            "arrival_ms": one.arrival_ms,
            "leaf": [one.shard, one.leaf],
            "devices": [
                {"device": uid, "simulated": simulated[uid], "rows": rows}
                for uid, rows in plain.rows_by_device(one.opened.frame.samples, words).items()
            ],
        }
    )


def decode(data: bytes, *, secret: bytes, topic: str) -> dict[str, Any]:
    """Inverse of `encode` and lock. Raises SealError."""
    try:
        return orjson.loads(seal.unlock(data, secret=secret, topic=topic))
    except orjson.JSONDecodeError as error:
        raise SealError("malformed", "not a live message") from error
