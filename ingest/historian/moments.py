"""What is kept of many rows: how many, mean, spread, slope, least and greatest. One function makes it of rows, one joins it.

For a group of rows (t, v) with usable values: n, mean of v, Σ(v − mean)², mean of t, Σ(t − mean t)², Σ(t − mean t)(v − mean),
and the least and greatest value with the earliest time of each. These are the count and the sums of v, v², t, t² and t·v
taken about the group's own middle: a sum of squares about zero would lose a small spread on a large value (a counter).
Groups are joined as Chan, Golub and LeVeque do (1983, "Algorithms for computing the sample variance"), so that features of
joined groups are those of their rows, whatever the groups.

Usable: of a numeric kind, with a finite value, and not of bad quality. Least and greatest are compared in their own kind and
kept as slots, so 64-bit integers stay exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from telemetry.samples import Bools, Float64s, Int64s, Kind, Quality, Samples, UInt8s

MINUTE_MS = 60_000
NUMERIC = (Kind.FLOAT, Kind.INT, Kind.UINT, Kind.BOOL, Kind.ENUM)
_MAGNITUDE = np.int64(0x7FFF_FFFF_FFFF_FFFF)
_SIGN = np.int64(-(1 << 63))
_SAFE = float(1 << 62)  # differences of integers below it do not wrap


@dataclass(frozen=True, slots=True)
class Moments:
    """Columns, one entry a group. `start`: the group's start (ms); `t_mean` is in ms from there; `low`, `high` are slots of
    `kind`; times are UTC ms. `first_t`, `last_t`: of usable rows. Where `count` is 0 the other columns mean nothing."""

    kind: UInt8s
    start: Int64s
    count: Int64s
    mean: Float64s
    m2: Float64s
    t_mean: Float64s
    t_m2: Float64s
    tv: Float64s
    low: Int64s
    low_t: Int64s
    high: Int64s
    high_t: Int64s
    first_t: Int64s
    last_t: Int64s

    def __len__(self) -> int:
        return len(self.start)

    def where(self, keep: Bools | Int64s) -> "Moments":
        """Some of the groups."""
        return Moments(*(getattr(self, one.name)[keep] for one in fields(self)))


@dataclass(frozen=True, slots=True)
class Features:
    """What a stretch of a tag was like. Of the population; `trend_per_h` is the least squares slope of v on t, None where all
    times are one. Everything but `count` is None where there is no usable row. Least and greatest are of the tag's kind."""

    count: int
    min: float | int | None = None
    min_t: int | None = None
    max: float | int | None = None
    max_t: int | None = None
    mean: float | None = None
    std: float | None = None
    trend_per_h: float | None = None
    first_t: int | None = None
    last_t: int | None = None


def no_moments(groups: int = 0) -> Moments:
    """Groups without rows."""

    def whole() -> Int64s:
        return np.zeros(groups, np.int64)

    def real() -> Float64s:
        return np.zeros(groups)

    return Moments(
        kind=np.full(groups, int(Kind.FLOAT), np.uint8),
        start=whole(),
        count=whole(),
        mean=real(),
        m2=real(),
        t_mean=real(),
        t_m2=real(),
        tv=real(),
        low=whole(),
        low_t=whole(),
        high=whole(),
        high_t=whole(),
        first_t=whole(),
        last_t=whole(),
    )


def join(parts: Sequence[Moments]) -> Moments:
    """The groups of all parts, one after the other."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return no_moments()
    return Moments(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Moments)))


def roll(samples: Samples, *, origin: int = 0, width: int = MINUTE_MS) -> tuple[Int64s, Moments]:
    """Rows in groups of `width` ms by tag, kind and time: (tag of each group, groups). A group stands for every stretch with
    any row, usable or not. Rows may come in any order."""
    rows = samples.where(np.isin(samples.kind, NUMERIC))
    if not len(rows):
        return np.zeros(0, np.int64), no_moments()
    group = (rows.time - origin) // width
    one = bool((rows.kind == rows.kind[0]).all()) and bool((rows.tag == rows.tag[0]).all())
    if not one or not bool((rows.time[1:] >= rows.time[:-1]).all()):
        order = np.lexsort((rows.time, group, rows.kind, rows.tag))
        rows, group = rows.where(order), group[order]
    changed = (group[1:] != group[:-1]) | (rows.kind[1:] != rows.kind[:-1]) | (rows.tag[1:] != rows.tag[:-1])
    heads = np.flatnonzero(np.append(True, changed))
    number = np.cumsum(np.append(True, changed)) - 1
    out = no_moments(len(heads))
    out.kind[:] = rows.kind[heads]
    out.start[:] = origin + group[heads] * width
    value = rows.numeric
    usable = np.isfinite(value) & ((rows.quality & Quality.BAD) == 0)
    use = slice(None) if bool(usable.all()) else np.flatnonzero(usable)
    if bool(usable.any()):
        _fill(out, number[use], rows.time[use], rows.value[use], value[use], rows.kind[use])
    return rows.tag[heads].astype(np.int64), out


def _fill(out: Moments, number: Int64s, time: Int64s, slot: Int64s, value: Float64s, kind: UInt8s) -> None:
    """Usable rows, by group and time, into their groups."""
    heads = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
    group = number[heads]
    n = np.diff(np.append(heads, len(number)))
    with np.errstate(over="ignore", invalid="ignore"):
        first = np.repeat(value[heads], n)
        off = value - first
        whole = (kind != Kind.FLOAT) & (np.abs(off) < _SAFE)
        if bool(whole.any()):
            off = np.where(whole, (slot - np.repeat(slot[heads], n)).astype(np.float64), off)
        middle = np.add.reduceat(off, heads) / n
        off = off - np.repeat(middle, n)
        at = (time - np.repeat(out.start[group], n)).astype(np.float64)
        t_mean = np.add.reduceat(at, heads) / n
        at = at - np.repeat(t_mean, n)
        out.count[group] = n
        out.mean[group] = value[heads] + middle
        out.m2[group] = np.maximum(np.add.reduceat(off * off, heads) - np.add.reduceat(off, heads) ** 2 / n, 0.0)
        out.t_mean[group] = t_mean
        out.t_m2[group] = np.add.reduceat(at * at, heads)
        out.tv[group] = np.add.reduceat(at * off, heads)
    key = _order(slot, kind)
    for least, slots, times in ((key, out.low, out.low_t), (~key, out.high, out.high_t)):
        row = _first_least(least, heads, n)
        slots[group], times[group] = slot[row], time[row]
    out.first_t[group], out.last_t[group] = time[heads], time[heads + n - 1]


def _order(slot: Int64s, kind: UInt8s) -> Int64s:
    """Integers that stand in the order of the values of one kind."""
    real = kind == Kind.FLOAT
    if bool(real.any()):
        bits = (slot.view(np.float64) + 0.0).view(np.int64)  # -0.0 is 0.0
        slot = np.where(real, np.where(bits < 0, bits ^ _MAGNITUDE, bits), slot)
    return np.where(kind == Kind.UINT, slot ^ _SIGN, slot)


def _first_least(key: Int64s, heads: Int64s, n: Int64s) -> Int64s:
    """The first row with the least key in each group."""
    rows = np.flatnonzero(key == np.repeat(np.minimum.reduceat(key, heads), n))
    where = np.searchsorted(rows, heads)
    return rows[where]


def numbers(slot: Int64s, kind: UInt8s) -> Float64s:
    """Slots as float64."""
    out = slot.astype(np.float64)
    real, large = kind == Kind.FLOAT, kind == Kind.UINT
    out[real] = slot.view(np.float64)[real]
    out[large] = slot.view(np.uint64)[large]
    return out


def combine(moments: Moments, number: Int64s) -> tuple[Int64s, Moments]:
    """Groups joined into larger ones by their `number`: (numbers that occur, joined groups), both by number. `start` of a
    joined group is its earliest member's. Members without rows are left out."""
    some = moments.count > 0
    if not bool(some.any()):
        return np.zeros(0, np.int64), no_moments()
    m = moments
    if not bool(some.all()):
        m, number = m.where(some), number[some]
    later = (number[1:] > number[:-1]) | ((number[1:] == number[:-1]) & (m.start[1:] >= m.start[:-1]))
    if not bool(later.all()):
        order = np.lexsort((m.start, number))
        m, number = m.where(order), number[order]
    heads = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
    sizes = np.diff(np.append(heads, len(number)))

    def total(column: Float64s | Int64s) -> Float64s:
        return np.add.reduceat(column, heads).astype(np.float64)

    def spread(column: Float64s) -> Float64s:
        return np.repeat(column, sizes)

    weight = m.count.astype(np.float64)
    count = total(weight)
    with np.errstate(over="ignore", invalid="ignore"):
        off = m.mean - spread(m.mean[heads])
        middle = total(weight * off) / count
        at = (m.start - np.repeat(m.start[heads], sizes)) + m.t_mean
        t_mean = total(weight * at) / count
        mean = m.mean[heads] + middle
        off, at = off - spread(middle), at - spread(t_mean)
        m2 = total(m.m2) + total(weight * off * off)
        t_m2 = total(m.t_m2) + total(weight * at * at)
        tv = total(m.tv) + total(weight * at * off)
    out = no_moments(len(heads))
    out.kind[:], out.start[:], out.count[:] = m.kind[heads], m.start[heads], count
    for column, values in ((out.mean, mean), (out.m2, m2), (out.t_mean, t_mean), (out.t_m2, t_m2), (out.tv, tv)):
        column[:] = values
    _ends(out, m, heads, sizes)
    return number[heads], out


def _ends(out: Moments, m: Moments, heads: Int64s, sizes: Int64s) -> None:
    low, high, kind = m.low, m.high, m.kind
    mixed = not bool((kind == kind[0]).all())  # a tag whose type changed: its values are compared, and told, as float64
    if mixed:
        low, high = numbers(low, kind).view(np.int64), numbers(high, kind).view(np.int64)
        kind = np.full(len(kind), int(Kind.FLOAT), np.uint8)
        out.kind[:] = int(Kind.FLOAT)
    never = np.iinfo(np.int64).max
    for key, slot, time, slots, times in (
        (_order(low, kind), low, m.low_t, out.low, out.low_t),
        (~_order(high, kind), high, m.high_t, out.high, out.high_t),
    ):
        least = key == np.repeat(np.minimum.reduceat(key, heads), sizes)
        when = np.where(least, time, never)
        row = _first_least(when, heads, sizes)
        slots[:], times[:] = slot[row], time[row]
    out.first_t[:] = np.minimum.reduceat(m.first_t, heads)
    out.last_t[:] = np.maximum.reduceat(m.last_t, heads)


def features(moments: Moments) -> Features:
    """Features of all groups together."""
    _, whole = combine(moments, np.zeros(len(moments), np.int64))
    if not len(whole):
        return Features(0)
    count, spread = int(whole.count[0]), float(whole.t_m2[0])
    with np.errstate(over="ignore", invalid="ignore"):
        std = float(np.sqrt(whole.m2[0] / count))
        trend = float(whole.tv[0]) / spread * 3_600_000.0 if spread > 0 else None
    return Features(
        count,
        value_of(int(whole.low[0]), int(whole.kind[0])),
        int(whole.low_t[0]),
        value_of(int(whole.high[0]), int(whole.kind[0])),
        int(whole.high_t[0]),
        float(whole.mean[0]),
        std,
        trend,
        int(whole.first_t[0]),
        int(whole.last_t[0]),
    )


def value_of(slot: int, kind: int) -> float | int:
    """A slot as a number; switches are 0 and 1."""
    if kind == Kind.FLOAT:
        return float(np.int64(slot).view(np.float64))
    return slot & 0xFFFF_FFFF_FFFF_FFFF if kind == Kind.UINT else slot
