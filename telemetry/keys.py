"""Keys: Ed25519 to sign, X25519 to receive epoch keys, and where they lie on disk.

A private key is a PEM file (PKCS 8) of mode 0600; a public key is its 32 raw bytes, in text as base64. A key's id is the
first 8 bytes of the SHA-256 of its public bytes; a fingerprint is the whole hash in hex groups, for people to compare.
"""

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cwt import COSEKey

_KEY_ID_BYTES = 8


class KeyFileError(ValueError):
    """A key file is missing, unreadable or of the wrong type."""


def key_id(public: bytes) -> bytes:
    """Key id of a public key's 32 raw bytes."""
    return hashlib.sha256(public).digest()[:_KEY_ID_BYTES]


def fingerprint(public: bytes) -> str:
    """SHA-256 of the raw public key, upper-case hex in groups of four."""
    text = hashlib.sha256(public).hexdigest().upper()
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def to_text(public: bytes) -> str:
    """Base64 of a public key."""
    return base64.b64encode(public).decode()


def from_text(text: str) -> bytes:
    """Inverse of `to_text`. Raises KeyFileError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise KeyFileError("not base64") from error
    if len(raw) != 32:
        raise KeyFileError(f"a public key has 32 bytes, not {len(raw)}")
    return raw


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 private key, ready for COSE."""

    public: bytes
    cose: Any

    @property
    def id(self) -> bytes:
        return key_id(self.public)


@dataclass(frozen=True)
class VerifyingKey:
    """An Ed25519 public key, ready for COSE."""

    public: bytes
    cose: Any

    @property
    def id(self) -> bytes:
        return key_id(self.public)


def signing_key(private: Ed25519PrivateKey) -> SigningKey:
    """Wrap a private key."""
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return SigningKey(public, COSEKey.from_pem(pem, alg="EdDSA", kid=key_id(public)))


def verifying_key(public: bytes) -> VerifyingKey:
    """Wrap 32 raw bytes. Raises KeyFileError."""
    try:
        pem = Ed25519PublicKey.from_public_bytes(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    except ValueError as error:
        raise KeyFileError("not an Ed25519 public key") from error
    return VerifyingKey(public, COSEKey.from_pem(pem, alg="EdDSA", kid=key_id(public)))


def load_signing_key(path: Path) -> SigningKey:
    """Read a private key. Raises KeyFileError."""
    private = _load(path)
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: not an Ed25519 private key")
    return signing_key(private)


def load_exchange_key(path: Path) -> X25519PrivateKey:
    """Read an X25519 private key. Raises KeyFileError."""
    private = _load(path)
    if not isinstance(private, X25519PrivateKey):
        raise KeyFileError(f"{path}: not an X25519 private key")
    return private


def exchange_public(private: X25519PrivateKey | X25519PublicKey) -> bytes:
    """The 32 raw public bytes of an X25519 key."""
    public = private.public_key() if isinstance(private, X25519PrivateKey) else private
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def create_signing_key(path: Path) -> SigningKey:
    """Make an Ed25519 key and write it. Raises KeyFileError if the file exists."""
    private = Ed25519PrivateKey.generate()
    _write(path, private)
    return signing_key(private)


def create_exchange_key(path: Path) -> X25519PrivateKey:
    """Make an X25519 key and write it. Raises KeyFileError if the file exists."""
    private = X25519PrivateKey.generate()
    _write(path, private)
    return private


def create_secret(path: Path, size: int = 32) -> bytes:
    """Make a random secret and write it, mode 0600. Raises KeyFileError if the file exists."""
    secret = os.urandom(size)
    write_private(path, secret)
    return secret


def write_private(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600. Raises KeyFileError if it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError as error:
        raise KeyFileError(f"{path}: exists; a key is never overwritten") from error


def _write(path: Path, private: Ed25519PrivateKey | X25519PrivateKey) -> None:
    write_private(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _load(path: Path) -> object:
    try:
        return load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{path}: not a PEM private key") from error
