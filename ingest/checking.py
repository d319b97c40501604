"""Is this message an item that may be committed? Seal, key, topic, place in its stream; and, where the key and the
dictionary are there already, content. Whatever is refused is refused with a reason that is counted.
"""

from collections.abc import Callable
from dataclasses import dataclass

from telemetry import seal, streams
from telemetry.keys import VerifyingKey
from telemetry.mqtt import Incoming
from telemetry.seal import Item, SealError
from telemetry.streams import Place
from telemetry.topics import Address, Channel, TopicError, parse


@dataclass(frozen=True, slots=True)
class Checked:
    """An item with a good seal, and its place in its stream."""

    address: Address
    topic: str
    item: Item
    place: Place
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that is not committed, and why."""

    topic: str
    reason: str


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What is committed around a place: see `telemetry.streams.place`. `owner` is the edge whose stream it is."""

    held: bytes | None = None
    before: bytes | None = None
    after_previous: bytes | None = None
    forked: bool = False
    owner: Address | None = None


def check(
    message: Incoming,
    *,
    key_of: Callable[[Address], VerifyingKey | str],
    neighbours: Callable[[bytes, int], Neighbours],
) -> Checked | Refused:
    """Check one message. `key_of` gives an edge's key or the reason why there is none."""
    if message.retained:
        return Refused(message.topic, "retained")
    try:
        address, channel = parse(message.topic)
    except TopicError:
        return Refused(message.topic, "bad_topic")
    if channel is not Channel.UP:
        return Refused(message.topic, "bad_topic")
    key = key_of(address)
    if isinstance(key, str):
        return Refused(message.topic, key)
    try:
        item = seal.check(message.payload, key=key, topic=message.topic)
    except SealError as error:
        return Refused(message.topic, error.code)
    header = item.header
    around = neighbours(header.stream, header.sequence)
    if around.owner is not None and around.owner != address:
        return Refused(message.topic, "foreign_stream")
    where = streams.place(
        sequence=header.sequence,
        hash=item.hash,
        previous=header.previous,
        held=around.held,
        before=around.before,
        after_previous=around.after_previous,
        forked=around.forked,
    )
    return Checked(address, message.topic, item, where, message.payload)
