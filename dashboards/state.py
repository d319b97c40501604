"""What the pages need beside cloud's services."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fastapi.requests import HTTPConnection


@dataclass(frozen=True, slots=True)
class PageState:
    """`settings` are the web service's."""

    settings: Any

    @property
    def verifications(self) -> Path | None:
        """The folder of the verifier's runs, if one is configured."""
        return getattr(self.settings, "verifications", None)


def state_of(connection: HTTPConnection) -> PageState:
    """The pages' state of the application that a request came to."""
    return cast(PageState, connection.app.state.pages)
