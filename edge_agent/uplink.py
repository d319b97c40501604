"""The uplink: outbox to broker, and receipts back.

A broker that acknowledged a message can still lose it, so only a receipt signed by ingest lets an item go, and only an
item whose own hash it proves committed. What is under way, and when it is sent again, is in `flights`.
"""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from edge_agent.flights import WINDOW, Flights
from edge_agent.outbox import Outbox, OutboxError, Stored
from telemetry import clock
from telemetry.keys import VerifyingKey
from telemetry.messages import MessageError, Receipt
from telemetry.mqtt import Incoming, Session
from telemetry.topics import Address, Channel

_log = structlog.get_logger(__name__)

_PAUSE_S = (0.1, 2.0)


class Uplink:
    """Sends what the outbox holds. `on_fork(stream, sequence)` is called when ingest found a fork."""

    def __init__(
        self,
        outbox: Outbox,
        address: Address,
        receipt_key: VerifyingKey,
        *,
        on_fork: Callable[[bytes, int], None],
        flights: Flights | None = None,
    ) -> None:
        self._outbox = outbox
        self._up = address.topic(Channel.UP)
        self._receipts = address.topic(Channel.RECEIPT)
        self._edge = address.edge
        self._key = receipt_key
        self._on_fork = on_fork
        self._flights = flights or Flights()
        self._wake = asyncio.Event()
        self._sent = 0  # n of the last item that was ever sent: later ones are fresh
        self._disk_failed = False
        self._foreign: bytes | None = None
        self.refused_receipts = 0

    def wake(self) -> None:
        """Something was stored or came back: look again."""
        self._wake.set()

    def restart(self) -> None:
        """The connection is new: whatever was under way may be gone."""
        self._flights.again(clock.mono_ms())
        self._wake.set()

    async def run(self, session: Session) -> None:
        """Send for ever. An outbox that cannot be read is tried again."""
        while True:
            await session.connected.wait()
            self._wake.clear()
            try:
                self._send(session, await self._next())
            except OutboxError as error:
                self._say_failed(error)
                pause = _PAUSE_S[1]
            else:
                due = self._flights.next_due_ms()
                pause = (
                    _PAUSE_S[1] if due is None else min(max((due - clock.mono_ms()) / 1000, _PAUSE_S[0]), _PAUSE_S[1])
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):  # wait_for of Python 3.11 may swallow a cancellation
                    await self._wake.wait()

    async def send_rest(self, session: Session) -> None:
        """Hand what was not sent yet to the broker, once: the process is about to end. What gets lost is sent by the next."""
        with contextlib.suppress(OutboxError):
            self._send(session, await asyncio.to_thread(self._outbox.pending, after=self._sent, limit=WINDOW))

    async def _next(self) -> list[Stored]:
        """Items to send now: those due again, then fresh ones."""
        due = self._flights.due(clock.mono_ms())
        items = await asyncio.to_thread(self._outbox.items, due) if due else []
        self._flights.gone(set(due) - {item.n for item in items})  # given up or sealed again since
        room = self._flights.room(clock.mono_ms()) - len(items)
        if room > 0:
            items += await asyncio.to_thread(self._outbox.pending, after=self._sent, limit=room)
        return items

    def _send(self, session: Session, items: list[Stored]) -> None:
        for item in items:
            if not session.publish(self._up, item.sealed, qos=1):
                return
            self._sent = max(self._sent, item.n)
            self._flights.sent(item.n, clock.mono_ms())

    async def receipt(self, message: Incoming) -> None:
        """Take a receipt in. One that is not ingest's, or retained, is counted and left alone."""
        try:
            if message.retained:
                raise MessageError("retained")
            receipt = Receipt.verify(message.payload, self._key, self._receipts)
            if receipt.edge != self._edge:
                raise MessageError("for another edge")
        except MessageError as error:
            self.refused_receipts += 1
            _log.warning("receipt refused", reason=str(error), refused=self.refused_receipts)
            return
        try:
            await self._release(receipt)
        except OutboxError as error:
            self._say_failed(error)  # the item stays, is sent again and receipted again
        if receipt.forked is not None and await asyncio.to_thread(self._outbox.holds, receipt.stream, *receipt.forked):
            self._on_fork(receipt.stream, receipt.forked[0])
        self._wake.set()

    async def _release(self, receipt: Receipt) -> None:
        released = await asyncio.to_thread(
            self._outbox.release,
            receipt.stream,
            contiguous=receipt.contiguous,
            hash=receipt.hash,
            taken=receipt.taken,
        )
        if self._disk_failed:
            _log.info("receipts are taken again")
            self._disk_failed = False
        self._flights.landed(released.items, clock.mono_ms())
        if released.foreign and self._foreign != receipt.stream:
            self._foreign = receipt.stream
            _log.warning(
                "ingest has items under numbers that this edge did not seal: was it restored from a copy?",
                stream=receipt.stream.hex(),
                contiguous=receipt.contiguous,
            )

    def _say_failed(self, error: OutboxError) -> None:
        if not self._disk_failed:
            _log.error("outbox cannot be written, receipts wait", reason=str(error))
        self._disk_failed = True
