"""Rollups in the embedded historian: an hour's records of a series in one row, so that a quarter of a year is 2,160 rows.

rollups   (series, hour) → records          presence   (enterprise, device, hour) → records
"""

import sqlite3
from collections.abc import Callable, Sequence

import numpy as np

from ingest.historian import moments, records
from ingest.historian.moments import MINUTE_MS, Moments
from ingest.historian.records import HOUR_MS, PRESENCE, RECORD, Presence, Records
from telemetry.samples import Int64s, Kind, Samples

SCHEMA = """
CREATE TABLE IF NOT EXISTS rollups (
    series INTEGER NOT NULL, hour INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (series, hour));
CREATE TABLE IF NOT EXISTS presence (
    enterprise TEXT NOT NULL, device TEXT NOT NULL, hour INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (enterprise, device, hour));
"""
RUN = 60  # minutes of raw rows in hand at a time

Reader = Callable[[int, Kind, int, int], Samples]
Series = Sequence[tuple[int, Kind]]


def roll(db: sqlite3.Connection, device: tuple[str, str], series: Series, minutes: Int64s, read: Reader) -> None:
    """Make the rollups of some minutes of a device anew from its rows. `read(series, kind, from, to)` gives rows."""
    for low, high in records.runs(minutes, RUN):
        here = np.arange(low, high, MINUTE_MS)
        times: list[Int64s] = []
        for number, kind in series:
            if kind not in moments.NUMERIC:
                query = "SELECT time FROM samples WHERE series = ? AND time >= ? AND time < ?"
                times.append(np.array([t for (t,) in db.execute(query, (number, low, high))], np.int64))
                continue
            rows = read(number, kind, low, high)
            times.append(rows.time)
            _, groups = moments.roll(rows)
            _replace(db, "rollups", "series = ?", (number,), RECORD, here, groups.start, records.pack(groups))
        found, packed = records.pack_presence(np.concatenate(times) if times else np.zeros(0, np.int64))
        _replace(db, "presence", "enterprise = ? AND device = ?", device, PRESENCE, here, found, packed)


def _replace(
    db: sqlite3.Connection,
    table: str,
    where: str,
    key: tuple[int] | tuple[str, str],
    shape: "np.dtype[np.void]",
    minutes: Int64s,
    found: Int64s,
    packed: Records,
) -> None:
    """Put records in the place of whatever stands for `minutes`; an hour's row is written only where it changes."""
    for hour in np.unique(minutes // HOUR_MS).tolist():
        row = db.execute(f"SELECT data FROM {table} WHERE {where} AND hour = ?", (*key, hour)).fetchone()
        before = np.frombuffer(b"" if row is None else row[0], shape)
        gone = (minutes[minutes // HOUR_MS == hour] % HOUR_MS) // MINUTE_MS
        kept = before[~np.isin(before["minute"], gone)]
        now = np.concatenate([kept, packed[found // HOUR_MS == hour]])
        data = now[np.argsort(now["minute"], kind="stable")].tobytes()
        if row is None and data:
            marks = ", ".join("?" * (len(key) + 2))
            db.execute(f"INSERT INTO {table} VALUES ({marks})", (*key, hour, data))
        elif row is not None and data != row[0]:
            db.execute(f"UPDATE {table} SET data = ? WHERE {where} AND hour = ?", (data, *key, hour))


def rollups(db: sqlite3.Connection, series: Series, from_ms: int, to_ms: int) -> Moments:
    """Rollups of whole minutes from..to of some series."""
    parts: list[Moments] = []
    for number, kind in series:
        query = "SELECT hour, data FROM rollups WHERE series = ? AND hour >= ? AND hour <= ? ORDER BY hour"
        rows = db.execute(query, (number, from_ms // HOUR_MS, to_ms // HOUR_MS)).fetchall()
        found, minute = _read(rows, RECORD)
        keep = (minute >= from_ms) & (minute < to_ms)
        parts.append(records.unpack(found[keep], minute[keep], kind))
    return moments.join(parts)


def presence(db: sqlite3.Connection, device: tuple[str, str], from_ms: int, to_ms: int) -> Presence:
    """Minutes from..to in which a device has rows."""
    query = """SELECT hour, data FROM presence WHERE enterprise = ? AND device = ? AND hour >= ? AND hour <= ?
        ORDER BY hour"""
    rows = db.execute(query, (*device, from_ms // HOUR_MS, to_ms // HOUR_MS)).fetchall()
    found, minute = _read(rows, PRESENCE)
    keep = (minute >= from_ms) & (minute < to_ms)
    return records.unpack_presence(found[keep], minute[keep])


def _read(rows: list[tuple[int, bytes]], shape: "np.dtype[np.void]") -> tuple[Records, Int64s]:
    """Records of some hours with the minute (ms) of each."""
    found = np.frombuffer(b"".join(data for _, data in rows), shape)
    sizes = [len(data) // shape.itemsize for _, data in rows]
    hours = np.repeat(np.array([hour for hour, _ in rows], np.int64), sizes)
    return found, hours * HOUR_MS + found["minute"].astype(np.int64) * MINUTE_MS
