"""The whole chain in processes of its own, and what must be equal: what the machines served against what is stored."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from ingest.catalogue import Catalogue, GapEntry
from ingest.historian.base import Historian
from ingest.historian.settings import HistorianSettings, open_historian
from ingest.ledger.reader import Reader
from ingest.tables import connect
from simulators import journal
from starproof.demo import files, layout
from starproof.demo.files import Choices
from starproof.demo.layout import EDGE, ENTERPRISE, MACHINES
from starproof.demo.run import DemoPlant
from telemetry import clock, entry, plain, seal
from telemetry.topics import Address

ADDRESS = Address(ENTERPRISE, EDGE)
CHAIN = ("broker", "plant", "ingest", "edge")

# A reply's journal line is written as its bytes go to the socket; the agent stamps it when it has read them. On a busy
# machine either process may be held up in between, so the line may even be the later of the two.
ARRIVAL_MS = 350
EARLY_MS = 90
GRACE_MS = 400  # what was served so shortly before a kill may not be on disk yet


async def until(holds: Callable[[], bool | Awaitable[bool]], what: str, within_s: float = 30.0) -> None:
    """Wait for a condition. Raises AssertionError after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        result = holds()
        if await result if isinstance(result, Awaitable) else result:
            return
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def chain(folder: Path, choices: Choices, names: tuple[str, ...] = CHAIN) -> AsyncIterator[DemoPlant]:
    """A running chain; every process of it is gone afterwards."""
    plant = DemoPlant(layout.make(folder), choices)
    try:
        plant.write()
        await plant.start_all(lambda _: None, names)
        yield plant
    finally:
        plant.stop()


def ledger(plant: DemoPlant) -> Reader:
    return Reader(plant.layout.state / "cloud" / "ledger")


def catalogue(plant: DemoPlant) -> Catalogue:
    return Catalogue(connect(f"sqlite:///{plant.layout.state / 'cloud' / 'ingest.db'}"))


def historian(plant: DemoPlant) -> Historian:
    settings = files.historian_of(plant.layout, plant.choices)
    return open_historian(TypeAdapter(HistorianSettings).validate_python(settings))


def gaps(plant: DemoPlant) -> list[GapEntry]:
    return catalogue(plant).gaps(ADDRESS, 0, 1 << 60)


def committed(plant: DemoPlant) -> int:
    return ledger(plant).size(ADDRESS.shard)


def outbox_held(plant: DemoPlant) -> int:
    """Items the edge has not been receipted for."""
    db = sqlite3.connect(f"file:{plant.layout.state / 'edge' / 'outbox.db'}?mode=ro", uri=True)
    try:
        return db.execute("SELECT count(*) FROM items").fetchone()[0]
    finally:
        db.close()


def drained(plant: DemoPlant) -> bool:
    """Whether everything is receipted and in the historian."""
    if outbox_held(plant):
        return False
    db = sqlite3.connect(f"file:{plant.layout.state / 'cloud' / 'ingest.db'}?mode=ro", uri=True)
    try:
        row = db.execute("SELECT leaf FROM ingest_cursors WHERE consumer = 'historian'").fetchone()
    finally:
        db.close()
    return row is not None and row[0] == committed(plant)


def places_in_ledger(plant: DemoPlant) -> Counter[tuple[bytes, int]]:
    """How often each (stream, sequence) is in the ledger."""
    reader = ledger(plant)
    found: Counter[tuple[bytes, int]] = Counter()
    for leaf in range(reader.size(ADDRESS.shard)):
        header = seal.peek(entry.decode(reader.entry(ADDRESS.shard, leaf)).sealed).header
        found[header.stream, header.sequence] += 1
    return found


async def stored(store: Historian, uid: str, tag: str) -> list[tuple[int, object]]:
    """(the source's own time where it was replaced, else the time; value) of every stored row that has a value."""
    rows = await store.range(ENTERPRISE, uid, tag, 0, 1 << 42, 10_000_000)
    times = rows.time if rows.origin is None else np.where(rows.origin != 0, rows.origin, rows.time)
    pairs = zip(times.tolist(), plain.values(rows), strict=True)
    return [(at, value) for at, value in pairs if value is not None]


@dataclass(frozen=True, slots=True)
class Served:
    """One value that a machine served: when (true time), what, and the source's own time where it gave one."""

    at: int
    value: object
    source: int | None = None


def served(plant: DemoPlant, uid: str) -> dict[str, list[Served]]:
    """Everything a machine served, by tag, in order."""
    found: dict[str, list[Served]] = {}
    for line in journal.read(plant.layout.state / "plant" / "journal" / f"{uid}.jsonl"):
        for tag, value in line.get("values", {}).items():
            if value is not None and line["how"] == "modbus":
                found.setdefault(tag, []).append(Served(line["t"], value))
        for tag, source, value, status in line.get("rows", []):
            if value is not None and status == 0 and line["how"] != "opcua_write":
                found.setdefault(tag, []).append(Served(line["t"], value, source))
    return found


def same(a: object, b: object, resolution: float) -> bool:
    """Equal at the tag's declared resolution."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        return abs(float(a) - float(b)) <= 0.5001 * resolution + 1e-12 * abs(float(a))
    return a == b


@dataclass
class Comparison:
    """What a comparison of served and stored found. `required` were served long enough before any kill of the agent."""

    required: int = 0
    lost: list[str] = None  # type: ignore[assignment]
    unstated: list[str] = None  # type: ignore[assignment]
    invented: list[str] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.lost, self.unstated, self.invented = [], [], []


async def compare(plant: DemoPlant, *, kills: list[tuple[int, int]], grace_ms: int = GRACE_MS) -> Comparison:
    """Compare every value that every machine served with what is stored. `kills` are (killed, back) wall times of the
    agent: what was served within `grace_ms` before a kill, or while it was down, may be missing but must lie in a stated
    gap; everything else must be stored exactly once, and nothing may be stored that was not served."""
    store, stated, result = historian(plant), gaps(plant), Comparison()
    (words,) = catalogue(plant).dictionaries(ENTERPRISE)
    steps = {(d.uid, tag.id): float(tag.resolution or 0) for d, tag in words.tags}
    try:
        for uid, _, _ in MACHINES:
            for tag, values in served(plant, uid).items():
                rows = await stored(store, uid, tag)
                missing, extra = _match(values, rows, steps[uid, tag])
                result.invented += [f"{uid}/{tag} {at}={value}" for at, value in extra]
                result.required += sum(1 for one in values if not _excused(one.at, kills, grace_ms))
                for one in missing:
                    if not _excused(one.at, kills, grace_ms):
                        result.lost.append(f"{uid}/{tag} {one}")
                    elif not any(gap.from_ms - grace_ms <= one.at <= gap.to_ms + ARRIVAL_MS for gap in stated):
                        result.unstated.append(f"{uid}/{tag} {one}")
    finally:
        await store.close()
    return result


def _excused(at: int, kills: list[tuple[int, int]], grace_ms: int) -> bool:
    return any(killed - grace_ms <= at <= back for killed, back in kills)


def _match(
    values: list[Served], rows: list[tuple[int, object]], step: float
) -> tuple[list[Served], list[tuple[int, object]]]:
    """Served values without a row, and rows without a served value. Each row belongs to one served value at most."""
    if values and values[0].source is not None:
        return _match_source(values, rows, step)
    missing: list[Served] = []
    at = 0
    extra: list[tuple[int, object]] = []
    for one in values:
        while at < len(rows) and rows[at][0] < one.at - EARLY_MS:
            extra.append(rows[at])
            at += 1
        if at < len(rows) and rows[at][0] <= one.at + ARRIVAL_MS and same(rows[at][1], one.value, step):
            at += 1
        else:
            missing.append(one)
    return missing, extra + rows[at:]


def _match_source(
    values: list[Served], rows: list[tuple[int, object]], step: float
) -> tuple[list[Served], list[tuple[int, object]]]:
    """By the source's own time. A sample served again (to the next process of the agent) is the same sample; it may be
    stored as often as it was served."""
    times_served = Counter(one.source for one in values)
    times_stored = Counter(at for at, _ in rows)
    by_source = {one.source: one for one in values}
    extra = [
        (at, value)
        for at, value in rows
        if at not in by_source or not same(by_source[at].value, value, step) or times_stored[at] > times_served[at]
    ]
    return [one for source, one in by_source.items() if source not in times_stored], extra


def now_ms() -> int:
    return clock.now_ms()
