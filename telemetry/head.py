"""A head: what the whole ledger was at one moment, small enough to be signed, anchored outside and kept for ever.

    CBOR map {"time_ms", "shards": [[shard, size, root], …], "root", "prev"}

`shards` is sorted by number and names every shard that has leaves. `root` is the Merkle root (RFC 6962) over one leaf a
shard, the CBOR array [shard, size, root]. `prev` is SHA-256 of the signed head before this one, empty for the first, so
that heads form a chain of their own.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import cbor2
from cwt import COSE
from cwt.exceptions import CWTError

from telemetry import proof
from telemetry.keys import SigningKey, VerifyingKey

_BOUND = b"starproof ledger head"
MAX_HEAD_BYTES = 64 << 10
_MAX_SHARDS = 1024
_MAX_SIZE = 1 << 53


class HeadError(ValueError):
    """These bytes are not a head, or its root is not the root of its shards."""


@dataclass(frozen=True, slots=True)
class Head:
    """`time_ms` UTC; `shards` (shard, size, root) sorted by shard; `prev` as `digest` gives it, b"" for the first."""

    time_ms: int
    shards: tuple[tuple[int, int, bytes], ...]
    root: bytes
    prev: bytes = b""

    @property
    def sizes(self) -> dict[int, int]:
        """Leaves by shard."""
        return {shard: size for shard, size, _ in self.shards}


def make(time_ms: int, shards: Mapping[int, tuple[int, bytes]], prev: bytes = b"") -> Head:
    """A head over shards given as number → (size, root); shards without leaves are left out."""
    listed = tuple((shard, size, root) for shard, (size, root) in sorted(shards.items()) if size)
    return Head(time_ms, listed, root_over(listed), prev)


def root_over(shards: Sequence[tuple[int, int, bytes]]) -> bytes:
    """The root over all shards."""
    return proof.root_of([proof.leaf_hash(cbor2.dumps(list(one), canonical=True)) for one in shards])


def digest(signed: bytes) -> bytes:
    """What the next head has as `prev`."""
    return hashlib.sha256(signed).digest()


def encode(head: Head) -> bytes:
    """The payload to be signed."""
    return cbor2.dumps(
        {"time_ms": head.time_ms, "shards": [list(s) for s in head.shards], "root": head.root, "prev": head.prev},
        canonical=True,
    )


def decode(payload: bytes) -> Head:
    """Inverse of `encode`; the root is computed again. Raises HeadError for anything else, whatever the bytes."""
    if len(payload) > MAX_HEAD_BYTES:
        raise HeadError("too large")
    try:
        raw = cbor2.loads(payload)
    except Exception as error:
        raise HeadError("not CBOR") from error
    if not isinstance(raw, dict) or set(raw) != {"time_ms", "shards", "root", "prev"}:
        raise HeadError("not a head")
    shards = raw["shards"]
    if not isinstance(shards, list) or len(shards) > _MAX_SHARDS:
        raise HeadError("shards are not a list")
    listed = tuple(_shard(one) for one in shards)
    numbers = [shard for shard, _, _ in listed]
    if numbers != sorted(set(numbers)):
        raise HeadError("shards out of order")
    if type(raw["time_ms"]) is not int or not 0 <= raw["time_ms"] <= _MAX_SIZE:
        raise HeadError("time is not in milliseconds")
    if type(raw["prev"]) is not bytes or len(raw["prev"]) not in (0, proof.HASH_BYTES):
        raise HeadError("the previous head's hash has the wrong length")
    if raw["root"] != root_over(listed):
        raise HeadError("the root is not the root of the shards")
    head = Head(raw["time_ms"], listed, raw["root"], raw["prev"])
    if encode(head) != payload:
        raise HeadError("not in canonical form")
    return head


def _shard(raw: Any) -> tuple[int, int, bytes]:
    if not isinstance(raw, list) or len(raw) != 3:
        raise HeadError("a shard is [number, size, root]")
    shard, size, root = raw
    if type(shard) is not int or not 0 <= shard < _MAX_SHARDS or type(size) is not int or not 0 < size <= _MAX_SIZE:
        raise HeadError("a shard's number or size is out of range")
    if type(root) is not bytes or len(root) != proof.HASH_BYTES:
        raise HeadError("a shard's root is not a hash")
    return shard, size, root


def sign(head: Head, signer: SigningKey) -> bytes:
    """COSE_Sign1 (RFC 9052) over an encoded head."""
    protected = {1: -8, 4: signer.id}  # alg EdDSA, kid
    signed = COSE.new().encode_and_sign(encode(head), signer.cose, protected=protected, external_aad=_BOUND)
    return cast(bytes, signed)  # a CBORTag only where one is asked for


def verify(signed: bytes, key: VerifyingKey) -> Head:
    """A head that this key signed. Raises HeadError."""
    try:
        payload = COSE.new().decode(signed, key.cose, external_aad=_BOUND)
    except (CWTError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HeadError("not a head signed with this key") from error
    return decode(payload)


def read_unverified(signed: bytes) -> Head:
    """A head whose signature is not checked: for the house that made it, to show it. Raises HeadError."""
    try:
        payload = cbor2.loads(signed).value[2]
    except Exception as error:
        raise HeadError("not a signed head") from error
    return decode(payload)
