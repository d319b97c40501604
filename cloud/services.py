"""What the API answers from, in one place, so that routes are plain functions of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from fastapi.requests import HTTPConnection
from sqlalchemy import Engine

from ingest.catalogue import Catalogue
from ingest.historian.base import Historian
from ingest.ledger.reader import Reader

if TYPE_CHECKING:
    from cloud.live import LiveHub
    from cloud.settings import GrantKeys


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a request may need. `grant_keys`: what an approved edge is given, None where edges are not approved here;
    `exchange_key`: opens epochs' keys for inspectors, None where it does not lie on this computer."""

    database: Engine
    catalogue: Catalogue
    historian: Historian
    ledger: Reader
    hub: "LiveHub"
    grant_keys: "GrantKeys | None" = None
    exchange_key: X25519PrivateKey | None = None


def services_of(connection: HTTPConnection) -> Services:
    """The services of the application that a request came to."""
    return cast(Services, connection.app.state.services)
