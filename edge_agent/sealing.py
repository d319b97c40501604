"""One process's epoch: its key, and the items that only a process itself can write (OPEN, LOSS, re-sealed ones).

A new epoch is made at every start and its key never leaves this process but for the outbox's file (to open what it holds
after a fork) and, encrypted to ingest, the OPEN item. So an edge restored from a copy never seals twice under one key.
"""

import os
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Literal

from edge_agent.outbox import Draft, Loss, Outbox, Position, Stored
from telemetry import clock, seal
from telemetry.items import Lost, Opening, encode_losses
from telemetry.keys import SigningKey
from telemetry.seal import Header, ItemKind

NO_DICTIONARY = bytes(seal.HASH_BYTES)


@dataclass(frozen=True)
class Sealer:
    """Seals drafts under this process's epoch. `topic` is the edge's up topic, `exchange_key` ingest's X25519 key."""

    signer: SigningKey
    topic: str
    exchange_key: bytes
    boot: bytes
    epoch: bytes = field(default_factory=lambda: os.urandom(8))
    key: bytes = field(default_factory=lambda: os.urandom(32), repr=False)

    def seal(self, draft: Draft, position: Position) -> bytes:
        """The sealed item for a place in a stream."""
        header = Header(
            draft.kind,
            position.stream,
            position.sequence,
            position.previous,
            draft.dictionary,
            self.epoch,
            span=draft.span,
            nonces=draft.nonces,
        )
        if draft.kind is ItemKind.OPEN:
            return seal.seal_open(
                draft.plaintext, header, recipient_public=self.exchange_key, signer=self.signer, topic=self.topic
            )
        return seal.seal(draft.plaintext, header, epoch_key=self.key, signer=self.signer, topic=self.topic)

    def opening(
        self,
        *,
        reason: Literal["start", "fork"],
        parent: Position | None,
        idle_since_ms: int,
        wall_ms: int | None = None,
    ) -> Draft:
        """An OPEN item of this process. `parent`: the place at which a new stream leaves another; `idle_since_ms`: when the
        last item before was stored, 0 if there was none: nothing was acquired from then to `wall_ms` (default: now)."""
        at = clock.now_ms() if wall_ms is None else wall_ms
        body = Opening(
            epoch=self.epoch,
            key=self.key,
            boot=self.boot,
            wall_ms=at,
            reason=reason,
            parent=(parent.stream, parent.sequence) if parent else None,
            idle_since_ms=idle_since_ms,
            version=version("starproof"),
        )
        return Draft(ItemKind.OPEN, body.encode(), NO_DICTIONARY, (at, at), idle_since_ms=idle_since_ms)


def loss_draft(lost: list[Loss]) -> Draft:
    """The LOSS item for what was given up: which numbers of which stream, and the sample times they spanned."""
    ranges = [Lost(one.stream, one.low, one.high, *one.span) for one in lost]
    span = (min(one.span[0] for one in lost), max(one.span[1] for one in lost))
    return Draft(ItemKind.LOSS, encode_losses(ranges), NO_DICTIONARY, span)


def reopen(outbox: Outbox, sealer: Sealer, item: Stored) -> Draft | None:
    """The draft of an item this outbox sealed before, to be sealed by this process. An OPEN item opened another epoch: what
    remains of it is the time in which nothing was acquired, None where it stated none."""
    if item.kind is ItemKind.OPEN:
        if not item.idle_since_ms:
            return None
        return sealer.opening(reason="fork", parent=None, idle_since_ms=item.idle_since_ms, wall_ms=item.span[0])
    sealed = seal.peek(item.sealed)
    plaintext = seal.unseal(sealed, epoch_key=outbox.epoch_key(item.epoch))
    return Draft(item.kind, plaintext, sealed.header.dictionary, sealed.header.span, sealed.header.nonces)


def continue_in_new_stream(outbox: Outbox, sealer: Sealer, *, stream: bytes, since: int) -> Position | None:
    """After a fork of `stream` at `since`: everything still held from there on goes into the current stream, or, where that
    is the forked one, into a new one. Every stop that a dropped OPEN item stated is stated again, with its own times.
    Returns the new position; None if there was nothing to do. Raises OutboxError."""

    def opening(replaced: Stored | None) -> Draft:
        return sealer.opening(
            reason="fork",
            parent=Position(stream, since),
            idle_since_ms=replaced.idle_since_ms if replaced else 0,
            wall_ms=replaced.span[0] if replaced else None,
        )

    return outbox.reseal(
        stream,
        since=since,
        opening=opening,
        reopen=lambda item: reopen(outbox, sealer, item),
        seal=sealer.seal,
        epoch=sealer.epoch,
    )
