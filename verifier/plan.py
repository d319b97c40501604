"""The inspector's plan: where the cloud and the broker are, whose keys count, which machines and criteria.

Truth never comes from what is under test: the list of points is a file that the enterprise signed (a detached Ed25519
signature, RFC 8032, over the file's bytes, raw or base64), and the keys of edges and ledger are pinned here.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field

from telemetry.keys import KeyFileError, SigningKey, from_text, load_signing_key, verifying_key
from telemetry.mqtt import BrokerSettings
from telemetry.points import Machine, Strict
from telemetry.settings import SettingsError, load, parse
from verifier.readers.certificate import ensure_certificate
from verifier.readers.opcua import Credentials

CRITERIA = ("device.mon.realtime", "device.mon.trace", "device.mon.alarm")  # what is verified where a plan does not say


class PlanError(ValueError):
    """The plan cannot be used: a file is missing, a signature does not fit, a name is unknown."""


class CloudSettings(Strict):
    """The cloud's API; `head_key` is the base64 public key that signs the ledger's heads."""

    url: str = Field(pattern=r"^https?://")
    token_file: str
    head_key: str
    timeout_s: float = Field(5.0, gt=0, le=60)


class PageSettings(Strict):
    """The plant's pages as they are reached, and an ordinary viewer of them. `browser` names the program of a browser; where
    it is not given, the first Chromium there is."""

    url: str = Field(pattern=r"^https?://")
    username: str = Field(min_length=1)
    password_file: str
    browser: str | None = None


class NoticeSettings(Strict):
    """The verifier's own receiver of notices: where it listens (host:port, port 0 for any free one) and the json:// or
    jsons:// address under which the cloud reaches it (not given: the same)."""

    listen: str = Field(pattern=r"^\S+:\d{1,5}$")
    url: str | None = Field(None, pattern=r"^jsons?://[^/\s]+(/\S*)?$")


class InspectorSettings(Strict):
    """The inspector's private key and the certificate that the plant granted for hours."""

    key_file: str
    certificate_file: str


class PointListSettings(Strict):
    """The signed list of points and the enterprise's base64 public key."""

    file: str
    signature_file: str
    public_key: str


class EdgePin(Strict):
    """An edge whose key is pinned (base64)."""

    edge: str
    public_key: str


class OpcUaSettings(Strict):
    """The verifier's own OPC UA credentials: its certificate and key (made where neither file exists), and a user that
    is given only where the point list says that a machine asks for one."""

    certificate: str | None = None
    private_key: str | None = None
    username: str | None = None
    password_file: str | None = None


class PlanSettings(Strict):
    """plan.yaml. Relative paths are relative to the plan's folder."""

    enterprise: str
    cloud: CloudSettings
    broker: BrokerSettings = Field(default_factory=lambda: BrokerSettings.model_validate({}))
    inspector: InspectorSettings
    points: PointListSettings
    edges: list[EdgePin] = Field(min_length=1)
    machines: list[str] | Literal["all"] = "all"
    criteria: list[str] = Field(default_factory=lambda: list(CRITERIA))
    opcua: OpcUaSettings | None = None
    page: PageSettings | None = None
    notices: NoticeSettings | None = None
    read_every_s: float = Field(0.5, ge=0.1, le=5)
    window_s: float = Field(13.0, ge=5, le=120)


class PointList(Strict):
    """The plant's list of points (点表)."""

    enterprise: str
    machines: list[Machine] = Field(min_length=1)


@dataclass(frozen=True)
class Plan:
    """A plan with its files read and its signatures checked."""

    settings: PlanSettings
    folder: Path
    token: str
    inspector: SigningKey
    certificate: bytes
    machines: tuple[Machine, ...]
    edge_keys: Mapping[str, bytes]
    head_key: bytes
    credentials: Credentials
    viewer_password: str = field(default="", repr=False)


def sign_points(data: bytes, key: SigningKey) -> bytes:
    """The detached signature of a point list's bytes, as base64 text."""
    return base64.b64encode(key.cose.sign(data)) + b"\n"


def load_plan(path: Path) -> Plan:
    """Read a plan and everything it names. Raises PlanError."""
    try:
        settings = load(path, PlanSettings)
    except SettingsError as error:
        raise PlanError(str(error)) from error
    folder = path.parent.resolve()
    try:
        inspector = load_signing_key(folder / settings.inspector.key_file)
        edge_keys = {pin.edge: _public(pin.public_key, f"edge {pin.edge}") for pin in settings.edges}
        head_key = _public(settings.cloud.head_key, "cloud.head_key")
    except KeyFileError as error:
        raise PlanError(str(error)) from error
    machines = _machines(settings, folder)
    return Plan(
        settings=settings,
        folder=folder,
        token=_read(folder / settings.cloud.token_file).decode("utf-8", errors="replace").strip(),
        inspector=inspector,
        certificate=_read(folder / settings.inspector.certificate_file),
        machines=machines,
        edge_keys=edge_keys,
        head_key=head_key,
        credentials=_credentials(settings.opcua, folder),
        viewer_password=_secret(settings.page.password_file, folder) if settings.page else "",
    )


def _public(text: str, what: str) -> bytes:
    try:
        raw = from_text(text)
        verifying_key(raw)
    except KeyFileError as error:
        raise PlanError(f"{what}: {error}") from error
    return raw


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from error


def _secret(file: str, folder: Path) -> str:
    return _read(folder / file).decode("utf-8", errors="replace").strip()


def _machines(settings: PlanSettings, folder: Path) -> tuple[Machine, ...]:
    """The machines in scope from the signed list."""
    file = folder / settings.points.file
    data = _read(file)
    check_points(data, _read(folder / settings.points.signature_file), _public(settings.points.public_key, "points"))
    try:
        listed = parse(data.decode("utf-8"), PointList, name=str(file))
    except (SettingsError, UnicodeDecodeError) as error:
        raise PlanError(str(error)) from error
    if listed.enterprise != settings.enterprise:
        raise PlanError(f"{file}: the list is for enterprise {listed.enterprise}")
    by_uid = {m.uid: m for m in listed.machines}
    if len(by_uid) != len(listed.machines):
        raise PlanError(f"{file}: a machine stands in it twice")
    wanted = list(by_uid) if settings.machines == "all" else settings.machines
    if unknown := [uid for uid in wanted if uid not in by_uid]:
        raise PlanError(f"{file}: no machine {', '.join(unknown)}")
    return tuple(_resolved(by_uid[uid], folder) for uid in dict.fromkeys(wanted))


def check_points(data: bytes, signature: bytes, public: bytes) -> None:
    """Raises PlanError unless the enterprise signed exactly these bytes."""
    if len(signature) != 64:
        try:
            signature = base64.b64decode(signature.strip(), validate=True)
        except (ValueError, binascii.Error) as error:
            raise PlanError("the point list's signature is neither 64 bytes nor base64") from error
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except InvalidSignature as error:
        raise PlanError("the enterprise's signature does not fit the point list") from error


_FILES = ("password_file", "certificate", "private_key", "server_certificate")


def _resolved(machine: Machine, folder: Path) -> Machine:
    """Files that a connection names, relative to the plan's folder."""
    given = {name: getattr(machine.connection, name, None) for name in _FILES}
    paths = {name: str(folder / value) for name, value in given.items() if value is not None}
    return machine.model_copy(update={"connection": machine.connection.model_copy(update=paths)}) if paths else machine


def _credentials(own: OpcUaSettings | None, folder: Path) -> Credentials:
    if own is None:
        return Credentials()
    certificate, key, password = (
        None if p is None else str(folder / p) for p in (own.certificate, own.private_key, own.password_file)
    )
    if certificate is not None and key is not None:
        try:
            ensure_certificate(Path(certificate), Path(key))
        except OSError as error:
            raise PlanError(f"opcua: {error.filename}: cannot be written: {error.strerror}") from error
    return Credentials(certificate, key, own.username, password)
