"""The seal: COSE_Encrypt0 inside COSE_Sign1 (RFC 9052), so that anyone with the edge's public key can check who spoke,
when and in what order without reading the content.

The signature covers the header, the ciphertext and, as external data, the topic. The header names the stream and the
item's place in it, the hash of the item before, the dictionary, a salted hash of the plaintext, and the nonces of open
challenges. Frame key and salt come by HKDF (RFC 5869) from the epoch key and the place, so disclosing one frame's key
opens one frame and lets anyone check it against the header.

An epoch key lives in one process. It travels in an OPEN item, itself encrypted to ingest's X25519 key by HPKE (RFC 9180,
as COSE_Encrypt0 carries it).
"""

import hashlib
import os
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, cast

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cwt import COSE, COSEKey
from cwt.exceptions import CWTError

from telemetry.keys import SigningKey, VerifyingKey, exchange_public

HASH_BYTES = 16
STREAM_BYTES = 16
NONCE_BYTES = 16
EPOCH_BYTES = 8
MAX_SEALED = 1 << 20
MAX_NONCES = 8

_HEADER = -70001  # private-use label of our header in the protected bucket
_ALG, _KID, _IV = 1, 4, 5
_KTY_ALG = 3  # of a COSE_Key
_EDDSA, _CHACHA = -8, 24
_HPKE = 42  # HPKE-4: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305
_SIGN1, _ENCRYPT0 = 18, 16


class SealError(ValueError):
    """These bytes are not a sealed item, or not one of this key, topic or epoch. `code` is a short reason to count by."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


class ItemKind(IntEnum):
    """What a numbered item of a stream is."""

    DATA = 0
    DICTIONARY = 1
    OPEN = 2  # a process began: wrapped epoch key, parent stream, why, since when nothing was acquired
    LOSS = 3  # names a range of this stream that will never come
    WINDOW = 4  # raw rows around a moment, for which the cloud asked


@dataclass(frozen=True, slots=True)
class Header:
    """The signed header. `previous` is the hash of the item before (zeros for the first of a stream); `span` the first
    and last sample time in ms (0, 0 where there is none); `plain` the salted hash of the plaintext."""

    kind: ItemKind
    stream: bytes
    sequence: int
    previous: bytes
    dictionary: bytes
    epoch: bytes
    plain: bytes = b""
    span: tuple[int, int] = (0, 0)
    nonces: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """A sealed item whose signature is good, still closed."""

    header: Header
    key_id: bytes
    ciphertext: bytes
    hash: bytes = field(default=b"")


def item_hash(sealed: bytes) -> bytes:
    """The hash by which the next item names this one, and by which a fork is told from a repeat."""
    return hashlib.sha256(sealed).digest()[:HASH_BYTES]


def frame_key(epoch_key: bytes, stream: bytes, sequence: int) -> bytes:
    """Key of one item: 32 bytes from HKDF-SHA-256 over the epoch key."""
    return _hkdf(epoch_key, b"starproof frame key" + stream + sequence.to_bytes(8, "big"))


def _hkdf(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def _plain_hash(key: bytes, plaintext: bytes) -> bytes:
    return hashlib.sha256(_hkdf(key, b"starproof plaintext salt") + plaintext).digest()[:HASH_BYTES]


def seal(plaintext: bytes, header: Header, *, epoch_key: bytes, signer: SigningKey, topic: str) -> bytes:
    """Encrypt and sign. `header.plain` is filled in here."""
    key = frame_key(epoch_key, header.stream, header.sequence)
    inner = COSE.new().encode_and_encrypt(
        plaintext,
        COSEKey.from_symmetric_key(key, alg="ChaCha20/Poly1305"),
        protected={_ALG: _CHACHA},
        unprotected={_IV: os.urandom(12)},
        external_aad=header.stream + header.sequence.to_bytes(8, "big"),
    )
    return _sign(inner, header, _plain_hash(key, plaintext), signer, topic)


def seal_open(plaintext: bytes, header: Header, *, recipient_public: bytes, signer: SigningKey, topic: str) -> bytes:
    """An OPEN item: encrypted to ingest's X25519 key, because nobody knows the epoch key yet."""
    inner = COSE.new().encode_and_encrypt(
        plaintext,
        COSEKey.new({1: 1, _KTY_ALG: _HPKE, -1: 4, -2: recipient_public}),
        protected={_ALG: _HPKE},
        external_aad=header.stream + header.sequence.to_bytes(8, "big"),
    )
    return _sign(inner, header, hashlib.sha256(plaintext).digest()[:HASH_BYTES], signer, topic)


def _sign(inner: bytes, header: Header, plain: bytes, signer: SigningKey, topic: str) -> bytes:
    fields = [
        int(header.kind),
        header.stream,
        header.sequence,
        header.previous,
        header.dictionary,
        header.epoch,
        plain,
        list(header.span),
        list(header.nonces),
    ]
    protected = {_ALG: _EDDSA, _KID: signer.id, _HEADER: fields}
    sealed = COSE.new().encode_and_sign(inner, signer.cose, protected=protected, external_aad=topic.encode())
    return cast(bytes, sealed)  # a CBORTag only where one is asked for


def peek(sealed: bytes) -> Item:
    """The header of a sealed item WITHOUT checking its signature: to find out whose key to check it with, or to show what
    was refused. Raises SealError."""
    if len(sealed) > MAX_SEALED:
        raise SealError("oversize", f"{len(sealed)} bytes exceed {MAX_SEALED}")
    _, protected, payload, _ = _parts(sealed)
    return _item(sealed, protected, payload)


def check(sealed: bytes, *, key: VerifyingKey, topic: str) -> Item:
    """The header of a sealed item whose signature by `key` over header, content and `topic` is good. Raises SealError with
    code oversize, malformed, wrong_key or bad_signature."""
    if len(sealed) > MAX_SEALED:
        raise SealError("oversize", f"{len(sealed)} bytes exceed {MAX_SEALED}")
    protected_bytes, protected, payload, signature = _parts(sealed)
    item = _item(sealed, protected, payload)
    if item.key_id != key.id:
        raise SealError("wrong_key", "signed by another key")
    # RFC 9052 section 4.4: what is signed is the Sig_structure.
    to_verify = cbor2.dumps(["Signature1", protected_bytes, topic.encode(), payload])
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, to_verify)
    except InvalidSignature as error:
        raise SealError("bad_signature", "the signature does not fit content, header or topic") from error
    return item


def unseal(item: Item, *, epoch_key: bytes) -> bytes:
    """The plaintext of a DATA, DICTIONARY or LOSS item. Raises SealError (cannot_open, plaintext_differs)."""
    return unseal_with(item, key=frame_key(epoch_key, item.header.stream, item.header.sequence))


def unseal_with(item: Item, *, key: bytes) -> bytes:
    """As `unseal`, with the frame key alone, as disclosed in an evidence bundle."""
    header = item.header
    try:
        plaintext = COSE.new().decode(
            item.ciphertext,
            COSEKey.from_symmetric_key(key, alg="ChaCha20/Poly1305"),
            external_aad=header.stream + header.sequence.to_bytes(8, "big"),
        )
    except (CWTError, ValueError, TypeError) as error:
        raise SealError("cannot_open", "the key does not open this item") from error
    if _plain_hash(key, plaintext) != header.plain:
        raise SealError("plaintext_differs", "the content is not what the signed header promised")
    return plaintext


def unseal_open(item: Item, *, private: X25519PrivateKey) -> bytes:
    """The plaintext of an OPEN item. Raises SealError."""
    secret = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    key = COSEKey.new({1: 1, _KTY_ALG: _HPKE, -1: 4, -2: exchange_public(private), -4: secret})
    header = item.header
    try:
        plaintext = COSE.new().decode(
            item.ciphertext, key, external_aad=header.stream + header.sequence.to_bytes(8, "big")
        )
    except (CWTError, ValueError, TypeError, KeyError) as error:
        raise SealError("cannot_open", "not encrypted to this key") from error
    if hashlib.sha256(plaintext).digest()[:HASH_BYTES] != item.header.plain:
        raise SealError("plaintext_differs", "the content is not what the signed header promised")
    return plaintext


def _parts(sealed: bytes) -> tuple[bytes, dict[Any, Any], bytes, bytes]:
    tag = _loads(sealed)
    value = tag.value if isinstance(tag, cbor2.CBORTag) and tag.tag == _SIGN1 else None
    if not (isinstance(value, list) and len(value) == 4):
        raise SealError("malformed", "not a COSE_Sign1")
    protected_bytes, unprotected, payload, signature = value
    if not all(isinstance(x, bytes) for x in (protected_bytes, payload, signature)):
        raise SealError("malformed", "not a COSE_Sign1")
    # An item is named by its hash, so there must be one way only to write it: else whoever carries it could make a fork of it.
    if unprotected != {} or cbor2.dumps(cbor2.CBORTag(_SIGN1, value)) != sealed:
        raise SealError("malformed", "not the one encoding of its content")
    protected = _loads(protected_bytes)
    if not isinstance(protected, dict) or protected.get(_ALG) != _EDDSA:
        raise SealError("malformed", "not signed with EdDSA")
    return protected_bytes, protected, payload, signature


def _loads(data: bytes) -> Any:
    try:
        return cbor2.loads(data)
    except Exception as error:  # cbor2's semantic tags raise whatever their types do; all mean the same here
        raise SealError("malformed", "not CBOR") from error


def _item(sealed: bytes, protected: dict[Any, Any], payload: bytes) -> Item:
    fields = protected.get(_HEADER)
    kid = protected.get(_KID)
    if not (isinstance(fields, list) and len(fields) == 9 and isinstance(kid, bytes)):
        raise SealError("malformed", "no header")
    kind, stream, sequence, previous, dictionary, epoch, plain, span, nonces = fields
    sized = (
        (stream, STREAM_BYTES),
        (previous, HASH_BYTES),
        (dictionary, HASH_BYTES),
        (epoch, EPOCH_BYTES),
        (plain, HASH_BYTES),
    )
    if not all(isinstance(x, bytes) and len(x) == n for x, n in sized):
        raise SealError("malformed", "header field of a wrong size")
    if not (_is_int(sequence) and 0 <= sequence < 1 << 53 and _is_int(kind) and kind in ItemKind._value2member_map_):
        raise SealError("malformed", "no such kind or sequence")
    if not (isinstance(span, list) and len(span) == 2 and all(_is_int(t) and 0 <= t < 1 << 53 for t in span)):
        raise SealError("malformed", "span is not two times")
    if not (isinstance(nonces, list) and len(nonces) <= MAX_NONCES):
        raise SealError("malformed", "too many nonces")
    if not all(isinstance(nonce, bytes) and len(nonce) <= 32 for nonce in nonces):
        raise SealError("malformed", "a nonce is too long")
    header = Header(
        ItemKind(kind), stream, sequence, previous, dictionary, epoch, plain, (span[0], span[1]), tuple(nonces)
    )
    return Item(header, kid, payload, item_hash(sealed))


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# ---- a symmetric envelope for messages inside one house


def lock(plaintext: bytes, *, secret: bytes, topic: str) -> bytes:
    """COSE_Encrypt0 under a shared secret, bound to a topic: for what ingest tells web over the broker, so that no plain
    value crosses there either."""
    return COSE.new().encode_and_encrypt(
        plaintext,
        COSEKey.from_symmetric_key(secret, alg="ChaCha20/Poly1305"),
        protected={_ALG: _CHACHA},
        unprotected={_IV: os.urandom(12)},
        external_aad=topic.encode(),
    )


def unlock(data: bytes, *, secret: bytes, topic: str) -> bytes:
    """Inverse of `lock`. Raises SealError."""
    try:
        return COSE.new().decode(
            data, COSEKey.from_symmetric_key(secret, alg="ChaCha20/Poly1305"), external_aad=topic.encode()
        )
    except (CWTError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SealError("cannot_open", "not locked with this secret for this topic") from error
