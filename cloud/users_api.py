"""Users of the caller's enterprise, and who the caller is."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from cloud import people
from cloud.answers import Answer, Body, Name, NameInPath, answer, reading, writing
from cloud.auth import PERMISSIONS, Caller, House, Principal, Role, needs
from cloud.errors import Json

router = APIRouter()

UsersAdmin = Annotated[Principal, needs("users.admin")]
Password = Annotated[str, Field(min_length=people.LEAST_PASSWORD, max_length=people.LONGEST_PASSWORD)]


class User(BaseModel):
    """A user. `seen_ms`: when it last logged in."""

    name: str
    enterprise: str
    role: Role
    disabled: bool
    created_ms: int
    changed_ms: int
    seen_ms: int | None


class UserAnswer(Answer):
    """One user."""

    user: User


class UsersAnswer(Answer):
    """Users."""

    users: list[User]


class Me(Answer):
    """The caller. `csrf` is what a session must name when it changes something; None for a token."""

    name: str
    enterprise: str
    role: Role
    via: Literal["token", "session"]
    expires_ms: int | None
    csrf: str | None
    permissions: list[str]


class NewUser(Body):
    """A user to enter."""

    name: Name
    password: Password
    role: Role = "viewer"


class UserChange(Body):
    """What to change of a user; what is left out stays."""

    role: Role | None = None
    disabled: bool | None = None
    password: Password | None = None


@router.get("/me", response_model=Me)
def me(caller: Caller) -> Json:
    """Who the caller is, and what it may."""
    told = caller.model_dump(include={"name", "enterprise", "role", "via", "expires_ms", "csrf"})
    return answer(**told, permissions=[name for name in PERMISSIONS if caller.may(name)])


@router.get("/users", response_model=UsersAnswer)
def list_users(caller: UsersAdmin, house: House) -> Json:
    """All users of the enterprise."""
    return answer(users=reading(house, lambda db: people.users(db, caller.enterprise)))


@router.post("/users", status_code=201, response_model=UserAnswer)
def create_user(body: NewUser, caller: UsersAdmin, house: House) -> Json:
    """Enter a user."""
    made = writing(
        house,
        lambda db: people.create_user(
            db, caller, enterprise=caller.enterprise, name=body.name, password=body.password, role=body.role
        ),
    )
    return answer(201, user=made)


@router.patch("/users/{name}", response_model=UserAnswer)
def change_user(name: NameInPath, body: UserChange, caller: UsersAdmin, house: House) -> Json:
    """Change a user's role or password, or whether it may log in. Ends its sessions."""
    changed = writing(
        house,
        lambda db: people.change_user(
            db,
            caller,
            enterprise=caller.enterprise,
            name=name,
            role=body.role,
            disabled=body.disabled,
            password=body.password,
        ),
    )
    return answer(user=changed)
