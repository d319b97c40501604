"""Who this edge is: its own key, and the cloud's keys that it pinned at enrolment."""

from dataclasses import dataclass
from pathlib import Path

from edge_agent.settings import AgentSettings
from telemetry import enrolment, keys
from telemetry.enrolment import EnrolmentError, Grant, Request
from telemetry.keys import SigningKey, VerifyingKey

KEY_FILE = "edge.pem"


@dataclass(frozen=True)
class Identity:
    """The edge's key and the cloud's pinned keys. `exchange_key` is ingest's X25519 public key, 32 raw bytes."""

    signer: SigningKey
    receipt_key: VerifyingKey
    command_key: VerifyingKey
    exchange_key: bytes


def make_request(settings: AgentSettings) -> tuple[Request, str, str]:
    """Make the edge's key if there is none; returns the enrolment request, its one-time code, and the fingerprint."""
    path = settings.keys / KEY_FILE
    signer = keys.load_signing_key(path) if path.exists() else keys.create_signing_key(path)
    code = enrolment.make_code()
    request = Request(enterprise=settings.enterprise, edge=settings.edge, public_key=keys.to_text(signer.public))
    return enrolment.with_mac(request, code), code, keys.fingerprint(signer.public)


def pin(settings: AgentSettings, grant_file: Path, code: str) -> None:
    """Check the cloud's grant against the one-time code and pin its keys. Raises EnrolmentError."""
    grant = enrolment.read(grant_file, Grant)
    enrolment.check(grant, code)
    if (grant.enterprise, grant.edge) != (settings.enterprise, settings.edge):
        raise EnrolmentError(f"{grant_file}: a grant for {grant.enterprise}/{grant.edge}, not for this edge")
    enrolment.write(grant.model_copy(update={"mac": ""}), settings.cloud_keys)


def load_identity(settings: AgentSettings) -> Identity:
    """Raises EnrolmentError or KeyFileError, saying which step of the enrolment is missing."""
    if not (settings.keys / KEY_FILE).exists():
        raise EnrolmentError(f"no key in {settings.keys}: run `starproof edge init CONFIG` first")
    if not settings.cloud_keys.exists():
        raise EnrolmentError(
            f"{settings.cloud_keys} is not there: run `starproof edge pin CONFIG GRANT --code CODE` first"
        )
    grant = enrolment.read(settings.cloud_keys, Grant)
    return Identity(
        keys.load_signing_key(settings.keys / KEY_FILE),
        keys.verifying_key(keys.from_text(grant.receipt_key)),
        keys.verifying_key(keys.from_text(grant.command_key)),
        keys.from_text(grant.exchange_key),
    )
