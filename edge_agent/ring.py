"""The raw ring: what was acquired lately of each machine at the acquisition rate, for the packages of alarms.

Invariants, each tested by name:

    keeps     a machine's rows are held for at least `minutes` by the monotonic clock, unless all take more than `max_bytes`
    bounded   what is held takes at most `max_bytes`, whatever comes
    fair      for want of room the machine that takes the most gives up its oldest: waveforms of one cost the others nothing
    honest    `from_ms` of a machine says since when every row of it is here, `room_ms` how much of that is want of room
    exact     what comes out is what went in, at each tag's declared resolution, in the order in which it came

It is filled after the pipeline's clock and checks and before the deadband, so a window equals history wherever history has
the point; a value that fits into no item is here what it is there, a row that says so. Rows are kept as frames of a few
seconds of one machine: about a byte a value. It is in memory: a restart begins anew, and `from_ms` says so.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from edge_agent import framing
from telemetry import clock, frame, samples
from telemetry.dictionary import Dictionary
from telemetry.frame import Frame, FrameError
from telemetry.samples import Bools, Samples

CHUNK_MS = 5_000
CHUNK_ROWS = 50_000
CHUNK_BYTES = 4 << 20
ANSWER_MS = (
    60_000  # rows are held that much longer, so that they are still here when a window of all minutes is answered
)
_BOOT = bytes(16)  # a chunk never leaves this process
_OVERHEAD = 256  # bytes of a chunk besides its frame


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Rows of a machine that arrived within a few seconds: their own times, the monotonic time by which all were here."""

    first_ms: int
    last_ms: int
    closed_ms: int
    data: bytes

    @property
    def bytes(self) -> int:
        return len(self.data) + _OVERHEAD


@dataclass(slots=True)
class _Held:
    """What is held of a machine."""

    from_ms: int
    room_ms: int = 0
    newest_ms: int = 0
    heard_ms: int | None = None
    bytes: int = 0
    chunks: deque[_Chunk] = field(default_factory=deque[_Chunk])

    def keep(self, chunk: _Chunk) -> None:
        self.chunks.append(chunk)
        self.bytes += chunk.bytes
        self.newest_ms = max(self.newest_ms, chunk.last_ms)
        self.heard_ms = chunk.closed_ms

    def drop_oldest(self) -> _Chunk:
        gone = self.chunks.popleft()
        self.bytes -= gone.bytes
        self.from_ms = max(self.from_ms, gone.last_ms + 1)
        return gone


class Ring:
    """`words` names the tags; their numbers and kinds must stay the same as long as the ring lives. One thread at a time."""

    def __init__(self, words: Dictionary, *, minutes: float = 15.0, max_bytes: int = 64 << 20) -> None:
        self._words = words
        self._keep_ms = minutes * 60_000 + ANSWER_MS
        self._max_bytes = max_bytes
        self._bytes = 0
        now = clock.now_ms()
        self._held = [_Held(now) for _ in words.devices]
        self._place = {device.uid: at for at, device in enumerate(words.devices)}
        self._pending: list[Samples] = []
        self._pending_rows = self._pending_bytes = 0
        self._pending_since_ms = 0

    @property
    def bytes(self) -> int:
        """What the chunks take."""
        return self._bytes

    def from_ms(self, uid: str) -> int:
        """The machine's own time since which every row of it is held."""
        return self._held[self._place[uid]].from_ms

    def room_ms(self, uid: str) -> int:
        """The machine's own time before which rows were given up early, for want of room; 0: none were."""
        return self._held[self._place[uid]].room_ms

    def newest_ms(self, uid: str) -> int:
        """The newest time of the machine's rows; 0 where there are none."""
        pending = [int(rows.time[mine].max()) for rows in self._pending if (mine := self._of(uid, rows)).any()]
        return max([self._held[self._place[uid]].newest_ms, *pending])

    def silent_ms(self, uid: str) -> int | None:
        """How long nothing has come of the machine, to within CHUNK_MS; None: never anything."""
        if any(self._of(uid, rows).any() for rows in self._pending):
            return 0
        heard = self._held[self._place[uid]].heard_ms
        return None if heard is None else clock.mono_ms() - heard

    def _of(self, uid: str, rows: Samples) -> Bools:
        return self._words.device_of[rows.tag] == self._place[uid]

    def add(self, rows: Samples) -> None:
        """Take rows in, in the order of their acquisition."""
        if not len(rows):
            return
        now = clock.mono_ms()
        if not self._pending:
            self._pending_since_ms = now
        self._pending.append(rows)
        self._pending_rows += len(rows)
        self._pending_bytes += sum(len(one) if isinstance(one, str) else one.nbytes for one in rows.blobs)
        full = self._pending_rows >= CHUNK_ROWS or self._pending_bytes >= CHUNK_BYTES
        if full or now - self._pending_since_ms >= CHUNK_MS:
            self._close_chunk(now)

    def window(self, uid: str, from_ms: int, to_ms: int, tags: tuple[str, ...] = ()) -> Samples:
        """The machine's rows with times from..to, both included, by tag and in order of acquisition within each; `tags` ()
        for all."""
        self._close_chunk(clock.mono_ms())
        place = self._place[uid]
        chunks = [one for one in self._held[place].chunks if one.first_ms <= to_ms and one.last_ms >= from_ms]
        rows = samples.concat([frame.decode(one.data, self._words).samples for one in chunks])
        first = self._words.first_number(uid)
        wanted = [first + at for at, tag in enumerate(self._words.devices[place].tags) if not tags or tag.id in tags]
        rows = rows.where(np.isin(rows.tag, wanted) & (rows.time >= from_ms) & (rows.time <= to_ms))
        return rows.where(np.argsort(rows.tag, kind="stable"))

    def _close_chunk(self, now: int) -> None:
        """What is pending becomes a chunk a machine; what is too old or too much goes."""
        if not self._pending:
            return
        rows, _ = framing.fitting(samples.concat(self._pending), self._words)
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        place = self._words.device_of[rows.tag]
        order = np.argsort(place, kind="stable")
        starts = np.flatnonzero(np.diff(place[order], prepend=-1))
        for some in np.split(order, starts[1:]):
            self._keep(self._held[int(place[some[0]])], rows.where(some), now)
        for held in self._held:
            while held.chunks and held.chunks[0].closed_ms < now - self._keep_ms:
                self._bytes -= held.drop_oldest().bytes
        while self._bytes > self._max_bytes:
            largest = max(self._held, key=lambda one: one.bytes)
            gone = largest.drop_oldest()
            self._bytes -= gone.bytes
            largest.room_ms = max(largest.room_ms, gone.last_ms + 1)

    def _keep(self, held: _Held, rows: Samples, now: int) -> None:
        try:
            data = frame.encode(Frame(int(rows.time[0]), 0, _BOOT, rows), self._words)
        except FrameError:  # larger than a frame may be; a single row never is, see `fitting`
            half = len(rows) // 2
            if not half:
                raise
            numbers = np.arange(len(rows))
            self._keep(held, rows.where(numbers[:half]), now)
            self._keep(held, rows.where(numbers[half:]), now)
            return
        chunk = _Chunk(int(rows.time.min()), int(rows.time.max()), now, data)
        held.keep(chunk)
        self._bytes += chunk.bytes
