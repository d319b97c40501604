"""Checking what crossed the wire: signatures of frames and echoes, the ledger's signed head, inclusion under it.

Works on raw bytes as they were recorded and on pinned keys; nothing the cloud says about them is believed.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import cbor2

from telemetry.head import Head, HeadError
from telemetry.head import verify as verify_head
from telemetry.keys import VerifyingKey, verifying_key
from telemetry.messages import Echo, MessageError
from telemetry.proof import leaf_hash, verify_inclusion
from telemetry.seal import Item, SealError, check, peek
from telemetry.topics import Address, Channel
from verifier.evidence import EvidenceError, from_b64


@dataclass(frozen=True, slots=True)
class FrameCheck:
    """What a recorded frame is. `fault` is empty where the edge's key signed it for its topic and it carries the nonce."""

    stream: str = ""
    sequence: int = -1
    fault: str = ""


def check_frame(sealed: bytes, *, edge: Address, public: bytes, nonce: bytes) -> FrameCheck:
    """Whether the edge itself sent this frame in answer to this nonce: faults are malformed, wrong_key, bad_signature,
    no_nonce."""
    try:
        item: Item = check(sealed, key=verifying_key(public), topic=edge.topic(Channel.UP))
    except SealError as error:
        return FrameCheck(fault=error.code)
    if nonce not in item.header.nonces:
        return FrameCheck(item.header.stream.hex(), item.header.sequence, "no_nonce")
    return FrameCheck(item.header.stream.hex(), item.header.sequence)


def claims_nonce(sealed: bytes, nonce: bytes) -> bool:
    """Whether a frame carries a nonce, its signature not checked."""
    try:
        return nonce in peek(sealed).header.nonces
    except SealError:
        return False


def check_echo(data: bytes, *, edge: Address, public: bytes, nonce: bytes) -> Echo | None:
    """The edge's echo of this nonce, None if it is not that."""
    try:
        echo = Echo.verify(data, verifying_key(public), edge.topic(Channel.ECHO))
    except MessageError:
        return None
    return echo if echo.nonce == nonce and echo.edge == edge.edge else None


@dataclass(frozen=True, slots=True)
class InclusionCheck:
    """What the cloud's proof of a frame is worth. `fault` is empty where the frame stands in the tree under a head that
    the pinned key signed."""

    shard: int = -1
    leaf: int = -1
    size: int = -1
    arrival_ms: int | None = None
    fault: str = ""


class _Proof:
    """The fields of an answer of /ledger/proof, typed. Raises EvidenceError."""

    WHOLE: ClassVar[tuple[str, ...]] = ("shard", "leaf", "size")

    def __init__(self, raw: Any) -> None:
        if not isinstance(raw, dict) or not all(type(raw.get(name)) is int for name in self.WHOLE):
            raise EvidenceError("not a proof")
        self.shard, self.leaf, self.size = (int(raw[name]) for name in self.WHOLE)
        self.entry = from_b64(raw.get("entry"))
        self.head = from_b64(raw.get("head"))
        path = raw.get("path")
        if not isinstance(path, list) or len(path) > 64:
            raise EvidenceError("not a proof")
        self.path = [from_b64(step) for step in path]


def check_inclusion(raw: Any, *, sealed: bytes, edge: Address, head_key: bytes) -> InclusionCheck:
    """Whether the answer of /ledger/proof proves that exactly this frame is in the ledger. Faults: malformed, not_this_frame,
    bad_head, head_without_shard, not_included."""
    try:
        proof = _Proof(raw)
        arrival_ms, topic, stored = _entry(proof.entry)
    except EvidenceError:
        return InclusionCheck(fault="malformed")
    found = InclusionCheck(proof.shard, proof.leaf, proof.size, arrival_ms)

    def failed(fault: str) -> InclusionCheck:
        return InclusionCheck(found.shard, found.leaf, found.size, found.arrival_ms, fault)

    if stored != sealed or topic != edge.topic(Channel.UP):
        return failed("not_this_frame")
    head = _head(proof.head, verifying_key(head_key))
    if head is None:
        return failed("bad_head")
    root = next((r for shard, size, r in head.shards if (shard, size) == (proof.shard, proof.size)), None)
    if root is None:
        return failed("head_without_shard")
    if not verify_inclusion(leaf_hash(proof.entry), proof.leaf, proof.size, proof.path, root):
        return failed("not_included")
    return found


def _entry(data: bytes) -> tuple[int, str, bytes]:
    try:
        entry = cbor2.loads(data)
    except Exception as error:  # whatever cbor2 raises on hostile bytes means the same
        raise EvidenceError("not an entry") from error
    if not (
        isinstance(entry, list)
        and len(entry) == 3
        and type(entry[0]) is int
        and isinstance(entry[1], str)
        and isinstance(entry[2], bytes)
    ):
        raise EvidenceError("not an entry")
    return entry[0], entry[1], entry[2]


def _head(data: bytes, key: VerifyingKey) -> Head | None:
    try:
        return verify_head(data, key)
    except HeadError:
        return None
