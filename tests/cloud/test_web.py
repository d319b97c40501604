"""The service as configured: settings, live values off a real broker, clear failures."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from cloud import settings
from cloud.app import create_app
from cloud.settings import CloudSettings, ListenSettings
from cloud.web import open_services, running
from ingest.live import LivePublisher
from telemetry.mqtt import BrokerSettings, Session
from telemetry.settings import SettingsError
from tests.cloud.conftest import House
from tests.plant import eventually


@pytest.fixture
async def broker_port(tmp_path: Path) -> AsyncIterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = tmp_path / "broker.yaml"
    config.write_text(f"port: {port}\n")
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "starproof", "broker", str(config), stdout=quiet, stderr=quiet
    )
    try:
        await eventually(lambda: listens(port), within_s=20, what="broker")
        yield port
    finally:
        process.kill()
        await process.wait()


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def settings_of(house: House, broker_port: int) -> CloudSettings:
    folder = house.folder
    config = {
        "listen": {"port": 0},
        "ledger": str(house.cloud.folder / "ledger"),
        "database": f"sqlite:///{house.cloud.folder / 'ingest.db'}",
        "historian": {"kind": "sqlite", "path": str(folder / "historian.db")},
        "broker": {"port": broker_port},
        "live_key": str(house.cloud.folder / "keys" / "live.key"),
    }
    (folder / "web.yaml").write_text(yaml.safe_dump(config))
    return settings.load(folder / "web.yaml")


async def test_a_committed_value_reaches_a_live_client(house: House, broker_port: int) -> None:
    from telemetry import clock

    await house.commit(1.0, at_ms=clock.now_ms())
    configured = settings_of(house, broker_port)
    secret = configured.live_key.read_bytes()
    async with (
        open_services(configured) as services,
        running(create_app(services), ListenSettings(port=0)) as server,
        Session(BrokerSettings(port=broker_port), "publisher") as session,
    ):
        house.port = server.port
        await asyncio.wait_for(session.connected.wait(), 20)
        publisher = LivePublisher(lambda topic, payload: session.publish(topic, payload, qos=0), secret)
        house.edge.sample(7.25, clock.now_ms())
        committed = list(house.cloud.send(*house.edge.messages()).committed)
        async with house.live() as client:
            await client.send(json.dumps({"op": "subscribe", "id": "a", "devices": [house.device]}))
            assert [json.loads(await client.recv())["type"] for _ in range(2)] == ["subscribed", "snapshot"]

            async def shown() -> bool:
                session.publish("starproof/v1/E1/live", b"forged", qos=0)
                await publisher.take(committed)  # again until the service's own subscription stands
                try:
                    message = json.loads(await asyncio.wait_for(client.recv(), 0.5))
                except TimeoutError:
                    return False
                assert (message["type"], message["seq"], message["device"]) == ("data", 2, house.device)
                assert [(tag, v, q) for tag, _, v, q in message["rows"]] == [("p", 7.25, 0)]
                return True

            await eventually(shown, within_s=20)


async def test_a_port_that_is_taken_is_said_so(house: House) -> None:
    with pytest.raises(OSError, match="cannot be listened on"):
        async with running(house.app, ListenSettings(port=house.port)):
            pass


def test_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text("listen: {prot: 80}\n")
    with pytest.raises(SettingsError, match=r"web\.yaml:1: listen\.prot: unknown key"):
        settings.load(tmp_path / "web.yaml")
