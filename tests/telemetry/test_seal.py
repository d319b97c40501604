"""Who spoke, when and in what order can be checked without reading; any change is refused with a reason."""

import os
from dataclasses import replace

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cwt import COSE
from hypothesis import given
from hypothesis import strategies as st

from telemetry import keys, seal
from telemetry.seal import Header, ItemKind, SealError

SIGNER = keys.signing_key(Ed25519PrivateKey.generate())
KEY = keys.verifying_key(SIGNER.public)
EPOCH_KEY = os.urandom(32)
TOPIC = "starproof/v1/E/01/edge/up"
HEADER = Header(
    ItemKind.DATA,
    os.urandom(16),
    41,
    os.urandom(16),
    os.urandom(16),
    os.urandom(8),
    span=(1, 2),
    nonces=(os.urandom(16),),
)
SEALED = seal.seal(b"content", HEADER, epoch_key=EPOCH_KEY, signer=SIGNER, topic=TOPIC)


def test_header_is_readable_without_the_content_and_opens_with_the_key() -> None:
    item = seal.check(SEALED, key=KEY, topic=TOPIC)
    assert replace(item.header, plain=b"") == HEADER
    assert b"content" not in SEALED
    assert seal.unseal(item, epoch_key=EPOCH_KEY) == b"content"


def test_another_cose_library_call_verifies_it_too() -> None:
    assert COSE.new().decode(SEALED, KEY.cose, external_aad=TOPIC.encode())


def test_one_disclosed_frame_key_opens_one_frame_only() -> None:
    item = seal.check(SEALED, key=KEY, topic=TOPIC)
    assert seal.unseal_with(item, key=seal.frame_key(EPOCH_KEY, HEADER.stream, 41)) == b"content"
    with pytest.raises(SealError, match="does not open"):
        seal.unseal_with(item, key=seal.frame_key(EPOCH_KEY, HEADER.stream, 42))


@pytest.mark.parametrize(
    ("sealed", "topic", "key", "code"),
    [
        (SEALED, TOPIC.replace("edge", "other"), KEY, "bad_signature"),
        (SEALED, TOPIC, keys.verifying_key(keys.signing_key(Ed25519PrivateKey.generate()).public), "wrong_key"),
        (SEALED[:-1], TOPIC, KEY, "malformed"),
        (SEALED + bytes(seal.MAX_SEALED), TOPIC, KEY, "oversize"),
        (b"", TOPIC, KEY, "malformed"),
    ],
)
def test_refused_with_a_reason(sealed: bytes, topic: str, key: keys.VerifyingKey, code: str) -> None:
    with pytest.raises(SealError) as refused:
        seal.check(sealed, key=key, topic=topic)
    assert refused.value.code == code


@pytest.mark.parametrize("bit", range(8))
def test_any_flipped_bit_is_found(bit: int) -> None:
    for at in range(len(SEALED)):
        changed = bytearray(SEALED)
        changed[at] ^= 1 << bit
        with pytest.raises(SealError):
            seal.check(bytes(changed), key=KEY, topic=TOPIC)


def test_the_same_content_cannot_be_written_another_way() -> None:
    tag = cbor2.loads(SEALED)
    protected, _, payload, signature = tag.value
    for unprotected in ([], {1: 2}, {-1: b"note"}):
        other = cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected, payload, signature]))
        with pytest.raises(SealError, match="one encoding"):
            seal.check(other, key=KEY, topic=TOPIC)
    longer = SEALED.replace(b"\x58\x40" + signature, b"\x59\x00\x40" + signature)  # its length in two bytes
    assert cbor2.loads(longer) == tag
    for other in (longer, SEALED + b"x"):
        with pytest.raises(SealError, match="one encoding"):
            seal.check(other, key=KEY, topic=TOPIC)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_the_one_error(data: bytes) -> None:
    with pytest.raises(SealError):
        seal.check(data, key=KEY, topic=TOPIC)
    with pytest.raises(SealError):
        seal.unlock(data, secret=EPOCH_KEY, topic=TOPIC)


def test_open_items_are_for_the_recipient_only() -> None:
    mine, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    header = replace(HEADER, kind=ItemKind.OPEN)
    sealed = seal.seal_open(b"epoch", header, recipient_public=keys.exchange_public(mine), signer=SIGNER, topic=TOPIC)
    item = seal.check(sealed, key=KEY, topic=TOPIC)
    assert seal.unseal_open(item, private=mine) == b"epoch"
    with pytest.raises(SealError, match="not encrypted"):
        seal.unseal_open(item, private=other)


def test_a_signed_promise_that_the_content_does_not_keep_is_found() -> None:
    item = seal.check(SEALED, key=KEY, topic=TOPIC)
    with pytest.raises(SealError, match="promised"):
        seal.unseal(replace(item, header=replace(item.header, plain=bytes(16))), epoch_key=EPOCH_KEY)


def test_locked_messages_open_with_secret_and_topic_only() -> None:
    locked = seal.lock(b"live", secret=EPOCH_KEY, topic="t")
    assert seal.unlock(locked, secret=EPOCH_KEY, topic="t") == b"live"
    for secret, topic in ((os.urandom(32), "t"), (EPOCH_KEY, "u")):
        with pytest.raises(SealError):
            seal.unlock(locked, secret=secret, topic=topic)
