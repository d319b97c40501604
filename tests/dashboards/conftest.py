"""The pages over a whole read side, served on a socket; people with passwords who log in as a browser does."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from cloud import people
from cloud.app import create_app
from cloud.auth import Role
from cloud.settings import ListenSettings
from cloud.web import running
from dashboards.app import extend
from tests.cloud.conftest import House, house
from tests.ingest.edge_kit import ENTERPRISE

__all__ = ["House", "house"]

PASSWORD = "a long enough password"


@dataclass
class Site:
    """The served pages."""

    house: House
    url: str

    def person(self, name: str, role: Role = "viewer", *, enterprise: str = ENTERPRISE) -> str:
        """Somebody who can log in."""
        with self.house.services.database.begin() as db:
            people.create_user(db, "test", enterprise=enterprise, name=name, password=PASSWORD, role=role)
        return name

    def browser(self) -> httpx.AsyncClient:
        """A client that keeps cookies and has not logged in."""
        return httpx.AsyncClient(base_url=self.url, trust_env=False)

    @asynccontextmanager
    async def logged_in(
        self, role: Role = "viewer", *, enterprise: str = ENTERPRISE
    ) -> AsyncGenerator[httpx.AsyncClient]:
        """A client of a new person of that role."""
        async with self.browser() as client:
            answer = await log_in(client, self.person(f"{role}-{enterprise}".lower(), role, enterprise=enterprise))
            assert answer.status_code == 303, answer.text
            yield client


async def log_in(
    client: httpx.AsyncClient, name: str, password: str = PASSWORD, *, goal: str | None = None
) -> httpx.Response:
    """Fill in the form of /login and send it."""
    form = await client.get("/login", params={"next": goal} if goal else None)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form.text))
    return await client.post("/login", data={**fields, "username": name, "password": password})


@pytest.fixture
async def site(house: House) -> AsyncIterator[Site]:
    app = create_app(house.services)
    extend(app)
    async with running(app, ListenSettings(port=0)) as server:
        yield Site(house, f"http://127.0.0.1:{server.port}")
