"""One ingest worker: broker → committer → receipts, signed heads, and the ledger's consumers.

What needs the disk runs in threads; commits one at a time. A message that does not fit into the queue is dropped: the
edge has it and sends it again when no receipt comes.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ingest.committer import Committer, Outcome
from ingest.consuming import Consumer, Follower
from ingest.heads import HeadKeeper
from ingest.historian.settings import open_historian
from ingest.historian_writer import HistorianWriter
from ingest.index import Committed
from ingest.ledger import LedgerError
from ingest.live import LivePublisher
from ingest.opening import Opener
from ingest.presence import Presence
from ingest.register import ensure_keys
from ingest.rolling import DueMarks, Roller
from ingest.settings import IngestSettings, shard_numbers
from ingest.shards import LEASE_MS, LeaseHeld, Shards
from ingest.tables import connect
from telemetry import clock, keys
from telemetry.messages import MessageError
from telemetry.mqtt import Incoming, Session
from telemetry.topics import Channel, TopicError, shard_filter

_log = structlog.get_logger(__name__)

_QUEUE = 10_000
_BATCH = 256
_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What a companion may use: `publish` hands a message to the broker (False: not now), `reopen` reads a committed item
    again by shard and leaf (None: it cannot be opened), `command_key` signs what edges are asked."""

    publish: Callable[[str, bytes], bool]
    reopen: Callable[[int, int], Committed | None]
    command_key: keys.SigningKey


Companion = Callable[[Tools], Awaitable[None]]


class Worker:
    """`consumers` follow the ledger besides the historian writer and the live publisher; `companions` run beside them for as
    long as the worker does."""

    def __init__(
        self,
        settings: IngestSettings,
        consumers: Sequence[Consumer] = (),
        companions: Sequence[Companion] = (),
    ) -> None:
        ensure_keys(settings.keys)
        self._settings = settings
        self._receipt_key = keys.load_signing_key(settings.keys / "receipt.pem")
        self._engine = connect(settings.database)
        self._shards = Shards(
            self._engine, settings.ledger, worker=settings.worker, numbers=shard_numbers(settings.shards)
        )
        private = keys.load_exchange_key(settings.keys / "exchange.pem")
        self._committer = Committer(
            self._engine,
            self._shards,
            lambda me: Opener(private, find_epoch=me.epoch_item, find_dictionary=me.dictionary),
        )
        self._heads = HeadKeeper(settings.ledger, self._shards, keys.load_signing_key(settings.keys / "ledger.pem"))
        self._presence = Presence(self._engine)
        self._queue: asyncio.Queue[Incoming] = asyncio.Queue(_QUEUE)
        self._extra = consumers
        self._companions = companions
        self._command_key = keys.load_signing_key(settings.keys / "command.pem")
        self._failing = False

    async def run(self) -> None:
        """Run until cancelled. Raises LeaseHeld if another worker has a shard of ours, LedgerCorrupt."""
        await asyncio.to_thread(self._shards.acquire)
        caught_up = await asyncio.to_thread(self._committer.catch_up)
        if caught_up:
            _log.info("indexed after a crash", items=caught_up)
        historian = open_historian(self._settings.historian)
        session = Session(
            self._settings.broker,
            client_id=f"ingest-{self._settings.worker}",
            subscriptions=tuple(
                (shard_filter(shard, channel), 1)
                for shard in sorted(self._shards.numbers())
                for channel in (Channel.UP, Channel.BIRTH, Channel.WILL)
            ),
            on_message=self._received,
        )
        live_secret = (self._settings.keys / "live.key").read_bytes()
        live = LivePublisher(lambda topic, payload: session.publish(topic, payload, qos=0), live_secret)
        marks = DueMarks(self._engine)
        roller = Roller(historian, marks, self._shards.numbers)
        followers = [
            Follower(consumer, self._engine, self._committer, self._shards)
            for consumer in (HistorianWriter(historian, marks), live, *self._extra)
        ]
        _log.info("ingest runs", worker=self._settings.worker, shards=self._settings.shards)
        try:
            async with session, asyncio.TaskGroup() as tasks:
                for follower in followers:
                    tasks.create_task(follower.run(), name="consumer")
                tasks.create_task(self._commit(session, followers), name="commit")
                tasks.create_task(self._sign_heads(), name="heads")
                tasks.create_task(self._renew(), name="lease")
                tasks.create_task(roller.run(), name="rollups")
                tools = Tools(session.publish, self._reopen, self._command_key)
                for companion in self._companions:
                    tasks.create_task(_beside(companion, tools), name="companion")
        finally:
            await historian.close()
            with contextlib.suppress(SQLAlchemyError):  # then the leases end by themselves
                await asyncio.to_thread(self._shards.close)

    def _reopen(self, shard: int, leaf: int) -> Committed | None:
        found = self._committer.committed_from(shard, leaf, 1)
        return found[0] if found and found[0].opened is not None else None

    def _received(self, message: Incoming) -> None:
        if message.topic.endswith(f"/{Channel.UP}"):
            with contextlib.suppress(asyncio.QueueFull):  # never receipted, so the edge sends it again
                self._queue.put_nowait(message)
            return
        try:
            self._presence.take(message)
        except (MessageError, TopicError) as error:
            _log.warning("birth or will refused", topic=message.topic[:200], reason=str(error))

    async def _commit(self, session: Session, followers: list[Follower]) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            outcome = await self._committed(batch)
            with contextlib.suppress(SQLAlchemyError):  # the edges send again and are receipted then
                for topic, receipt in await asyncio.to_thread(self._committer.receipts, outcome, self._receipt_key):
                    session.publish(topic, receipt)
            if outcome.committed:
                for follower in followers:
                    follower.wake()

    async def _committed(self, batch: list[Incoming]) -> Outcome:
        """The outcome of a batch; none where disk or database failed: then nothing of it is receipted, every edge sends
        again, and what was committed all the same is found by catching up."""
        try:
            outcome = await asyncio.to_thread(self._committer.commit, batch)
        except (OSError, LedgerError, SQLAlchemyError) as error:
            if not self._failing:
                _log.error("cannot commit, edges keep their data and send again", reason=str(error))
            self._failing = True
            await asyncio.sleep(_RETRY_S)
            await asyncio.to_thread(self._shards.reopen)
            return Outcome()
        if self._failing:
            _log.info("commits again")
        self._failing = False
        return outcome

    async def _sign_heads(self) -> None:
        while True:
            with contextlib.suppress(OSError, LedgerError):  # `_committed` says so; the next head covers this one
                await asyncio.to_thread(self._heads.keep)
            await asyncio.sleep(self._settings.head_period_s)

    async def _renew(self) -> None:
        good_until = clock.mono_ms() + LEASE_MS
        while True:
            await asyncio.sleep(LEASE_MS / 3000)
            try:
                await asyncio.to_thread(self._shards.acquire)
                good_until = clock.mono_ms() + LEASE_MS
            except SQLAlchemyError as error:
                if clock.mono_ms() > good_until:
                    raise LeaseHeld(f"the leases could not be renewed in time: {error}") from error


async def _beside(companion: Companion, tools: Tools) -> None:
    await companion(tools)
