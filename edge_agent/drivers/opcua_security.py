"""How an OPC UA connection is secured: own certificate, pinned server certificate, user.

There is no fallback: a server that does not offer the configured policy, or shows another certificate than the pinned
one, is refused, and the agent says so. The own certificate is made (self-signed, with the application's URI as OPC UA
Part 6, 6.2.2 wants it) only where neither it nor its key exists; an existing file is never replaced, since the server's
side has accepted just that one.
"""

import asyncio
import hashlib
import os
import socket
from pathlib import Path

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies
from asyncua.crypto.cert_gen import generate_private_key, generate_self_signed_app_certificate
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from edge_agent.drivers.base import CannotAuthenticate
from telemetry.points import OpcUaConnection

_DAYS = 3650


async def make_client(connection: OpcUaConnection, *, application_uri: str) -> Client:
    """A client that is ready to connect. Raises CannotAuthenticate, OSError, asyncio.TimeoutError, ua.UaError."""
    client = Client(connection.endpoint, timeout=connection.timeout_s, watchdog_intervall=connection.timeout_s)
    client.application_uri = application_uri
    client.name = client.description = "starproof edge agent"
    if connection.username is not None:
        client.set_user(connection.username)
        client.set_password(_password(connection.password_file))
    if connection.policy != "None":
        await _secure(client, connection)
    return client


async def _secure(client: Client, connection: OpcUaConnection) -> None:
    certificate, key, pinned = connection.certificate, connection.private_key, connection.server_certificate
    if certificate is None or key is None or pinned is None:
        raise CannotAuthenticate(f"policy {connection.policy} needs certificate, private_key and server_certificate")
    own = await asyncio.to_thread(own_certificate, Path(certificate), Path(key), client.application_uri)
    client.application_uri = _uri(own) or client.application_uri
    server = await asyncio.to_thread(read_certificate, Path(pinned))
    policy = getattr(security_policies, f"SecurityPolicy{connection.policy}")
    mode = ua.MessageSecurityMode[connection.mode]
    await _check_offered(client, policy.URI, mode, server)
    await client.set_security(policy, certificate, key, server_certificate=pinned, mode=mode)


async def _check_offered(
    client: Client, policy_uri: str, mode: ua.MessageSecurityMode, pinned: x509.Certificate
) -> None:
    """What the server offers unasked, before anything secret is sent: a clear word instead of a closed socket."""
    endpoints = await client.connect_and_get_server_endpoints()
    fitting = [e for e in endpoints if e.SecurityPolicyUri == policy_uri and e.SecurityMode == mode]
    if not fitting:
        raise CannotAuthenticate(f"server offers no endpoint with {policy_uri.rpartition('#')[2]} and {mode.name}")
    wanted = pinned.public_bytes(Encoding.DER)
    shown = [bytes(e.ServerCertificate or b"")[: len(wanted)] for e in fitting]
    if wanted not in shown:
        raise CannotAuthenticate(
            f"server certificate {fingerprint(shown[0])} is not the pinned one {fingerprint(wanted)}"
        )


def fingerprint(der: bytes) -> str:
    """SHA-256 of a certificate, the first 16 bytes in hex: enough to compare by eye."""
    return hashlib.sha256(der).hexdigest()[:32]


def read_certificate(path: Path) -> x509.Certificate:
    """A certificate in PEM or DER. Raises CannotAuthenticate."""
    try:
        data = path.read_bytes()
        pem = data.lstrip().startswith(b"-----BEGIN")
        return x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
    except OSError as error:
        raise CannotAuthenticate(f"certificate {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CannotAuthenticate(f"{path} is not a certificate") from error


def own_certificate(certificate: Path, key: Path, application_uri: str) -> x509.Certificate:
    """The application's own certificate, made with its key where there is neither. Raises CannotAuthenticate."""
    if certificate.exists() != key.exists():
        there, lacking = (certificate, key) if certificate.exists() else (key, certificate)
        raise CannotAuthenticate(f"{there} exists but {lacking} does not")
    if not certificate.exists():
        _make(certificate, key, application_uri)
    return read_certificate(certificate)


def _make(certificate: Path, key: Path, application_uri: str) -> None:
    private = generate_private_key()
    made = generate_self_signed_app_certificate(
        private,
        "starproof edge agent",
        {"organizationName": "starproof"},
        [x509.UniformResourceIdentifier(application_uri), x509.DNSName(socket.gethostname())],
        [ExtendedKeyUsageOID.CLIENT_AUTH],
        days=_DAYS,
    )
    try:
        _write(key, private.private_bytes(_encoding(key), PrivateFormat.PKCS8, NoEncryption()), 0o600)
        _write(certificate, made.public_bytes(_encoding(certificate)), 0o644)
    except OSError as error:
        raise CannotAuthenticate(f"certificate cannot be written: {error.strerror}") from error


def _encoding(path: Path) -> Encoding:
    return Encoding.DER if path.suffix.lower() == ".der" else Encoding.PEM


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def _uri(certificate: x509.Certificate) -> str | None:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    return next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), None)


def _password(path: str | None) -> str:
    try:
        return Path(path or "").read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise CannotAuthenticate(f"password file {path} cannot be read: {error.strerror}") from error
