"""How 1-minute rollups stand in a store: packed records, some dozen bytes a tag and minute, read back by numpy as they lie.

    record     of a tag and minute, little-endian: minute of the hour, count, the six moments, least and greatest with
               times, first and last usable row; times as ms of the minute
    presence   of a device and minute: minute of the hour, first and last row of any tag, usable or not

Both lengths are divisible by 3, so that base64 of many records can be joined and decoded at once.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.historian.moments import MINUTE_MS, Moments
from telemetry.samples import Bools, Int64s, Kind

HOUR_MS = 60 * MINUTE_MS

RECORD = np.dtype(
    [
        ("minute", "u1"),
        ("count", "<u4"),
        ("mean", "<f8"),
        ("m2", "<f8"),
        ("t_mean", "<f8"),
        ("t_m2", "<f8"),
        ("tv", "<f8"),
        ("low", "<i8"),
        ("high", "<i8"),
        ("low_t", "<u2"),
        ("high_t", "<u2"),
        ("first_t", "<u2"),
        ("last_t", "<u2"),
    ]
)
PRESENCE = np.dtype([("minute", "u1"), ("first", "<u2"), ("last", "<u2"), ("spare", "u1")])
_REAL = ("mean", "m2", "t_mean", "t_m2", "tv")
_SLOTS = ("low", "high")
_TIMES = ("low_t", "high_t", "first_t", "last_t")

Records = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Presence:
    """Minutes (ms) in which a device has rows of any tag, with the times of the first and last of them."""

    minute: Int64s
    first: Int64s
    last: Int64s

    def where(self, keep: Bools) -> "Presence":
        """Some of the minutes."""
        return Presence(self.minute[keep], self.first[keep], self.last[keep])


def pack(moments: Moments) -> Records:
    """Groups of one minute each as records."""
    out = np.zeros(len(moments), RECORD)
    out["minute"] = (moments.start % HOUR_MS) // MINUTE_MS
    for name in ("count", *_REAL, *_SLOTS):
        out[name] = getattr(moments, name)
    for name in _TIMES:
        out[name] = np.where(moments.count > 0, getattr(moments, name) - moments.start, 0)
    return out


def unpack(records: Records, start: Int64s, kind: Kind) -> Moments:
    """Inverse of `pack`, for records of one kind; `start`: the minute (ms) of each. Those without rows are left out."""
    some = records["count"] > 0
    if not bool(some.all()):
        records, start = records[some], start[some]
    return Moments(
        kind=np.full(len(records), int(kind), np.uint8),
        start=start,
        count=records["count"].astype(np.int64),
        mean=records["mean"].astype(np.float64),
        m2=records["m2"].astype(np.float64),
        t_mean=records["t_mean"].astype(np.float64),
        t_m2=records["t_m2"].astype(np.float64),
        tv=records["tv"].astype(np.float64),
        low=records["low"].astype(np.int64),
        low_t=start + records["low_t"],
        high=records["high"].astype(np.int64),
        high_t=start + records["high_t"],
        first_t=start + records["first_t"],
        last_t=start + records["last_t"],
    )


def pack_presence(time: Int64s) -> tuple[Int64s, Records]:
    """(minutes, records) of all times at which a device has rows, in any order."""
    time = np.sort(time)
    minute = time - time % MINUTE_MS
    heads = np.flatnonzero(np.append(True, minute[1:] != minute[:-1])) if len(time) else np.zeros(0, np.int64)
    minutes = minute[heads]
    out = np.zeros(len(heads), PRESENCE)
    out["minute"] = (minutes % HOUR_MS) // MINUTE_MS
    out["first"] = time[heads] - minutes
    out["last"] = time[np.append(heads[1:], len(time)) - 1] - minutes if len(time) else 0
    return minutes, out


def unpack_presence(records: Records, minute: Int64s) -> Presence:
    """Inverse of `pack_presence`."""
    return Presence(minute, minute + records["first"], minute + records["last"])


def runs(minutes: Int64s, most: int) -> list[tuple[int, int]]:
    """Minutes as stretches (from ms, to ms) of at most `most` minutes without a hole."""
    out: list[tuple[int, int]] = []
    for minute in np.unique(minutes).tolist():
        if out and out[-1][1] == minute and minute - out[-1][0] < most * MINUTE_MS:
            out[-1] = (out[-1][0], minute + MINUTE_MS)
        else:
            out.append((minute, minute + MINUTE_MS))
    return out
