"""Tokens of the caller's enterprise. A token's secret is answered once, when it is made."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from cloud import tokens
from cloud.answers import Answer, Body, Name, answer, reading, writing
from cloud.auth import House, Principal, Role, needs
from cloud.errors import Json

router = APIRouter()

TokensAdmin = Annotated[Principal, needs("tokens.admin")]
Id = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]

_MAX_HOURS = 24 * 3660


class Token(BaseModel):
    """A token without its secret. `expires_ms` None: without an end."""

    id: str
    enterprise: str
    name: str
    role: Role
    created_ms: int
    created_by: str
    expires_ms: int | None
    revoked_ms: int | None


class TokensAnswer(Answer):
    """Tokens."""

    tokens: list[Token]


class TokenAnswer(Answer):
    """One token."""

    token: Token


class NewTokenAnswer(TokenAnswer):
    """A token and its secret, which is told only now."""

    secret: str


class NewToken(Body):
    """A token to make."""

    name: Name
    role: Role = "viewer"
    hours: float | None = Field(default=None, gt=0, le=_MAX_HOURS, strict=False)


class NewInspectorToken(Body):
    """A token for an inspector's visit."""

    name: Name
    hours: float = Field(default=8.0, gt=0, le=tokens.MAX_INSPECTOR_HOURS, strict=False)


@router.get("/tokens", response_model=TokensAnswer)
def list_tokens(caller: TokensAdmin, house: House) -> Json:
    """All tokens of the enterprise, ended ones too."""
    return answer(tokens=reading(house, lambda db: tokens.listed(db, caller.enterprise)))


@router.post("/tokens", status_code=201, response_model=NewTokenAnswer)
def create_token(body: NewToken, caller: TokensAdmin, house: House) -> Json:
    """Make a token."""
    return _create(house, caller, body.name, body.role, body.hours)


@router.post("/tokens/inspector", status_code=201, response_model=NewTokenAnswer)
def create_inspector_token(body: NewInspectorToken, caller: TokensAdmin, house: House) -> Json:
    """Make an inspector's token, which ends by itself within hours."""
    return _create(house, caller, body.name, "inspector", body.hours)


@router.delete("/tokens/{token}", response_model=TokenAnswer)
def revoke_token(token: Id, caller: TokensAdmin, house: House) -> Json:
    """End a token now."""
    ended = writing(house, lambda db: tokens.revoke(db, caller, enterprise=caller.enterprise, token=token))
    return answer(token=ended)


def _create(house: House, caller: Principal, name: str, role: Role, hours: float | None) -> Json:
    secret, entry = writing(
        house,
        lambda db: tokens.create(db, caller, enterprise=caller.enterprise, name=name, role=role, hours=hours),
    )
    return answer(201, token=entry, secret=secret)
