"""Tokens: for programs, and for inspectors for a few hours."""

import secrets
from typing import Any

from sqlalchemy import Connection, insert, select, update

from cloud import audit, auth
from cloud.auth import Principal, Role
from cloud.errors import invalid
from cloud.people import PeopleError, ensure_enterprise
from cloud.schema import people as tables
from telemetry import clock

MAX_INSPECTOR_HOURS = 12


def create(
    db: Connection,
    who: Principal | str,
    *,
    enterprise: str,
    name: str,
    role: Role,
    hours: float | None,
    replace: bool = False,
) -> tuple[str, dict[str, Any]]:
    """A new token: the secret, which is kept nowhere, and its entry. `hours` None for a token without an end; `replace`
    revokes an earlier one of that name, which otherwise raises PeopleError (name_taken). Raises ApiError for an inspector's
    that would last too long."""
    if role == "inspector" and (hours is None or hours > MAX_INSPECTOR_HOURS):
        raise invalid(
            "hours",
            f"核验员令牌至多 {MAX_INSPECTOR_HOURS} 小时",
            f"an inspector's token lasts {MAX_INSPECTOR_HOURS} hours at most",
        )
    audit.lock(db, enterprise)
    ensure_enterprise(db, enterprise)
    now = clock.now_ms()
    for one in listed(db, enterprise):
        if one["name"] == name and good(one, now):
            if not replace:
                raise PeopleError("name_taken", f"已有名为 {name} 的令牌", f"there is a token named {name}")
            revoke(db, who, enterprise=enterprise, token=one["id"])
    secret, digest = auth.new_secret()
    row: dict[str, Any] = {
        "token": secrets.token_hex(8),
        "enterprise": enterprise,
        "name": name,
        "role": role,
        "created_ms": now,
        "created_by": who if isinstance(who, str) else who.name,
        "expires_ms": None if hours is None else now + round(hours * 3_600_000),
        "revoked_ms": None,
    }
    db.execute(insert(tables.tokens).values(hash=digest, **row))
    entry = _entry(row)
    audit.record(db, who, "token.create", row["token"], None, entry, enterprise=enterprise)
    return secret, entry


def listed(db: Connection, enterprise: str) -> list[dict[str, Any]]:
    """All tokens of an enterprise, newest first."""
    table = tables.tokens
    query = select(table).where(table.c.enterprise == enterprise).order_by(table.c.created_ms.desc(), table.c.token)
    return [_entry(row) for row in db.execute(query).mappings()]


def good(entry: dict[str, Any], now_ms: int) -> bool:
    """Whether a token lets anybody in."""
    return entry["revoked_ms"] is None and (entry["expires_ms"] is None or entry["expires_ms"] > now_ms)


def revoke(db: Connection, who: Principal | str, *, enterprise: str, token: str) -> dict[str, Any]:
    """End a token now. Raises PeopleError (unknown_token)."""
    audit.lock(db, enterprise)
    table = tables.tokens
    this = (table.c.enterprise == enterprise) & (table.c.token == token)
    row = db.execute(select(table).where(this)).mappings().first()
    if row is None:
        raise PeopleError("unknown_token", "没有该令牌", "there is no such token")
    before = _entry(row)
    if before["revoked_ms"] is not None:
        return before
    after = before | {"revoked_ms": clock.now_ms()}
    db.execute(update(table).where(this).values(revoked_ms=after["revoked_ms"]))
    audit.record(db, who, "token.revoke", token, before, after, enterprise=enterprise)
    return after


def _entry(row: Any) -> dict[str, Any]:
    names = ("enterprise", "name", "role", "created_ms", "created_by", "expires_ms", "revoked_ms")
    return {"id": row["token"], **{name: row[name] for name in names}}
