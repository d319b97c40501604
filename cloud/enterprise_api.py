"""What the caller's enterprise says of itself."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel

from cloud import people
from cloud.answers import Answer, Body, PlainText, answer, reading, writing
from cloud.auth import Caller, House, Principal, needs
from cloud.errors import Json

router = APIRouter()

EnterpriseAdmin = Annotated[Principal, needs("enterprise.admin")]


class Enterprise(BaseModel):
    """`enterprise` is its unified social credit code."""

    enterprise: str
    name: str
    address: str
    contact: str
    phone: str
    changed_ms: int | None


class EnterpriseAnswer(Answer):
    """The enterprise."""

    enterprise: Enterprise


class EnterpriseChange(Body):
    """What to change; what is left out stays."""

    name: PlainText | None = None
    address: PlainText | None = None
    contact: PlainText | None = None
    phone: PlainText | None = None


@router.get("/enterprise", response_model=EnterpriseAnswer)
def enterprise(caller: Caller, house: House) -> Json:
    """The caller's enterprise."""
    return answer(enterprise=reading(house, lambda db: people.enterprise_of(db, caller.enterprise)))


@router.patch("/enterprise", response_model=EnterpriseAnswer)
def change_enterprise(body: EnterpriseChange, caller: EnterpriseAdmin, house: House) -> Json:
    """Change what it says of itself."""
    changes = body.model_dump(exclude_none=True)
    return answer(enterprise=writing(house, lambda db: people.change_enterprise(db, caller, changes)))
