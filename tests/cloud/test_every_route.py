"""Every route there is: nobody without a log-in, nobody whose role is too low, nothing changed, nothing told."""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import MetaData, select

from cloud.alarms import rules
from cloud.alarms.rules import RuleBody
from cloud.app import create_app
from cloud.auth import PERMISSIONS, ROLES, permission_of
from cloud.people import create_user
from telemetry import clock
from tests.cloud.conftest import House
from tests.ingest.edge_kit import ENTERPRISE, WALL

_OPEN = {("GET", "/login"), ("POST", "/login")}  # a page for who is not in yet
_EVERYBODY_IN = {("POST", "/logout")}
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Route:
    """A method and address, with the permission it declares."""

    method: str
    path: str
    permission: str | None

    def filled(self, names: dict[str, str]) -> str:
        """The address with real things in it."""
        return re.sub(r"{(\w+)[^}]*}", lambda found: names.get(found[1], "x"), self.path)


def routes(app: Any) -> Iterator[Route]:
    """All routes of an application that take requests."""
    for one in iter_route_contexts(app.routes):
        dependant = getattr(one, "dependant", None)
        if dependant is None or not getattr(one, "methods", None):
            continue
        permissions = {permission_of(call) for call in _calls(dependant)} - {None}
        assert len(permissions) <= 1, f"{one.path}: more than one permission"
        for method in sorted(set(one.methods) & set(_METHODS)):
            yield Route(method, str(one.path), next(iter(permissions), None))


def _calls(dependant: Any) -> Iterator[Any]:
    yield dependant.call
    for other in dependant.dependencies:
        yield from _calls(other)


def dump(house: House) -> str:
    """The whole database, ingest's tables too."""
    metadata = MetaData()
    metadata.reflect(house.services.database)
    with house.services.database.connect() as db:
        return "\n".join(
            f"{table.name}: {sorted(map(repr, db.execute(select(table))))}" for table in metadata.sorted_tables
        )


@pytest.fixture
async def things(house: House) -> dict[str, str]:
    """Something of each kind, so that a route that lets somebody through would do something."""
    await house.commit(1.0, at_ms=WALL)
    body = RuleBody.model_validate({"device": house.device, "tag": "p", "zh": "压力高", "high": 10.0})
    with house.services.database.begin() as db:
        create_user(db, "test", enterprise=ENTERPRISE, name="ann", password="correct-horse", role="viewer")
        rule = rules.create(db, ENTERPRISE, body, source="user", by="test", now_ms=clock.now_ms())
    assert rule is not None
    listed = (await house.get("/tokens", "administrator")).json()["tokens"]
    names = {"uid": house.device, "edge": "edge-1", "rule": rule.id, "name": "ann", "token": listed[0]["id"]}
    return names | {"stream": "0" * 32, "shard": "0"}


def application(house: House) -> FastAPI:
    """The API, with the pages where the build has fetched their libraries."""
    from dashboards.app import extend
    from dashboards.assets import AssetsMissing

    app = create_app(house.services)
    with contextlib.suppress(AssetsMissing):
        extend(app)
    return app


def client_of(app: FastAPI) -> httpx.AsyncClient:
    """A client within the process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://plant.test")


async def test_every_route_keeps_out_who_may_not(house: House, things: dict[str, str]) -> None:
    app = application(house)
    found = list(routes(app))
    assert {one.path for one in found} >= {"/api/v1/users", "/api/v1/alarms/{alarm}", "/api/v1/devices/{uid}/history"}
    before = dump(house)
    async with client_of(app) as client:
        for route in found:
            key = (route.method, route.path)
            if key in _OPEN:
                continue
            assert route.permission is not None or key in _EVERYBODY_IN, f"{key} declares no permission"
            for who in (None, "guess", *ROLES):
                role_may = who in ROLES and (route.permission is None or who in PERMISSIONS[route.permission])
                if role_may:
                    continue
                headers = {} if who is None else {"Authorization": f"Bearer {house.tokens.get(who, who)}"}
                content = {} if route.method == "GET" else {"json": {}}
                answer = await client.request(route.method, route.filled(things), headers=headers, **content)
                _check(route, who, answer)
    assert dump(house) == before


def _check(route: Route, who: str | None, answer: httpx.Response) -> None:
    expected = 403 if who in ROLES else 401
    told = f"{route.method} {route.path} as {who}: {answer.status_code} {answer.text[:200]}"
    if answer.status_code == 303 and expected == 401 and not route.path.startswith("/api/"):
        assert answer.headers["location"].startswith("/login"), told
        return
    assert answer.status_code == expected, told
    if route.path.startswith("/api/"):
        assert set(answer.json()) == {"error"}, told
        assert set(answer.json()["error"]) == {"code", "zh", "en"}, told


async def test_another_enterprise_finds_nothing(house: House, things: dict[str, str]) -> None:
    """Whatever names something of the enterprise answers 404 (or refuses the question) to another's administrator."""
    before = dump(house)
    tried = 0
    async with client_of(house.app) as client:
        for route in routes(house.app):
            if "{" not in route.path or not route.permission or "administrator" not in PERMISSIONS[route.permission]:
                continue
            headers = {"Authorization": f"Bearer {house.tokens['foreign_admin']}"}
            query = {"tag": "p", "from": "0", "to": "9"} if route.method == "GET" else {}
            content = {} if route.method == "GET" else {"json": _bodies(route)}
            answer = await client.request(
                route.method, route.filled(things), headers=headers, params=query or None, **content
            )
            assert answer.status_code == 404, f"{route.method} {route.path}: {answer.status_code} {answer.text[:200]}"
            assert house.device not in json.dumps({k: v for k, v in answer.json().items() if k != "error"})
            tried += 1
        for path in ("/devices", "/edges", "/users", "/tokens", "/rules", "/alarms", "/channels", "/notices", "/audit"):
            answer = await client.get(f"/api/v1{path}", headers=headers)
            assert house.device not in answer.text and "edge-1" not in answer.text and '"ann"' not in answer.text
    assert tried >= 10
    assert dump(house) == before


def _bodies(route: Route) -> dict[str, Any]:
    if route.path.endswith("/shelve"):
        return {"until_ms": clock.now_ms() + 60_000, "reason": "x"}
    if route.method == "PUT":
        return {"device": "d", "tag": "p", "zh": "高", "high": 1.0}
    return {"note": ""} if route.path.endswith("/acknowledge") else {}
