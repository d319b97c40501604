"""A whole read side: a real edge's items committed to a real ledger, indexed, in a real historian, served on a socket."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fastapi import FastAPI
from websockets.asyncio.client import connect

from cloud.app import create_app
from cloud.auth import Tokens, new_token
from cloud.devices import newest_rows
from cloud.live import LiveHub
from cloud.services import Services
from cloud.settings import ListenSettings
from cloud.web import running
from ingest.catalogue import Catalogue
from ingest.heads import HeadKeeper
from ingest.historian.sqlite import SqliteHistorian
from ingest.historian_writer import HistorianWriter
from telemetry import keys
from tests.ingest.edge_kit import ENTERPRISE, Cloud, Edge

FOREIGN = "E2"


@dataclass
class House:
    """The served read side and what stands behind it."""

    cloud: Cloud
    edge: Edge
    services: Services
    app: FastAPI
    port: int
    tokens: dict[str, str]  # name → token
    tokens_file: Path
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
        headers = {} if token is None else {"Authorization": f"Bearer {self.tokens.get(token, token)}"}
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{self.port}/api/v1{path}"
            return await client.get(url, params=params or None, headers=headers)

    def live(self, token: str = "plant") -> connect:
        """A WebSocket to /live."""
        headers = {"Authorization": f"Bearer {self.tokens.get(token, token)}"}
        return connect(f"ws://127.0.0.1:{self.port}/api/v1/live", additional_headers=headers, proxy=None)


def write_tokens(path: Path, tokens: dict[str, tuple[str, str, Any]]) -> None:
    """`tokens`: name → (hash, enterprise, expires)."""
    entries = [
        {"name": name, "sha256": digest, "enterprise": enterprise, **({"expires": expires} if expires else {})}
        for name, (digest, enterprise, expires) in tokens.items()
    ]
    path.write_text(yaml.safe_dump({"tokens": entries}))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    cloud = Cloud(tmp_path / "cloud")
    (tmp_path / "edge").mkdir()
    edge = Edge(tmp_path / "edge", cloud)
    cloud.enrol(edge)
    tokens_file = tmp_path / "tokens.yaml"
    pairs = {name: new_token() for name in ("plant", "foreign", "old")}
    write_tokens(
        tokens_file,
        {
            "plant": (pairs["plant"][1], ENTERPRISE, None),
            "foreign": (pairs["foreign"][1], FOREIGN, None),
            "old": (pairs["old"][1], ENTERPRISE, "2020-01-01T00:00:00+08:00"),
        },
    )
    historian = SqliteHistorian(tmp_path / "historian.db")
    hub = LiveHub(lambda enterprise, device: newest_rows(historian, enterprise, device))
    services = Services(Catalogue(cloud.engine), historian, cloud.shards.reader, Tokens(tokens_file), hub)
    keeper = HeadKeeper(tmp_path / "cloud" / "ledger", cloud.shards, ledger_key(cloud))
    app = create_app(services)
    async with running(app, ListenSettings(port=0)) as server:
        tokens = {name: token for name, (token, _) in pairs.items()}
        yield House(cloud, edge, services, app, server.port, tokens, tokens_file, keeper)
    await historian.close()
    cloud.shards.close()


def ledger_key(cloud: Cloud) -> keys.SigningKey:
    return keys.load_signing_key(cloud.folder / "keys" / "ledger.pem")
