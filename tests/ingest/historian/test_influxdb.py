"""What only a server has: being away, coming back, asking for a login."""

import asyncio
import socket
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from ingest.historian.base import HistorianBatch, HistorianUnavailable
from ingest.historian.influxdb import InfluxHistorian
from ingest.historian.settings import InfluxSettings
from telemetry import clock
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.samples import float_slots, make
from tests import influx

DICTIONARY = Dictionary("e", "g", (DeviceSpec("d", "boiler", tags=(TagSpec("a"), TagSpec("b"))),))
BATCH = HistorianBatch(DICTIONARY, make([0, 1], [5, 5], float_slots([1.5, 2.5]), kind=1))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(url: str, query: str) -> None:
    request = urllib.request.Request(f"{url}/query?q={urllib.parse.quote(query)}", method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert "error" not in answer.read().decode()


async def test_a_server_that_is_away_is_unavailable():
    historian = InfluxHistorian(InfluxSettings(kind="influxdb", url=f"http://127.0.0.1:{free_port()}", timeout_s=2))
    with pytest.raises(HistorianUnavailable, match="refused"):
        await historian.write(BATCH)
    with pytest.raises(HistorianUnavailable, match="refused"):
        await historian.latest("e", "d")
    await historian.close()


@pytest.mark.influxdb
async def test_a_server_that_comes_back_goes_on(tmp_path: Path):
    influx.binary()
    port = free_port()
    historian = InfluxHistorian(InfluxSettings(kind="influxdb", url=f"http://127.0.0.1:{port}", timeout_s=5))
    with pytest.raises(HistorianUnavailable):
        await historian.write(BATCH)
    with influx.server(tmp_path / "one", port=port):
        await historian.write(BATCH)
        assert len(await historian.range("e", "d", "a", 0, 10, 9)) == 1
    with pytest.raises(HistorianUnavailable):
        await historian.range("e", "d", "a", 0, 10, 9)
    with influx.server(tmp_path / "one", port=port):
        assert len(await historian.range("e", "d", "a", 0, 10, 9)) == 1
    with pytest.raises(HistorianUnavailable):
        await historian.write(BATCH)
    with influx.server(tmp_path / "empty", port=port):  # put back without its data
        await historian.write(BATCH)
        assert len(await historian.range("e", "d", "b", 0, 10, 9)) == 1
    await historian.close()


@pytest.mark.influxdb
async def test_a_dropped_database_is_made_again(influx_url: str):
    historian = InfluxHistorian(InfluxSettings(kind="influxdb", url=influx_url, database="dropped"))
    await historian.write(BATCH)
    await asyncio.to_thread(command, influx_url, "DROP DATABASE dropped")
    with pytest.raises(HistorianUnavailable, match="no such database"):
        await historian.write(BATCH)
    await historian.write(BATCH)
    assert len(await historian.range("e", "d", "a", 0, 10, 9)) == 1
    await historian.close()


@pytest.mark.influxdb
async def test_login_is_by_a_secret_in_a_file(tmp_path: Path):
    with influx.server(tmp_path / "data", auth=True) as url:
        await asyncio.to_thread(command, url, "CREATE USER plant WITH PASSWORD 'pass word' WITH ALL PRIVILEGES")
        (tmp_path / "good").write_text("pass word\n")
        (tmp_path / "wrong").write_text("guess\n")
        for name in ("good", "wrong"):
            settings = InfluxSettings(kind="influxdb", url=url, username="plant", password_file=str(tmp_path / name))
            historian = InfluxHistorian(settings)
            if name == "good":
                await historian.write(BATCH)
                assert len(await historian.range("e", "d", "a", 0, 10, 9)) == 1
            else:
                with pytest.raises(HistorianUnavailable, match="refuses our login"):
                    await historian.write(BATCH)
            await historian.close()


@pytest.mark.influxdb
async def test_rows_older_than_the_retention_policy_stop_nothing(influx_url: str):
    await asyncio.to_thread(command, influx_url, "CREATE DATABASE short WITH DURATION 1h NAME hour")
    settings = InfluxSettings(kind="influxdb", url=influx_url, database="short", retention_policy="hour")
    historian = InfluxHistorian(settings)
    now = clock.now_ms()
    samples = make([0, 0], [now - 86_400_000, now], float_slots([1.0, 2.0]), kind=1)
    await historian.write(HistorianBatch(DICTIONARY, samples))
    assert (await historian.range("e", "d", "a", 0, now + 1, 9)).time.tolist() == [now]
    await historian.close()


@pytest.mark.influxdb
async def test_times_that_influxdb_cannot_hold_spoil_nothing(influx_url: str):
    historian = InfluxHistorian(InfluxSettings(kind="influxdb", url=influx_url, database="times"))
    samples = make([0, 0, 0], [1 << 60, 7, -(1 << 60)], float_slots([1.0, 2.0, 3.0]), kind=1)
    await historian.write(HistorianBatch(DICTIONARY, samples))
    assert (await historian.range("e", "d", "a", -(1 << 62), 1 << 62, 9)).time.tolist() == [7]
    await historian.close()
