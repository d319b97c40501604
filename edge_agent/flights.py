"""What is under way: items sent and not receipted yet, and when each is to be sent again.

WINDOW items wait for their receipt at a time. An item that was sent PATIENCE times without one no longer counts: what is
behind it goes on, and it is tried again ever more rarely, but never given up. So an item that ingest refuses holds up
nothing. Where no receipt comes at all, ingest is away, or has refused everything so far: then what is behind is still
tried, but slowly, up to MOST items, so that the broker is not flooded with what nobody takes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from telemetry import clock

WINDOW = 64
PATIENCE = 4
MOST = 5_000
_FIRST_MS = (2_000, 30_000)
_LONGEST_MS = 600_000
_SILENCE_MS = 30_000
_STALE_AT_ONCE = 16
_PROBE_MS, _PROBES = 2_000, 32  # in a silence one more item each, as many as this after a pause


@dataclass(slots=True)
class _Flight:
    first_ms: int
    sent_ms: int = 0
    due_ms: int = 0
    tries: int = 0


@dataclass
class Flights:
    """Items by their n. Times are monotonic ms. Not thread-safe. `wait_ms`: after how long without a receipt an item is sent
    a second time, at least; it follows how long receipts take, so that a slow cloud does not get everything twice."""

    wait_ms: int = _FIRST_MS[0]
    _flights: dict[int, _Flight] = field(default_factory=dict[int, _Flight])
    _heard_ms: int = field(default_factory=clock.mono_ms)

    def __post_init__(self) -> None:
        self._least_ms = self.wait_ms
        self._silent_from_ms = self._heard_ms + _SILENCE_MS
        self._probed_ms = self._heard_ms

    def due(self, now_ms: int) -> list[int]:
        """Items to be sent again now, oldest first: within the window, and a few of those that no longer count."""
        due = sorted(n for n, flight in self._flights.items() if flight.due_ms <= now_ms)
        counting = [n for n in due if self._flights[n].tries < PATIENCE]
        stale = [n for n in due if self._flights[n].tries >= PATIENCE]
        return sorted([*counting[: self.room(now_ms)], *stale[:_STALE_AT_ONCE]])

    def room(self, now_ms: int) -> int:
        """How many more items may be sent: WINDOW less those that wait for their receipt; in a silence a few."""
        if now_ms >= self._silent_from_ms:
            few = min((now_ms - self._probed_ms) // _PROBE_MS, _PROBES)
            return few if len(self._flights) < MOST else 0
        waiting = sum(1 for one in self._flights.values() if one.due_ms > now_ms and one.tries < PATIENCE)
        return max(0, WINDOW - waiting)

    def sent(self, n: int, now_ms: int) -> None:
        """Item `n` was handed to the broker."""
        flight = self._flights.get(n)
        if flight is None:
            if not self._flights:
                self._silent_from_ms = now_ms + _SILENCE_MS  # who waits for nothing is not kept waiting
            flight = self._flights[n] = _Flight(now_ms)
            if now_ms >= self._silent_from_ms:
                self._probed_ms = max(self._probed_ms, now_ms - _PROBES * _PROBE_MS) + _PROBE_MS
                flight.tries = PATIENCE
        flight.tries += 1
        flight.sent_ms = now_ms
        flight.due_ms = now_ms + min(self.wait_ms << min(flight.tries - 1, 20), _LONGEST_MS)

    def landed(self, numbers: Iterable[int], now_ms: int) -> None:
        """Items were receipted. After a silence everything else is due: it was not refused, nobody was there."""
        landed = [one for n in numbers if (one := self._flights.pop(n, None)) is not None]
        if not landed:
            return
        for once in (one for one in landed if one.tries == 1):  # of one sent twice nobody knows which was answered
            took = now_ms - once.sent_ms
            self.wait_ms = min(max(self._least_ms, self.wait_ms + (4 * took - self.wait_ms) // 8), _FIRST_MS[1])
        if now_ms - self._heard_ms > _SILENCE_MS:
            for flight in self._flights.values():
                flight.due_ms = now_ms
                if flight.first_ms >= self._heard_ms:
                    flight.tries = 0
        self._heard_ms = now_ms
        self._silent_from_ms = now_ms + _SILENCE_MS

    def gone(self, numbers: Iterable[int]) -> None:
        """Items are no longer held, for whatever reason."""
        for n in numbers:
            self._flights.pop(n, None)

    def again(self, now_ms: int) -> None:
        """The connection is new: whatever was under way may be lost."""
        self._silent_from_ms = now_ms + _SILENCE_MS
        for flight in self._flights.values():
            flight.due_ms = now_ms
            if flight.tries < PATIENCE:
                flight.tries = 0

    def next_due_ms(self) -> int | None:
        """When the next item is due; None if nothing is under way."""
        return min((flight.due_ms for flight in self._flights.values()), default=None)
