"""What the API answers from, in one place, so that routes are plain functions of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from fastapi.requests import HTTPConnection

from ingest.catalogue import Catalogue
from ingest.historian.base import Historian
from ingest.ledger.reader import Reader

if TYPE_CHECKING:
    from cloud.auth import Tokens
    from cloud.live import LiveHub


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a request may need."""

    catalogue: Catalogue
    historian: Historian
    ledger: Reader
    tokens: "Tokens"
    hub: "LiveHub"


def services_of(connection: HTTPConnection) -> Services:
    """The services of the application that a request came to."""
    return cast(Services, connection.app.state.services)
