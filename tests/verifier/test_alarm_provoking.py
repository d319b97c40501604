"""Provoking alarms at a small cloud over real sockets: what is asked of it, and that everything is put back whatever
happens."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from telemetry.clock import now_ms
from tests.plant import eventually
from tests.verifier import alarm_scene as scene
from tests.verifier import toy
from tests.verifier.scene import PACK
from verifier.chain import Chain
from verifier.judging.audit import FIELDS, digest
from verifier.observing.alarms import Trial, Turns, body_of
from verifier.observing.audit import AuditTail
from verifier.observing.cloud import Cloud
from verifier.observing.notified import Notified
from verifier.observing.packages import fetch_package
from verifier.plan import NoticeSettings
from verifier.readers.base import steady_clock

UID = scene.UID
QUICK = {"negative_watch_s": 0.3, "chatter_watch_s": 0.3}


@dataclass
class AlarmToy:
    """Rules, alarms and channels in memory; a moved limit raises at once. `refuse`: (method, path) → whether not to answer
    that one properly."""

    port: int = field(default_factory=toy.free_port)
    rules: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    alarms: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    channels: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    log: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    asked: list[str] = field(default_factory=list[str])
    raises: bool = True
    refuse: Callable[[str, str, int], bool] = lambda _method, _path, _n: False
    on_change: Callable[[], None] = lambda: None

    def enter(self, rule: dict[str, Any]) -> dict[str, Any]:
        versions = self.rules.setdefault(rule["id"], [])
        made = {**rule, "version": len(versions) + 1}
        self.note("rule", rule["id"], versions[-1] if versions else None, made)
        versions.append(made)
        return made

    def note(self, action: str, about: str, before: Any, after: Any) -> None:
        previous = self.log[-1]["hash"] if self.log else "0" * 64
        values = (len(self.log) + 1, now_ms(), "inspector", "inspector", action, about, before, after, previous)
        one: dict[str, Any] = dict(zip(FIELDS, values, strict=True))
        self.log.append({**one, "hash": digest(one, scene.ENTERPRISE)})

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def refused(request: Request, go_on: Any) -> Any:
            path = request.url.path.removeprefix("/api/v1")
            self.asked.append(f"{request.method} {path}")
            if self.refuse(request.method, path, self.asked.count(self.asked[-1])):
                return JSONResponse({"error": {"code": "down"}}, 503)
            return await go_on(request)

        @app.get("/api/v1/rules")
        def rules() -> Any:
            return {"rules": [v[-1] for v in self.rules.values()]}

        @app.post("/api/v1/rules")
        async def create(request: Request) -> Any:
            body = await request.json()
            made = self.enter({**scene.rule(scene.OWN, 1), "high": None, **body, "id": f"r-{len(self.rules)}"})
            return JSONResponse({"rule": made}, 201)

        @app.get("/api/v1/rules/{rule}")
        def one(rule: str) -> Any:
            return {"rule": self.rules[rule][-1], "versions": self.rules[rule]}

        @app.put("/api/v1/rules/{rule}")
        async def change(rule: str, request: Request) -> Any:
            body = await request.json()
            if body.pop("if_version", None) not in (None, self.rules[rule][-1]["version"]):
                return JSONResponse({"error": {"code": "changed_meanwhile"}}, 409)
            made = self.enter({**self.rules[rule][-1], **body})
            level = next(x for x in ("high", "low") if made.get(x) is not None)
            if self.raises and made.get("low") != 9.3 and made["retired_ms"] is None:
                self.alarms.append(scene.alarm(f"{len(self.alarms):032x}", made, level, now_ms(), now_ms()))
            self.on_change()
            return {"rule": made}

        @app.post("/api/v1/rules/{rule}/retire")
        def retire(rule: str) -> Any:
            return {"rule": self.enter({**self.rules[rule][-1], "retired_ms": now_ms()})}

        @app.get("/api/v1/devices/{uid}/latest")
        def latest(uid: str) -> Any:
            return {"values": {tag: {"t": now_ms(), "v": 1.0, "q": 0} for tag in scene.TAGS}}

        @app.get("/api/v1/devices/{uid}/history")
        def history(uid: str, tag: str) -> Any:
            now = now_ms()
            return {"rows": [[t, scene.value(tag, t), 0] for t in range(now - 60_000, now, 1000)], "more": False}

        @app.get("/api/v1/alarms")
        def alarms(rule: str | None = None) -> Any:
            return {"alarms": [a for a in self.alarms if rule in (None, a["rule"])], "more": False}

        @app.get("/api/v1/alarms/{alarm}")
        def alarm(alarm: str) -> Any:
            return {"alarm": next(a for a in self.alarms if a["id"] == alarm)}

        @app.get("/api/v1/time")
        def time() -> Any:
            return {"now_ms": now_ms()}

        @app.post("/api/v1/channels")
        async def channel(request: Request) -> Any:
            body = await request.json()
            self.channels["c-1"] = body
            return JSONResponse({"channel": {"id": "c-1", "name": body["name"]}}, 201)

        @app.post("/api/v1/channels/{channel}/test")
        def test(channel: str) -> Any:
            return {"notice": "n-1"}

        @app.delete("/api/v1/channels/{channel}")
        def remove(channel: str) -> Any:
            return {"channel": {"id": channel, "name": self.channels.pop(channel)["name"]}}

        @app.get("/api/v1/audit")
        def audit(after: int, limit: int) -> Any:
            found = [e for e in self.log if e["n"] > after]
            return {"entries": found[:limit], "more": len(found) > limit}

        return app


@pytest.fixture
async def cloud() -> AsyncIterator[AlarmToy]:
    made = AlarmToy()
    made.enter(scene.rule(scene.PLANT, 1))
    config = uvicorn.Config(made.app(), host="127.0.0.1", port=made.port, log_level="error")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(), name="toy cloud")
    await eventually(lambda: server.started)
    yield made
    server.should_exit = True
    await task


def chain_to(cloud: AlarmToy) -> Chain:
    limits = dict(PACK.thresholds.criteria["device.mon.alarm"])
    limits |= {name: limits[name].model_copy(update={"value": value}) for name, value in QUICK.items()}
    criteria = {**PACK.thresholds.criteria, "device.mon.alarm": limits}
    pack = replace(PACK, thresholds=PACK.thresholds.model_copy(update={"criteria": criteria}))
    clock = steady_clock()
    url = f"http://127.0.0.1:{cloud.port}"
    settings = SimpleNamespace(notices=None, cloud=SimpleNamespace(url=url))
    api = Cloud(url, "token", timeout_s=5, clock=clock)
    return cast(Chain, SimpleNamespace(cloud=api, clock=clock, pack=pack, plan=SimpleNamespace(settings=settings)))


def said() -> dict[str, Any]:
    return scene.scene()["scope"]["machines"][UID]


@contextlib.asynccontextmanager
async def trial_of(cloud: AlarmToy, channel: str | None = "c-1") -> AsyncGenerator[Trial]:
    chain = chain_to(cloud)
    yield Trial(chain, said(), channel, Turns())
    await chain.cloud.close()


def as_before(cloud: AlarmToy) -> bool:
    """The plant's rule says what it said, and every other rule is retired."""
    now = {name: v[-1] for name, v in cloud.rules.items()}
    plant = body_of(now.pop(scene.PLANT))
    return plant == body_of(scene.rule(scene.PLANT, 1)) and all(r["retired_ms"] for r in now.values())


async def test_everything_is_tried_and_put_back(cloud: AlarmToy) -> None:
    async with trial_of(cloud) as trial:
        await trial.run()
    own, plant = trial.record["own"], trial.record["plant"]
    assert trial.record["drawn"]["plant"] == scene.PLANT
    assert [a["rule_version"] for a in own["alarms"]["body"]["alarms"]] == [2]
    assert [a["rule_version"] for a in plant["alarms"]["body"]["alarms"]] == [2]
    assert as_before(cloud)
    first, second = own["asked"]
    side = own["side"]
    assert first["channels"] == ["c-1"] and first[side] != second[side] and second["hysteresis"] > 0
    assert plant["asked"]["low"] > 10 and plant["after"]["body"]["rule"]["low"] == 9.3
    assert sorted(trial.tags) == sorted({first["tag"], "voltage_avg"})


async def test_a_value_that_went_away_is_met_a_second_time(cloud: AlarmToy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first limit raised nothing: a second one lies across everything that the value lately was."""
    monkeypatch.setattr("verifier.observing.alarms.UNKNOWN_PATH_S", -4.0)
    cloud.raises = False

    def third() -> None:
        cloud.raises = any(len(v) == 2 for name, v in cloud.rules.items() if name != scene.PLANT)

    cloud.on_change = third
    async with trial_of(cloud) as trial:
        await trial.run()
    own = trial.record["own"]
    assert own["tried"]["body"]["rule"]["version"] == 2 and own["changed"]["body"]["rule"]["version"] == 3
    assert [a["rule_version"] for a in own["alarms"]["body"]["alarms"]] == [3] and "seen" in own
    assert len(own["asked"]) == 2 and as_before(cloud)


async def test_what_raises_nothing_is_put_back_too(cloud: AlarmToy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.observing.alarms.UNKNOWN_PATH_S", -4.0)
    cloud.raises = False
    async with trial_of(cloud) as trial:
        await trial.run()
    assert "seen" not in trial.record["own"] and "seen" not in trial.record["plant"]
    assert as_before(cloud)


async def test_limits_are_restored_where_the_cloud_falters(cloud: AlarmToy) -> None:
    """The first attempts to restore and to retire are not answered."""

    def refuse(method: str, path: str, n: int) -> bool:
        restoring = method == "PUT" and path.endswith(scene.PLANT) and n in (2, 3)
        return restoring or (path.endswith("/retire") and n < 3)

    cloud.refuse = refuse
    async with trial_of(cloud) as trial:
        await trial.run()
    assert as_before(cloud)


async def test_limits_are_restored_where_the_trial_is_given_up(cloud: AlarmToy) -> None:
    cloud.raises = False
    async with trial_of(cloud) as trial:
        running = asyncio.create_task(trial.run(), name="trial")
        await eventually(lambda: len(cloud.rules[scene.PLANT]) > 1 and len(cloud.rules) > 1, what="a moved limit")
        assert not as_before(cloud)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert as_before(cloud)


async def test_limits_are_restored_where_the_verifier_itself_fails(
    cloud: AlarmToy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(Trial, "_until_raised", broken)
    async with trial_of(cloud) as trial:
        with pytest.raises(ExceptionGroup):
            await trial.run()
    assert as_before(cloud)


async def test_what_somebody_else_changed_meanwhile_is_theirs(cloud: AlarmToy) -> None:
    """Only the limit that the verifier moved is moved back."""

    def once() -> None:
        cloud.on_change = lambda: None
        if len(cloud.rules[scene.PLANT]) == 2:
            cloud.enter({**cloud.rules[scene.PLANT][-1], "priority": 1})
        else:
            cloud.on_change = once

    cloud.on_change = once
    async with trial_of(cloud) as trial:
        await trial.run()
    now = cloud.rules[scene.PLANT][-1]
    assert (now["low"], now["priority"]) == (9.3, 1)


async def test_a_rule_of_many_machines_is_moved_for_one_of_them_at_a_time(cloud: AlarmToy) -> None:
    chain, turns = chain_to(cloud), Turns()
    await asyncio.gather(*(Trial(chain, said(), None, turns).run() for _ in range(2)))
    await chain.cloud.close()
    assert as_before(cloud)
    versions = [rule["low"] for rule in cloud.rules[scene.PLANT]]
    assert [low == 9.3 for low in versions] == [True, False, True, False, True]


async def test_the_audit_log_is_read_from_its_end(cloud: AlarmToy) -> None:
    for n in range(700):
        cloud.note("user", f"u{n}", None, {})
    chain = chain_to(cloud)
    tail = AuditTail(chain.cloud)
    await tail.begin()
    assert tail.record["start"] == 701
    assert sum(a == "GET /audit" for a in cloud.asked) < 30
    for n in range(450):
        cloud.note("user", f"v{n}", None, {})
    await tail.end()
    await chain.cloud.close()
    from verifier.judging.audit import read_audit

    read = read_audit(tail.record, scene.ENTERPRISE)
    assert (len(read.entries), read.broken, read.unread) == (450, "", "")


@pytest.mark.parametrize("size", range(6))
async def test_the_end_of_a_short_log(cloud: AlarmToy, size: int) -> None:
    cloud.log.clear()
    for n in range(size):
        cloud.note("user", f"u{n}", None, {})
    chain = chain_to(cloud)
    tail = AuditTail(chain.cloud)
    await tail.begin()
    await chain.cloud.close()
    assert tail.record["start"] == size


async def test_a_channel_of_the_verifiers_own_is_removed_whatever_happens(cloud: AlarmToy) -> None:
    chain = chain_to(cloud)
    notified = Notified(chain)
    with pytest.raises(RuntimeError):
        async with notified:
            assert notified.channel == "c-1"
            url = cloud.channels["c-1"]["url"]
            assert url.startswith("json://127.0.0.1:") and cloud.channels["c-1"]["until_ms"] > now_ms()
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.post(url.replace("json", "http", 1), json={"message": '{"starproof": {"device": "m1"}}'})
            raise RuntimeError("a bug of ours")
    assert cloud.channels == {}
    assert notified.record is not None
    assert [n["said"] for n in notified.record["notices"]] == [{"device": "m1"}]
    assert notified.record["self_test"] == "" and notified.record["channel"]["removed"]["status"] == 200
    await chain.cloud.close()


async def test_no_receiver_no_channel(cloud: AlarmToy) -> None:
    chain = chain_to(cloud)
    chain.plan.settings.notices = NoticeSettings(listen="127.0.0.1:0", url=f"json://127.0.0.1:{toy.free_port()}")
    async with Notified(chain) as notified:
        assert notified.channel is None
    assert notified.record is not None and notified.record["self_test"] == "ConnectError"
    assert cloud.channels == {} and "POST /channels" not in cloud.asked
    await chain.cloud.close()


async def test_a_package_that_never_comes_ends_the_wait(cloud: AlarmToy) -> None:
    chain = chain_to(cloud)
    cloud.alarms.append(scene.alarm("ab" * 16, scene.rule(scene.PLANT, 2, low=11.0), "low", now_ms(), now_ms()))
    cloud.alarms[0]["package"] = {"state": "asked"}
    kept = await fetch_package(chain, UID, cloud.alarms[0], list(scene.TAGS), 0.2)
    await chain.cloud.close()
    assert (kept["size"], kept["zip"], kept["answer"]["status"]) == (0, None, 404)
    assert kept["span"] is not None and set(kept["history"]) == set(scene.TAGS)
