"""A ledger entry: what was committed, as it came. The bytes of an entry are the data of its Merkle leaf.

CBOR array [arrival_ms, topic, sealed]
"""

from dataclasses import dataclass

import cbor2

MAX_ENTRY_BYTES = 16 << 20
_MAX_MS = 1 << 53


class EntryError(ValueError):
    """These bytes are not a ledger entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`arrival_ms` UTC when the cloud received it, `topic` it came on, `sealed` the message byte for byte."""

    arrival_ms: int
    topic: str
    sealed: bytes


def encode(entry: Entry) -> bytes:
    """Bytes of an entry: one spelling only."""
    return cbor2.dumps([entry.arrival_ms, entry.topic, entry.sealed], canonical=True)


def decode(data: bytes) -> Entry:
    """Inverse of `encode`. Raises EntryError for anything else, whatever the bytes."""
    if len(data) > MAX_ENTRY_BYTES:
        raise EntryError("too large")
    try:
        raw = cbor2.loads(data)
    except Exception as error:
        raise EntryError("not CBOR") from error
    if not isinstance(raw, list) or len(raw) != 3:
        raise EntryError("not an array of three")
    arrival_ms, topic, sealed = raw
    if type(arrival_ms) is not int or not 0 <= arrival_ms <= _MAX_MS:
        raise EntryError("arrival time is not in milliseconds")
    if type(topic) is not str or type(sealed) is not bytes:
        raise EntryError("expected a topic and bytes")
    entry = Entry(arrival_ms, topic, sealed)
    if encode(entry) != data:
        raise EntryError("not in canonical form")
    return entry
