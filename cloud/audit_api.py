"""The audit log of the caller's enterprise, for whoever wants to check its chain too."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from cloud import audit
from cloud.answers import Answer, answer, reading
from cloud.auth import House, Principal, needs
from cloud.errors import Json

router = APIRouter()

AuditReader = Annotated[Principal, needs("audit.read")]

MAX_ENTRIES = 1000
_LARGE = 1 << 53


class Entry(BaseModel):
    """Who did what. `hash` is the SHA-256 of the canonical JSON of all other fields and the enterprise (cloud/audit.py);
    `previous` is the hash of the entry before."""

    n: int
    time_ms: int
    who: str
    role: str
    action: str
    object: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    previous: str
    hash: str


class AuditAnswer(Answer):
    """Entries. `broken_at`: the number of the first of them that does not fit the chain."""

    enterprise: str
    entries: list[Entry]
    more: bool
    broken_at: int | None


@router.get("/audit", response_model=AuditAnswer)
def list_entries(
    caller: AuditReader,
    house: House,
    after: Annotated[int, Query(ge=0, le=_LARGE, description="only entries with a higher number")] = 0,
    before: Annotated[
        int | None, Query(ge=1, le=_LARGE, description="newest first, of those with a lower number")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = 200,
    newest: Annotated[bool, Query(description="newest first")] = False,
) -> Json:
    """Entries in their order after a number; newest first with `newest` or `before`."""
    backwards = newest or before is not None

    def work(db: Any) -> list[dict[str, Any]]:
        if backwards:
            return audit.newest(db, caller.enterprise, limit=limit + 1, before=before)
        return audit.entries(db, caller.enterprise, after=after, limit=limit + 1)

    found = reading(house, work)
    some = found[:limit]
    in_order = some[::-1] if backwards else some
    broken = audit.verify(in_order, caller.enterprise)
    return answer(enterprise=caller.enterprise, entries=some, more=len(found) > limit, broken_at=broken)
