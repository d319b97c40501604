"""The pages over a whole read side, asked as a browser asks: with a session's cookie and the form's CSRF token."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
from fastapi import FastAPI

from cloud import people
from cloud.alarms import raising, tables
from cloud.app import create_app
from cloud.auth import SESSION_COOKIE, Role, csrf_of
from dashboards.app import extend
from telemetry import clock
from tests.cloud.conftest import House
from tests.ingest.edge_kit import ENTERPRISE

PASSWORD = "correct horse 9"


def application(house: House, verifications: Path | None = None) -> FastAPI:
    """The API with the pages on it."""
    app = create_app(house.services)
    extend(app, SimpleNamespace(verifications=verifications))
    return app


def session(house: House, role: Role, *, enterprise: str = ENTERPRISE) -> str:
    """The secret of a session of a new user."""
    name = f"{role}-{enterprise}".lower()
    with house.services.database.begin() as db:
        people.create_user(db, "test", enterprise=enterprise, name=name, password=PASSWORD, role=role)
    return people.log_in(house.services.database, name, PASSWORD, address="test")


class Browser:
    """One session."""

    def __init__(self, client: httpx.AsyncClient, csrf: str) -> None:
        self.client, self.csrf = client, csrf

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def post(self, path: str, csrf: str | None = None, **fields: str | list[str]) -> httpx.Response:
        return await self.client.post(path, data={"csrf": self.csrf if csrf is None else csrf, **fields})


@asynccontextmanager
async def browser(app: FastAPI, house: House, role: Role, *, enterprise: str = ENTERPRISE) -> AsyncIterator[Browser]:
    """A browser of somebody with a role."""
    secret = session(house, role, enterprise=enterprise)
    transport = httpx.ASGITransport(app=app)
    cookies = {SESSION_COOKIE: secret}
    async with httpx.AsyncClient(transport=transport, base_url="http://pages", cookies=cookies) as client:
        yield Browser(client, csrf_of(secret))


def raise_alarm(house: House, alarm: str = "a0", *, priority: int = 1, device: str = "") -> str:
    """An active alarm in the database, as the engine writes it."""
    now = clock.now_ms()
    row = {
        "alarm": alarm,
        "enterprise": ENTERPRISE,
        "edge": house.edge.name,
        "device": device or house.device,
        "rule": "r",
        "rule_version": 1,
        "tag": "p",
        "zh": "压力高",
        "en": "pressure high",
        "priority": priority,
        "level": "high",
        "state": "active",
        "limit": 1.0,
        "trigger_t": now,
        "trigger_v": 1.5,
        "trigger_q": 0,
        "t_sample": now,
        "raised_ms": now,
        "holding_ms": now,
        "detected_ms": now,
        "late": False,
        "simulated": False,
        "package": "none",
        "changed": 1,
    }
    with house.services.database.begin() as db:
        db.execute(tables.alarms.insert().values(**row))
        raising.log(db, alarm, now, "raised")
    return alarm


def marked(html: str, name: str) -> list[str]:
    """The values of a data-attribute on a page, in order."""
    return re.findall(rf'data-{name}="([^"]*)"', html)
