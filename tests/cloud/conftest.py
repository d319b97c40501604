"""A whole read side: a real edge's items committed to a real ledger, indexed, in a real historian, served on a socket."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from websockets.asyncio.client import connect

from cloud import tokens
from cloud.app import create_app
from cloud.auth import ROLES, Role
from cloud.devices import newest_rows
from cloud.live import LiveHub
from cloud.schema import open_database
from cloud.services import Services
from cloud.settings import GrantKeys, ListenSettings
from cloud.web import running
from ingest.catalogue import Catalogue
from ingest.heads import HeadKeeper
from ingest.historian.sqlite import SqliteHistorian
from ingest.historian_writer import HistorianWriter
from telemetry import keys
from tests.databases import database_url, database_urls, postgresql_server, postgresql_url, sqlite_url
from tests.ingest.edge_kit import ENTERPRISE, Cloud, Edge

__all__ = ["database_url", "database_urls", "postgresql_server", "postgresql_url", "sqlite_url"]

FOREIGN = "E2"


@dataclass
class House:
    """The served read side and what stands behind it."""

    cloud: Cloud
    edge: Edge
    services: Services
    app: FastAPI
    port: int
    tokens: dict[str, str]  # name → token: one of each role, plant (a viewer), foreign, foreign_admin, old (ended)
    folder: Path
    keeper: HeadKeeper

    @property
    def device(self) -> str:
        return f"{self.edge.name}-boiler"

    async def commit(self, *values: float, at_ms: int) -> None:
        """Values of tag p, one frame each, 1 s apart: committed, in the historian, under a signed head."""
        for i, value in enumerate(values):
            self.edge.sample(value, at_ms + 1000 * i)
        outcome = await asyncio.to_thread(self.cloud.send, *self.edge.messages())
        await HistorianWriter(self.services.historian).take(list(outcome.committed))
        self.keeper.keep()

    async def get(self, path: str, token: str | None = "plant", **params: Any) -> httpx.Response:
        return await self.ask("GET", path, token, params=params or None)

    async def ask(self, method: str, path: str, token: str | None = "plant", **how: Any) -> httpx.Response:
        """Any request; `how` as httpx takes it."""
        headers = {} if token is None else {"Authorization": f"Bearer {self.tokens.get(token, token)}"}
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{self.port}/api/v1{path}"
            return await client.request(method, url, headers={**headers, **how.pop("headers", {})}, **how)

    def token(
        self, name: str, *, enterprise: str = ENTERPRISE, role: Role = "viewer", hours: float | None = None
    ) -> str:
        """Make a token, in place of an earlier one of that name. An inspector's has an end."""
        hours = 8.0 if hours is None and role == "inspector" else hours
        with self.services.database.begin() as db:
            secret, _ = tokens.create(
                db, "test", enterprise=enterprise, name=name, role=role, hours=hours, replace=True
            )
        self.tokens[name] = secret
        return secret

    def revoke(self, name: str) -> None:
        """End a token of the enterprise."""
        with self.services.database.begin() as db:
            for one in tokens.listed(db, ENTERPRISE):
                if one["name"] == name:
                    tokens.revoke(db, "test", enterprise=ENTERPRISE, token=one["id"])

    def live(self, token: str = "plant") -> connect:
        """A WebSocket to /live."""
        headers = {"Authorization": f"Bearer {self.tokens.get(token, token)}"}
        return connect(f"ws://127.0.0.1:{self.port}/api/v1/live", additional_headers=headers, proxy=None)


def grant_keys(cloud: Cloud) -> GrantKeys:
    """What an approved edge pins."""
    folder = cloud.folder / "keys"
    return GrantKeys(
        receipt=keys.to_text(cloud.receipt.public),
        command=keys.to_text(keys.load_signing_key(folder / "command.pem").public),
        exchange=keys.to_text(keys.exchange_public(cloud.exchange)),
    )


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    cloud = Cloud(tmp_path / "cloud")
    (tmp_path / "edge").mkdir()
    edge = Edge(tmp_path / "edge", cloud)
    cloud.enrol(edge)
    database = open_database(f"sqlite:///{cloud.folder / 'ingest.db'}")
    historian = SqliteHistorian(tmp_path / "historian.db")
    hub = LiveHub(lambda enterprise, device: newest_rows(historian, enterprise, device))
    services = Services(
        database, Catalogue(database), historian, cloud.shards.reader, hub, grant_keys(cloud), cloud.exchange
    )
    keeper = HeadKeeper(tmp_path / "cloud" / "ledger", cloud.shards, ledger_key(cloud))
    app = create_app(services)
    async with running(app, ListenSettings(port=0)) as server:
        made = House(cloud, edge, services, app, server.port, {}, tmp_path, keeper)
        for role in ROLES:
            made.token(role, role=role)
        made.token("plant")
        made.token("foreign", enterprise=FOREIGN)
        made.token("foreign_admin", enterprise=FOREIGN, role="administrator")
        made.token("old", hours=-1)
        yield made
    await historian.close()
    database.dispose()
    cloud.shards.close()


def ledger_key(cloud: Cloud) -> keys.SigningKey:
    return keys.load_signing_key(cloud.folder / "keys" / "ledger.pem")
