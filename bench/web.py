"""What the web service costs and how quick it is: 200 live clients at 2 Hz, and a picture of a quarter of a year.

Live: the demo's plant with a frame every 0.5 s and 200 clients of its web service (bench/parts/pushing.py). The picture: 8
tags over 90 days, asked of the web service over HTTP. A historian is filled with a row of each tag every 20 s and its
1-minute rollups are made as ingest makes them. Ours is the answer of /trend as a page asks for it (1,000 points a curve,
features, gaps, late stretches). The peer is the same curves and features computed from the raw rows of the same file, without
HTTP.    python bench/web.py [DAYS] [SECONDS BETWEEN ROWS]
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table
from sqlalchemy import insert

from bench.parts import pushing
from cloud import tokens, trend
from cloud.app import create_app
from cloud.devices import newest_rows
from cloud.live import LiveHub
from cloud.schema import open_database
from cloud.services import Services
from cloud.settings import ListenSettings
from cloud.summary import rows as raw_rows
from cloud.web import running
from ingest import tables
from ingest.catalogue import Catalogue
from ingest.historian.base import HistorianBatch
from ingest.historian.moments import MINUTE_MS
from ingest.historian.sqlite import SqliteHistorian
from ingest.ledger.reader import Reader
from telemetry import clock
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.equipment import equipment_types
from telemetry.samples import float_slots, make

TAGS, DAYS, EVERY_S, POINTS, TIMES = 8, 90, 20, 1000, 7
TARGET_S = 1.0
ENTERPRISE, DEVICE = "91350100M000100Y43", "motor-1"
DAY_MS = 86_400_000


def words() -> Dictionary:
    """One machine with TAGS tags."""
    tags = tuple(TagSpec(f"tag_{n}") for n in range(TAGS))
    return Dictionary(ENTERPRISE, "edge-1", (DeviceSpec(DEVICE, "large_motor", "1号电机", True, tags=tags),))


async def fill(historian: SqliteHistorian, from_ms: int, days: int, every_s: int) -> tuple[int, float]:
    """Rows and rollups, a day at a time; rows written, seconds that the rollups took."""
    random = np.random.default_rng(4)
    count, spent = 0, 0.0
    for day in range(days):
        start = from_ms + day * DAY_MS
        times = start + np.arange(0, DAY_MS, 1000 * every_s)
        tag = np.repeat(np.arange(TAGS), len(times))
        at = np.tile(times, TAGS)
        values = 50 + tag + 20 * np.sin(at / 3.6e6) + random.normal(0, 1, len(at))
        await historian.write(HistorianBatch(words(), make(tag, at, float_slots(values), kind=1)))
        began = time.monotonic()
        await historian.roll(ENTERPRISE, DEVICE, np.arange(start, start + DAY_MS, MINUTE_MS))
        spent += time.monotonic() - began
        count += len(at)
    return count, spent


async def of_raw_rows(house: Services, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
    """The same curves and features from raw rows."""

    async def one(tag: str) -> dict[str, Any]:
        rows = await raw_rows(house, ENTERPRISE, DEVICE, tag, from_ms, to_ms)
        return await asyncio.to_thread(trend.of_rows, rows, from_ms, to_ms, POINTS, POINTS // 2)

    return list(await asyncio.gather(*(one(f"tag_{n}") for n in range(TAGS))))


async def measure(folder: Path, days: int, every_s: int) -> dict[str, Any]:
    """Seconds of each way, and what was drawn."""
    to_ms = clock.now_ms()
    from_ms = to_ms - days * DAY_MS
    database = open_database(f"sqlite:///{folder / 'starproof.db'}")
    historian = SqliteHistorian(folder / "historian.db")
    rows, rolling_s = await fill(historian, from_ms // MINUTE_MS * MINUTE_MS, days, every_s)
    spec = words()
    row = {"hash": spec.hash, "enterprise": ENTERPRISE, "edge": "edge-1", "body": spec.encode()}
    with database.begin() as db:
        db.execute(insert(tables.dictionaries).values(arrival_ms=to_ms, order=0, **row))
        token, _ = tokens.create(db, "bench", enterprise=ENTERPRISE, name="bench", role="viewer", hours=1)
    equipment_types()  # as the web service does at its start
    hub = LiveHub(lambda enterprise, device: newest_rows(historian, enterprise, device))
    house = Services(database, Catalogue(database), historian, Reader(str(folder / "ledger")), hub)
    asked = {"series": [f"{DEVICE}:tag_{n}" for n in range(TAGS)], "from": from_ms, "to": to_ms, "points": POINTS}
    ours: list[float] = []
    async with running(create_app(house), ListenSettings(port=0)) as server:
        url = f"http://127.0.0.1:{server.port}/api/v1/trend"
        async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
            for _ in range(TIMES):
                began = time.monotonic()
                answer = await client.get(url, params=asked, headers={"Authorization": f"Bearer {token}"})
                ours.append(time.monotonic() - began)
                answer.raise_for_status()
    peer: list[float] = []
    for _ in range(2):
        began = time.monotonic()
        expected = await of_raw_rows(house, from_ms, to_ms)
        peer.append(time.monotonic() - began)
    check(answer.json()["series"], expected)
    await historian.close()
    return {"ours": ours, "peer": min(peer), "rows": rows, "rolling_s": rolling_s, "bytes": len(answer.content)}


def check(drawn: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Raises ValueError if the two ways do not tell the same."""
    for one, other in zip(drawn, expected, strict=True):
        a, b = one["features"], other["features"]
        same = all(a[name] == b[name] for name in ("count", "min", "min_t", "max", "max_t", "first_t", "last_t"))
        close = all(abs(a[name] - b[name]) <= 1e-9 * abs(a["max"]) for name in ("mean", "std", "trend_per_h"))
        if not (same and close):
            raise ValueError(f"{one['tag']}: rollups tell {a}, rows tell {b}")


def tell_live(live: pushing.Pushed) -> None:
    table = Table(title=f"{pushing.CLIENTS} live clients, {live.per_client_per_s:.2f} messages a second each")
    for column in ("", "measured", "target"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("web service, of a core", f"{live.core:.1%}", f"≤ {pushing.TARGET_CORE:.0%}")
    for name in ("p50", "p95", "p99"):
        target = f"≤ {pushing.TARGET_P95_MS:.0f}" if name == "p95" else ""
        table.add_row(f"commit to client, {name}, ms", f"{getattr(live, name):.0f}", target)
    Console().print(table)


def main() -> None:
    days = int(sys.argv[1]) if len(sys.argv) > 1 else DAYS
    every_s = int(sys.argv[2]) if len(sys.argv) > 2 else EVERY_S
    with tempfile.TemporaryDirectory() as folder:
        live = pushing.measure(Path(folder) / "live")
        found = asyncio.run(measure(Path(folder), days, every_s))
    tell_live(live)
    ours = statistics.median(found["ours"])
    table = Table(title=f"{TAGS} tags over {days} days, {found['rows']:,} rows, {POINTS} points a curve")
    for column in ("", "seconds"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("over HTTP from rollups, median", f"{ours:.3f}")
    table.add_row("  the slowest (first) of " + str(TIMES), f"{max(found['ours']):.3f}")
    table.add_row("from raw rows, in the process", f"{found['peer']:.3f}")
    table.add_row("making all rollups", f"{found['rolling_s']:.1f}")
    table.add_row("target", f"{TARGET_S:.1f}")
    Console().print(table)
    line = {"bench": "trend_90_days", "ours": round(ours, 4), "peer": round(found["peer"], 4)}
    print(json.dumps({**line, "ratio": round(ours / found["peer"], 4), "unit": "s"}))


if __name__ == "__main__":
    main()
