"""A frame of many machines, cut into each machine's portions, and the few rules that anything can have happened to.

Most rows of most frames concern no alarm. So all limits of an edge are held against a frame's extremes at once, in numpy;
only rules beyond a limit, pending, active, or of another kind are then looked at row by row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cloud.alarms.evaluate import DeviceRows
from cloud.alarms.memory import NEVER, DeviceMemory
from cloud.alarms.plans import Compiled, Plan
from telemetry.dictionary import DeviceSpec, Dictionary
from telemetry.samples import Bools, Float64s, Int32s, Int64s, Quality, Samples, UInt16s

_LAST_MS = 1 << 52  # no machine's time lies beyond; what is added to it still fits into the database
LATE_MS = 60_000  # a row that arrives so long after its time came late


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows of one machine. `late`: they came late (back-filled), or something newer of the tag was evaluated before."""

    device: str
    late: bool
    rows: DeviceRows
    hot: tuple[str, ...]


class _Columns(NamedTuple):
    """Counted rows, sorted by tag number, then time."""

    tag: Int32s
    t: Int64s
    v: Float64s
    q: UInt16s

    def where(self, keep: Bools) -> "_Columns":
        return _Columns(self.tag[keep], self.t[keep], self.v[keep], self.q[keep])


class EdgeView:
    """An edge's dictionary with the rules of its machines, in columns. `plans` and `memories` by uid."""

    def __init__(self, words: Dictionary, plans: Mapping[str, Plan], memories: Mapping[str, DeviceMemory]) -> None:
        self._words, self._memories = words, memories
        self._ids = [tag.id for _, tag in words.tags]
        number = {(device.uid, tag.id): i for i, (device, tag) in enumerate(words.tags)}
        self._needed = np.zeros(len(self._ids), dtype=np.bool_)
        self._evaluated = np.full(len(self._ids), NEVER, dtype=np.int64)
        self._rules: list[tuple[str, str]] = []
        tags: list[int] = []
        bounds: list[tuple[float, float]] = []
        special: list[bool] = []
        for device in words.devices:
            plan = plans[device.uid]
            for tag in plan.needed:
                self._needed[number[device.uid, tag]] = True
            for tag, row in memories[device.uid].live.newest.items():
                if (at := number.get((device.uid, tag))) is not None:
                    self._evaluated[at] = row.t
            for name, one in plan.rules.items():
                self._rules.append((device.uid, name))
                tags.append(number[device.uid, one.rule.tag])
                bounds.append(_bounds(one))
                special.append(not one.simple)
        self._tag = np.array(tags, dtype=np.int64)
        self._low, self._high = np.array(bounds, dtype=np.float64).reshape(-1, 2).T
        self._special = np.array(special, dtype=np.bool_)
        self._place = {pair: i for i, pair in enumerate(self._rules)}
        self._busy = np.zeros(len(self._rules), dtype=np.bool_)
        self._device_of = words.device_of[self._tag] if len(self._tag) else np.zeros(0, dtype=np.int32)
        for device in words.devices:
            self.note(device.uid, plans[device.uid].rules)

    @property
    def devices(self) -> tuple[DeviceSpec, ...]:
        """The machines."""
        return self._words.devices

    def note(self, device: str, names: Mapping[str, Compiled] | tuple[str, ...]) -> None:
        """What evaluation has left busy of these rules."""
        known = self._memories[device].live.rules
        for name in names:
            self._busy[self._place[device, name]] = name in known and known[name].busy

    def portions(self, samples: Samples, arrival_ms: int) -> Iterator[Portion]:
        """The machines' portions of a frame, live ones first. Each is to be evaluated before the next is asked for."""
        values = samples.numeric
        counts = (samples.quality & (Quality.BAD | Quality.NO_VALUE)) == 0
        counts &= np.isfinite(values) | ~self._needed[samples.tag]
        counts &= np.abs(samples.time) < _LAST_MS
        if not counts.any():
            return
        order = np.lexsort((samples.time, samples.tag))
        order = order[counts[order]]
        rows = _Columns(samples.tag[order], samples.time[order], values[order], samples.quality[order])
        late = (arrival_ms - rows.t > LATE_MS) | (rows.t <= self._evaluated[rows.tag])
        if not late.any():
            yield from self._live(rows)
            return
        yield from self._live(rows.where(~late))
        for device, cut in self._cut(rows.where(late)):
            yield Portion(device, True, cut, tuple(name for uid, name in self._rules if uid == device))

    def _live(self, columns: _Columns) -> Iterator[Portion]:
        tag, t, v, _ = columns
        if not len(tag):
            return
        starts = np.flatnonzero(np.diff(tag, prepend=-1))
        present = tag[starts]
        ends = np.append(starts[1:], len(tag))
        self._evaluated[present] = np.where(self._needed[present], t[ends - 1], NEVER)
        top = np.full(len(self._ids), -np.inf)
        bottom = np.full(len(self._ids), np.inf)
        top[present] = np.fmax.reduceat(v, starts)
        bottom[present] = np.fmin.reduceat(v, starts)
        seen = np.zeros(len(self._words.devices), dtype=np.bool_)
        seen[self._words.device_of[present]] = True
        hot = (top[self._tag] > self._high) | (bottom[self._tag] < self._low)
        hot |= self._special & (top[self._tag] > -np.inf)
        hot |= self._busy & seen[self._device_of]
        by_device: dict[str, list[str]] = {}
        for place in np.flatnonzero(hot).tolist():
            device, name = self._rules[place]
            by_device.setdefault(device, []).append(name)
        for device, rows in self._cut(columns):
            yield Portion(device, False, rows, tuple(by_device.get(device, ())))

    def _cut(self, columns: _Columns) -> Iterator[tuple[str, DeviceRows]]:
        """Rows by machine (a machine's tags have neighbouring numbers). Only tags that rules need have spans."""
        tag, t, v, q = columns
        starts = np.flatnonzero(np.diff(tag, prepend=-1))
        present = tag[starts]
        ends = np.append(starts[1:], len(tag))
        owner = self._words.device_of[present]
        bounds = np.flatnonzero(np.diff(owner, prepend=-1)).tolist()
        for first, end in zip(bounds, [*bounds[1:], len(present)], strict=True):
            base, stop = int(starts[first]), int(ends[end - 1])
            wanted = np.flatnonzero(self._needed[present[first:end]]) + first
            spans = {
                self._ids[number]: (start - base, finish - base)
                for number, start, finish in zip(
                    present[wanted].tolist(), starts[wanted].tolist(), ends[wanted].tolist(), strict=True
                )
            }
            rows = DeviceRows(t[base:stop], v[base:stop], q[base:stop], spans)
            yield self._words.devices[int(owner[first])].uid, rows


def _bounds(one: Compiled) -> tuple[float, float]:
    """(low, high): a value outside meets some level of the rule."""
    highs = [test.limit for test in one.tests if test.side > 0]
    lows = [test.limit for test in one.tests if test.side < 0]
    high, low = min(highs, default=np.inf), max(lows, default=-np.inf)
    if not one.simple:
        return -np.inf, np.inf
    if one.rule.absolute:
        return (np.inf, high) if lows else (-high, high)  # |v| < low: any value is worth a look
    return low, high
