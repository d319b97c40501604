"""Who is let in, and what they see."""

import asyncio
from typing import Annotated

import pytest
from fastapi import Request
from sqlalchemy import select
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from cloud.auth import SESSION_COOKIE, Principal, Role, csrf_of, needs
from cloud.people import create_user
from cloud.people import log_in as begin
from cloud.schema import people
from tests.cloud.conftest import House
from tests.ingest.edge_kit import ENTERPRISE, WALL

PASSWORD = "correct-horse"

PATHS = [
    "/time",
    "/devices",
    "/devices/edge-1-boiler/latest",
    "/devices/edge-1-boiler/history?tag=p&from=0&to=9",
    "/devices/edge-1-boiler/aggregate?tag=p&from=0&to=9",
    "/devices/edge-1-boiler/coverage?from=0&to=9",
    "/edges",
    "/ledger/head",
    "/ledger/proof?edge=edge-1&stream=00000000000000000000000000000000&sequence=0",
    "/ledger/consistency?shard=0&old=0&new=0",
]


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_told_without_a_token(house: House, path: str) -> None:
    for token, code in ((None, "no_token"), ("guess", "bad_token"), ("old", "bad_token")):
        answer = await house.get(path, token=token)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_sees_its_own_enterprise_only(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    assert len((await house.get("/devices")).json()["devices"]) == 1
    assert (await house.get("/devices", token="foreign")).json()["devices"] == []
    assert (await house.get("/edges", token="foreign")).json()["edges"] == []
    for path in PATHS[2:6]:
        assert (await house.get(path, token="foreign")).json()["error"]["code"] == "unknown_device"
    stream = house.edge.outbox.position().stream.hex()
    asked = {"edge": "edge-1", "stream": stream, "sequence": 0}
    assert (await house.get("/ledger/proof", **asked)).status_code == 200
    assert (await house.get("/ledger/proof", token="foreign", **asked)).json()["error"]["code"] == "not_committed"


async def test_a_revoked_token_is_refused_at_once(house: House) -> None:
    assert (await house.get("/time")).status_code == 200
    house.revoke("plant")
    assert (await house.get("/time")).status_code == 401
    assert (await house.get("/time", token="foreign")).status_code == 200


async def test_the_database_holds_no_secret(house: House) -> None:
    await log_in(house)
    with house.services.database.connect() as db:
        stored = "\n".join(
            str(tuple(row))
            for table in (people.tokens, people.sessions, people.users)
            for row in db.execute(select(table))
        )
    assert all(secret not in stored for secret in (*house.tokens.values(), PASSWORD))
    assert "argon2id" in stored


async def log_in(house: House, name: str = "ann", role: Role = "engineer") -> tuple[dict[str, str], str]:
    """A session's cookie header and its CSRF token."""
    with house.services.database.begin() as db:
        create_user(db, "test", enterprise=ENTERPRISE, name=name, password=PASSWORD, role=role)
    secret = await asyncio.to_thread(begin, house.services.database, name, PASSWORD, address="here")
    return {"Cookie": f"{SESSION_COOKIE}={secret}"}, csrf_of(secret)


async def test_a_session_reads_and_with_its_csrf_token_writes(house: House) -> None:
    cookie, csrf = await log_in(house, role="administrator")
    me = (await house.ask("GET", "/me", None, headers=cookie)).json()
    assert (me["name"], me["role"], me["via"], me["csrf"]) == ("ann", "administrator", "session", csrf)
    change = {"json": {"name": "某厂"}}
    for wrong in ({}, {"X-CSRF-Token": "guess"}, {"X-CSRF-Token": "密"}):
        headers = {**cookie, **{name: value.encode() for name, value in wrong.items()}}
        answer = await house.ask("PATCH", "/enterprise", None, headers=headers, **change)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "no_csrf")
    done = await house.ask("PATCH", "/enterprise", None, headers={**cookie, "X-CSRF-Token": csrf}, **change)
    assert done.json()["enterprise"]["name"] == "某厂"


async def test_a_forms_field_is_as_good_as_the_header(house: House) -> None:
    @house.app.post("/form")
    async def form(request: Request, caller: Annotated[Principal, needs("read")]) -> dict[str, str]:
        return {"who": caller.name, "field": str((await request.form())["field"])}

    cookie, csrf = await log_in(house)
    for given, status in ((csrf, 200), ("guess", 403)):
        answer = await house.ask("POST", "/../../form", None, headers=cookie, data={"csrf": given, "field": "x"})
        assert answer.status_code == status
    assert (await house.ask("POST", "/../../form", None, headers=cookie)).status_code == 403


async def test_a_live_socket_with_a_cookie_needs_a_page_of_this_host(house: House) -> None:
    cookie, _ = await log_in(house)
    url, own = f"ws://127.0.0.1:{house.port}/api/v1/live", f"http://127.0.0.1:{house.port}"
    for origin in (None, "http://evil.example", "null"):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, additional_headers=cookie, origin=origin, proxy=None):  # type: ignore[arg-type]
                pass
        assert refused.value.response.status_code == 403
    async with connect(url, additional_headers=cookie, origin=own, proxy=None) as socket:  # type: ignore[arg-type]
        await socket.ping()


async def test_a_session_ends_with_its_users_role_password_or_right(house: House) -> None:
    for change in ({"role": "viewer"}, {"disabled": True}, {"password": "another-password"}):
        name = next(iter(change))
        cookie, _ = await log_in(house, name=f"u-{name}")
        assert (await house.ask("GET", "/time", None, headers=cookie)).status_code == 200
        changed = await house.ask("PATCH", f"/users/u-{name}", "administrator", json=change)
        assert changed.status_code == 200, changed.text
        assert (await house.ask("GET", "/time", None, headers=cookie)).status_code == 401
