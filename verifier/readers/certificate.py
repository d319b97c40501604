"""The verifier's own OPC UA application certificate: made once, where the plan names files that are not there yet."""

import os
import socket
from pathlib import Path

from asyncua.crypto.cert_gen import dump_private_key_as_pem, generate_private_key, generate_self_signed_app_certificate
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

URI = "urn:starproof:verifier"
DAYS = 365


def ensure_certificate(certificate: Path, key: Path) -> None:
    """Make a self-signed certificate and its key unless one of them exists. Raises OSError."""
    if certificate.exists() or key.exists():
        return
    private = generate_private_key()
    made = generate_self_signed_app_certificate(
        private,
        "starproof verifier",
        {"organizationName": "starproof"},
        [x509.UniformResourceIdentifier(URI), x509.DNSName(socket.gethostname())],
        [ExtendedKeyUsageOID.CLIENT_AUTH],
        days=DAYS,
    )
    der = certificate.suffix.lower() == ".der"
    _write(key, dump_private_key_as_pem(private), 0o600)
    _write(certificate, made.public_bytes(Encoding.DER if der else Encoding.PEM), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
