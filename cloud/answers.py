"""Shapes that several rooms of the API answer in, and the kinds of parameters that several of them take."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from cloud.errors import Json
from cloud.services import Services
from telemetry import clock

T = TypeVar("T")

# Text that a person enters: no control characters, which no database need take and no screen shows.
PLAIN = r"^[^\x00-\x1f\x7f]*$"
NAME = r"^[A-Za-z0-9_.@-]{1,64}$"

PlainText = Annotated[str, Field(max_length=256, pattern=PLAIN)]
Name = Annotated[str, Field(pattern=NAME)]
NameInPath = Annotated[str, Path(pattern=NAME)]
DeviceInPath = Annotated[str, Path(min_length=1, max_length=128, pattern=PLAIN)]


class Answer(BaseModel):
    """Of every answer: the cloud's clock when it was made, UTC ms."""

    server_ms: int


class Body(BaseModel):
    """Of every request's body: nothing that is not declared, no number for a text."""

    model_config = ConfigDict(extra="forbid", strict=True)


def answer(status: int = 200, **content: object) -> Json:
    """An answer with the cloud's clock."""
    return Json({"server_ms": clock.now_ms(), **content}, status_code=status)


def reading(house: Services, work: Callable[[Connection], T]) -> T:
    """Run what only reads."""
    with house.database.connect() as db:
        return work(db)


def writing(house: Services, work: Callable[[Connection], T]) -> T:
    """Run what changes something, in one transaction."""
    with house.database.begin() as db:
        return work(db)
