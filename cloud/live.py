"""Live values, pushed: every client has its subscriptions and one bounded queue.

Nobody waits for anybody: a batch is offered to each queue without blocking, and a client whose queue is full is let go
with the reason. Within a subscription snapshots and data are numbered from 1 without holes, in the order sent; what comes
while a snapshot is being read is held back and follows it. After "unsubscribed" nothing of that subscription is sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from telemetry import clock

_log = structlog.get_logger(__name__)

Row = Sequence[Any]  # [tag, t, v, q]
Latest = Callable[[str, str], Awaitable[list[list[Any]]]]

MAX_DEVICES = 1000  # a subscription
MAX_SUBSCRIPTIONS = 100  # a client
HEARTBEAT_S = 5.0
QUEUE = 2000

_FRESH_MS = 5_000  # for how long the newest value of a quiet machine is taken to be what it was


@dataclass(frozen=True, slots=True)
class LiveBatch:
    """Values of one machine that have just been committed."""

    enterprise: str
    device: str
    simulated: bool
    arrival_ms: int
    rows: Sequence[Row]


@dataclass(eq=False, slots=True)
class Subscription:
    """What a client asked for. `devices` maps uid → simulated."""

    id: str
    devices: dict[str, bool]
    client: "Client"
    sequence: int = 0
    held: list[LiveBatch] | None = field(default_factory=list[LiveBatch])  # None once the snapshot has gone
    ended: bool = False


Message = tuple[Subscription | None, dict[str, Any]]


class Client:
    """One connection: its subscriptions, its queue, and why it must go, once it must."""

    def __init__(self, enterprise: str, *, limit: int = QUEUE) -> None:
        self.enterprise = enterprise
        self.subscriptions: dict[str, Subscription] = {}
        self.gone = asyncio.Event()
        self.reason = ""
        self._limit = limit
        self._queue: asyncio.Queue[Message] = asyncio.Queue(limit)

    def send(self, message: dict[str, Any], of: Subscription | None = None) -> None:
        """Queue a message; a client whose queue is full is let go."""
        if self.gone.is_set():
            return
        if of is not None:
            of.sequence += 1
            message["seq"] = of.sequence
        try:
            self._queue.put_nowait((of, message))
        except asyncio.QueueFull:
            self.let_go(f"too slow: {self._limit} messages behind")

    def offer(self, one: Subscription, batch: LiveBatch) -> None:
        """A batch for a subscription."""
        if one.held is None:
            self.send(_data(one, batch), one)
        elif len(one.held) < self._limit:
            one.held.append(batch)
        else:
            self.let_go(f"too slow: {self._limit} messages behind")

    def let_go(self, reason: str) -> None:
        """This client must go."""
        if not self.gone.is_set():
            self.reason = reason
            self.gone.set()

    def heartbeat(self) -> None:
        """Queue a heartbeat, unless the queue is busy: then the client gets messages anyway."""
        if self._queue.empty():
            self.send({"type": "heartbeat"})

    async def next(self) -> dict[str, Any]:
        """The next message to be written, stamped with the time of sending."""
        while True:
            of, message = await self._queue.get()
            if of is None or not of.ended:
                message["sent_ms"] = clock.now_ms()
                return message


@dataclass(slots=True)
class _Newest:
    """When a machine's newest value was, and when (monotonic) that was last known to be so."""

    time_ms: int | None = None
    checked_ms: int | None = None

    def note(self, time_ms: int | None) -> None:
        self.checked_ms = clock.mono_ms()
        if time_ms is not None and (self.time_ms is None or time_ms > self.time_ms):
            self.time_ms = time_ms


class LiveHub:
    """Passes batches on to whoever subscribed to their machine. All of it runs in one event loop."""

    def __init__(self, latest: Latest) -> None:
        self._latest = latest
        self._by_device: dict[tuple[str, str], set[Subscription]] = {}
        self._joined: set[Client] = set()
        self._newest: dict[tuple[str, str], _Newest] = {}

    @property
    def clients(self) -> int:
        """How many clients have subscriptions."""
        return len({one.client for some in self._by_device.values() for one in some})

    def join(self, client: Client) -> None:
        """A connection has begun: it hears what concerns its whole enterprise."""
        self._joined.add(client)

    def tell(self, enterprise: str, message: dict[str, Any]) -> None:
        """Send a message of no subscription to every client of an enterprise; never blocks."""
        for client in tuple(self._joined):
            if client.enterprise == enterprise:
                client.send(dict(message))

    def publish(self, batch: LiveBatch) -> None:
        """Offer a batch to every subscription of its machine; never blocks."""
        for one in tuple(self._by_device.get((batch.enterprise, batch.device), ())):
            one.client.offer(one, batch)
        known = self._newest.get((batch.enterprise, batch.device))
        if known is not None and batch.rows:
            known.note(max(row[1] for row in batch.rows))

    async def last_ms(self, enterprise: str, device: str) -> int | None:
        """The time of a machine's newest value, None if it has none: as values pass by; asked of the historian at first,
        and again when nothing has passed by for a while (what was committed late does not)."""
        key = (enterprise, device)
        known = self._newest.get(key)
        if known is None:
            known = self._newest[key] = _Newest()
        if known.checked_ms is None or clock.mono_ms() - known.checked_ms >= _FRESH_MS:
            rows = await self._latest(enterprise, device)
            known.note(max((row[1] for row in rows), default=None))
        return known.time_ms

    async def subscribe(self, client: Client, name: str, devices: dict[str, bool]) -> None:
        """Begin a subscription: "subscribed", a snapshot of every machine, then data. Raises whatever reading the snapshot
        raises; then there is no subscription."""
        one = Subscription(name, devices, client)
        client.subscriptions[name] = one
        for device in devices:
            self._by_device.setdefault((client.enterprise, device), set()).add(one)
        try:
            snapshots = [(device, await self._latest(client.enterprise, device)) for device in devices]
        except BaseException:
            self._end(one)
            raise
        client.send({"type": "subscribed", "id": name})
        for device, rows in snapshots:
            snapshot = {"type": "snapshot", "id": name, "device": device, "simulated": devices[device], "rows": rows}
            client.send(snapshot, one)
        held, one.held = one.held or [], None
        for batch in held:
            client.offer(one, batch)

    def unsubscribe(self, client: Client, name: str) -> bool:
        """End a subscription; what of it is still queued is not sent. False if there is none of that name."""
        one = client.subscriptions.get(name)
        if one is None:
            return False
        self._end(one)
        client.send({"type": "unsubscribed", "id": name})
        return True

    def leave(self, client: Client) -> None:
        """A connection has ended, and all its subscriptions with it."""
        self._joined.discard(client)
        for one in tuple(client.subscriptions.values()):
            self._end(one)

    def _end(self, one: Subscription) -> None:
        one.ended = True
        one.client.subscriptions.pop(one.id, None)
        for device in one.devices:
            key = (one.client.enterprise, device)
            some = self._by_device.get(key, set())
            some.discard(one)
            if not some:
                self._by_device.pop(key, None)


def _data(one: Subscription, batch: LiveBatch) -> dict[str, Any]:
    return {
        "type": "data",
        "id": one.id,
        "arrival_ms": batch.arrival_ms,
        "device": batch.device,
        "simulated": batch.simulated,
        "rows": batch.rows,
    }
