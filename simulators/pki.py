"""Self-signed application certificates for OPC UA (Part 6, 6.2.2): 2048-bit RSA, SHA-256, the ApplicationUri in the SAN."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from telemetry import clock

VALID_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Identity:
    """Files of an application: certificate (DER) and private key (PEM, readable by its owner only)."""

    certificate: Path
    private_key: Path


def application_identity(folder: Path, name: str, *, uri: str, hosts: tuple[str, ...] = ("localhost",)) -> Identity:
    """The identity `name` in `folder`, made if it is not there. `uri` is the ApplicationUri."""
    made = Identity(folder / f"{name}.der", folder / f"{name}.key.pem")
    if made.certificate.exists() and made.private_key.exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    made.private_key.touch(mode=0o600)
    made.private_key.write_bytes(pem)
    made.certificate.write_bytes(_certificate(key, name, uri, hosts).public_bytes(serialization.Encoding.DER))
    return made


def _certificate(key: rsa.RSAPrivateKey, name: str, uri: str, hosts: tuple[str, ...]) -> x509.Certificate:
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SIMULATED")]
    )
    now = datetime.datetime.fromtimestamp(clock.now_ms() / 1000, datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), *(_name(host) for host in hosts)]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(purposes, critical=False)
        .sign(key, hashes.SHA256())
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
