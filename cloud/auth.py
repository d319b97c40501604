"""Who asks: bearer tokens, each of one enterprise, with a role and an end.

The tokens file holds only SHA-256 hashes, so reading it gives nobody a token. It is read again when it changes: a token is
revoked by taking it out.
"""

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Annotated, Literal

import structlog
from fastapi import Depends
from fastapi.requests import HTTPConnection
from pydantic import AwareDatetime, Field

from cloud.errors import ApiError
from cloud.services import Services, services_of
from telemetry import clock, settings
from telemetry.points import Strict
from telemetry.settings import SettingsError

_log = structlog.get_logger(__name__)

Role = Literal["viewer", "operator", "engineer", "administrator", "inspector"]


class TokenEntry(Strict):
    """One token. `expires` with its time zone."""

    name: str = Field(min_length=1)
    enterprise: str = Field(min_length=1)
    role: Role = "viewer"
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    expires: AwareDatetime | None = None


class TokensFile(Strict):
    """The tokens file."""

    tokens: list[TokenEntry] = Field(default_factory=list[TokenEntry])


class Principal(Strict):
    """Who was let in. `expires_ms` None for a token without an end."""

    name: str
    enterprise: str
    role: Role
    expires_ms: int | None


def new_token() -> tuple[str, str]:
    """A new token, and its hash for the tokens file."""
    token = secrets.token_urlsafe(32)
    return token, hash_of(token)


def hash_of(token: str) -> str:
    """What stands in the tokens file for a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Tokens:
    """The tokens file, read again when it changes. Raises SettingsError if it cannot be read at first; later a faulty file
    is logged and the last good one stays in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._now()
        self._entries = settings.load(path, TokensFile).tokens

    def find(self, token: str) -> Principal | None:
        """Whose token this is; None for one that is unknown or has ended. Takes as long for any token."""
        self._refresh()
        digest = hash_of(token)
        found: TokenEntry | None = None
        for entry in self._entries:
            if hmac.compare_digest(entry.sha256, digest):
                found = entry
        if found is None:
            return None
        expires_ms = None if found.expires is None else int(found.expires.timestamp() * 1000)
        if expires_ms is not None and expires_ms <= clock.now_ms():
            return None
        return Principal(name=found.name, enterprise=found.enterprise, role=found.role, expires_ms=expires_ms)

    def _now(self) -> tuple[int, int]:
        try:
            status = self._path.stat()
        except OSError:
            return (0, 0)
        return status.st_mtime_ns, status.st_size

    def _refresh(self) -> None:
        stamp = self._now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._entries = settings.load(self._path, TokensFile).tokens
        except SettingsError as error:
            _log.error("tokens file cannot be used, the last good one stays in force", reason=str(error))


def authenticate(connection: HTTPConnection) -> Principal:
    """The principal of a request or WebSocket by its Authorization header. Raises ApiError."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError(401, "no_token", "缺少访问令牌", "a bearer token is needed")
    principal = services_of(connection).tokens.find(token.strip())
    if principal is None:
        raise ApiError(401, "bad_token", "访问令牌无效或已过期", "the token is unknown or has ended")
    return principal


Caller = Annotated[Principal, Depends(authenticate)]
House = Annotated[Services, Depends(services_of)]
