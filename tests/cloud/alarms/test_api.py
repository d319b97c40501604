"""The alarm routes over a real database: what they answer, refuse, and write to the audit log."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from cloud import errors
from cloud.alarms import api, tables
from cloud.auth import Principal, authenticate
from ingest.catalogue import Catalogue
from telemetry import clock
from tests.cloud.alarms.conftest import Alarming
from tests.ingest.edge_kit import ENTERPRISE


class Api:
    """Asks as somebody: `who` may be changed between questions."""

    def __init__(self, alarming: Alarming) -> None:
        self.alarming = alarming
        self.who: dict[str, Any] = {"name": "eng", "role": "engineer", "enterprise": ENTERPRISE}
        app = FastAPI()
        errors.install(app)
        app.include_router(api.router, prefix="/api/v1")
        app.state.services = SimpleNamespace(database=alarming.database, catalogue=Catalogue(alarming.cloud.engine))
        app.dependency_overrides[authenticate] = lambda: Principal(**{**_PRINCIPAL, **self.who})
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x/api/v1")

    async def __call__(self, method: str, path: str, status: int = 200, body: Any = None, **params: Any) -> Any:
        answer = await self.client.request(method, path, json=body, params=params or None)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.headers["content-type"].startswith("application/json") else answer.content


_PRINCIPAL: dict[str, Any] = {
    name: {"expires_ms": None, "via": "token", "csrf": None}.get(name)
    for name in Principal.model_fields
    if name not in ("name", "role", "enterprise")
}


@pytest.fixture
async def ask(alarming: Alarming) -> AsyncIterator[Api]:
    alarming.commit(1.0)
    await alarming.take()
    made = Api(alarming)
    yield made
    await made.client.aclose()


def body(ask: Api, **fields: Any) -> dict[str, Any]:
    return {"device": ask.alarming.device, "tag": "p", "zh": "压力高", "high": 10.0, **fields}


async def test_a_rules_life(ask: Api) -> None:
    made = (await ask("POST", "/rules", 201, body(ask)))["rule"]
    assert made["version"] == 1 and made["source"] == "user" and made["changed_by"] == "eng"
    changed = (await ask("PUT", f"/rules/{made['id']}", body={**made, "high": 5.0, "if_version": 1}))["rule"]
    assert changed["version"] == 2 and changed["high"] == 5.0
    stale = await ask("PUT", f"/rules/{made['id']}", 409, {**made, "high": 6.0, "if_version": 1})
    assert stale["error"]["code"] == "changed_meanwhile"
    ended = (await ask("POST", f"/rules/{made['id']}/retire"))["rule"]
    assert ended["retired_ms"] is not None and ended["version"] == 3
    assert (await ask("POST", f"/rules/{made['id']}/retire"))["rule"] == ended
    await ask("PUT", f"/rules/{made['id']}", 409, body(ask))
    found = await ask("GET", f"/rules/{made['id']}")
    assert [one["version"] for one in found["versions"]] == [1, 2, 3] and found["server_ms"] > 0
    shown = {one["id"] for one in (await ask("GET", "/rules", device=ask.alarming.device))["rules"]}
    assert made["id"] not in shown and f"stale-{ask.alarming.device}" in shown
    every = {one["id"] for one in (await ask("GET", "/rules", device=ask.alarming.device, retired=True))["rules"]}
    assert every - shown == {made["id"]}


async def test_rules_that_name_what_is_not_there(ask: Api) -> None:
    await ask("POST", "/rules", 404, body(ask, device="nobody"))
    for wrong in ({"tag": "q"}, {"related": ["q"]}, {"inhibit": "q>1"}, {"divisor": "q"}, {"high": None}, {"x": 1}):
        answer = await ask("POST", "/rules", 400, body(ask, **wrong))
        assert set(answer["error"]) == {"code", "zh", "en"}
    await ask("POST", "/rules", 400, body(ask, device=None, type="spaceship"))
    await ask("GET", "/rules/nothing", 404)


async def test_an_alarms_life(ask: Api) -> None:
    rule = (await ask("POST", "/rules", 201, body(ask)))["rule"]
    ask.alarming.commit(11.0, at_ms=ask.alarming.now + 1000)
    await ask.alarming.take()
    [alarm] = (await ask("GET", "/alarms"))["alarms"]
    assert alarm["rule"] == rule["id"] and alarm["state"] == "active"
    ask.who |= {"name": "op", "role": "operator"}
    acknowledged = (await ask("POST", f"/alarms/{alarm['id']}/acknowledge", body={"note": "seen"}))["alarm"]
    assert acknowledged["acknowledged"]["by"] == "op"
    await ask("POST", f"/alarms/{alarm['id']}/acknowledge", 409, {"note": "again"})
    until = clock.now_ms() + 60_000
    shelved = (await ask("POST", f"/alarms/{alarm['id']}/shelve", body={"until_ms": until, "reason": "works"}))["alarm"]
    assert shelved["shelved"] == {"by": "op", "until_ms": until, "reason": "works"}
    await ask("POST", f"/alarms/{alarm['id']}/shelve", 400, {"until_ms": 1, "reason": "works"})
    assert (await ask("POST", f"/alarms/{alarm['id']}/unshelve"))["alarm"]["shelved"] is None
    await ask("POST", f"/alarms/{alarm['id']}/unshelve", 409)
    told = await ask("GET", f"/alarms/{alarm['id']}")
    assert [line["what"] for line in told["events"]] == ["raised", "acknowledged", "shelved", "unshelved"]
    assert told["rule"]["version"] == alarm["rule_version"]
    await ask("GET", f"/alarms/{alarm['id']}/package", 404)
    with ask.alarming.database.begin() as db:
        db.execute(tables.packages.insert().values(alarm=alarm["id"], bytes=b"PK", sha256="0" * 64, made_ms=1))
    assert await ask("GET", f"/alarms/{alarm['id']}/package") == b"PK"
    ask.alarming.commit(9.0, at_ms=ask.alarming.now + 2000)
    await ask.alarming.take()
    assert (await ask("GET", "/alarms"))["alarms"] == []
    assert len((await ask("GET", "/alarms", state="all", rule=rule["id"]))["alarms"]) == 1
    assert (await ask("GET", "/alarms", state="all", device="other"))["alarms"] == []


async def test_another_enterprise_sees_nothing(ask: Api) -> None:
    rule = (await ask("POST", "/rules", 201, body(ask)))["rule"]
    ask.alarming.commit(11.0, at_ms=ask.alarming.now + 1000)
    await ask.alarming.take()
    [alarm] = (await ask("GET", "/alarms"))["alarms"]
    ask.who |= {"enterprise": "E2"}
    assert (await ask("GET", "/alarms", state="all"))["alarms"] == []
    assert (await ask("GET", "/rules"))["rules"] == []
    await ask("GET", f"/rules/{rule['id']}", 404)
    await ask("PUT", f"/rules/{rule['id']}", 404, body(ask))
    for path, sent in (("acknowledge", {}), ("shelve", {"until_ms": clock.now_ms() + 9999, "reason": "x"})):
        await ask("POST", f"/alarms/{alarm['id']}/{path}", 404, sent)
    await ask("GET", f"/alarms/{alarm['id']}/package", 404)


async def test_channels(ask: Api) -> None:
    secret = "json://me:a-very-secret-word@127.0.0.1:9/x"
    made = (await ask("POST", "/channels", 201, {"name": "hook", "url": secret}))["channel"]
    assert "secret" not in made["url_shown"]
    assert "secret" not in str(await ask("GET", "/channels"))
    await ask("POST", "/channels", 400, {"name": "hook", "url": "nonsense"})
    ask.who |= {"name": "ins", "role": "inspector"}
    soon = clock.now_ms() + 3_600_000
    await ask("POST", "/channels", 403, {"name": "mail", "url": "mailto://u:p@example.com", "until_ms": soon})
    await ask("POST", "/channels", 400, {"name": "hook", "url": secret})
    await ask("POST", "/channels", 400, {"name": "hook", "url": secret, "until_ms": soon + 12 * 3_600_000})
    own = (await ask("POST", "/channels", 201, {"name": "mine", "url": secret, "until_ms": soon}))["channel"]
    notice = (await ask("POST", f"/channels/{own['id']}/test"))["notice"]
    assert [one["id"] for one in (await ask("GET", "/notices"))["notices"]] == [notice]
    await ask("DELETE", f"/channels/{made['id']}", 403)
    await ask("DELETE", f"/channels/{own['id']}")
    assert [one["id"] for one in (await ask("GET", "/channels"))["channels"]] == [made["id"]]
    await ask("DELETE", f"/channels/{own['id']}", 404)


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_who_may_not_write(ask: Api, role: str) -> None:
    rule = (await ask("POST", "/rules", 201, body(ask)))["rule"]
    ask.who |= {"role": role}
    await ask("POST", "/rules", 403, body(ask))
    await ask("PUT", f"/rules/{rule['id']}", 403, body(ask))
    await ask("POST", f"/rules/{rule['id']}/retire", 403)
    await ask("POST", "/channels", 403, {"name": "x", "url": "json://127.0.0.1/"})
    assert (await ask("GET", "/rules"))["rules"]


async def test_an_inspector_moves_the_plants_limits_and_ends_only_rules_of_his_own(ask: Api) -> None:
    plants = (await ask("POST", "/rules", 201, body(ask)))["rule"]["id"]
    ask.who |= {"name": "ins", "role": "inspector"}
    assert (await ask("PUT", f"/rules/{plants}", body=body(ask, high=5.0)))["rule"]["high"] == 5.0
    await ask("PUT", f"/rules/{plants}", 403, body(ask, enabled=False))
    await ask("POST", f"/rules/{plants}/retire", 403)
    own = (await ask("POST", "/rules", 201, body(ask)))["rule"]["id"]
    assert (await ask("POST", f"/rules/{own}/retire"))["rule"]["retired_ms"] is not None


async def test_of_a_web_hook_only_the_host_is_shown(ask: Api) -> None:
    url = "jsons://user:word@hook.example:8443/PATH?+Authorization=HEADER&-key=QUERY"
    await ask("POST", "/channels", 201, {"name": "hook", "url": url})
    [shown] = (await ask("GET", "/channels"))["channels"]
    assert shown["url_shown"] == "jsons://hook.example:8443/…"
    ask.who |= {"name": "ins", "role": "inspector"}
    later = clock.now_ms() + 3_600_000
    await ask("POST", "/channels", 403, {"name": "x", "url": "json://127.0.0.1:1/?method=DELETE", "until_ms": later})
