"""The agent: one asyncio process that wires drivers → pipeline → frames → outbox → uplink, and answers challenges.

A slow or dead device holds nothing up: each driver has a task of its own and puts what it has into the basket; every
frame period whatever is in the basket goes through the pipeline and becomes a frame. If the outbox cannot be written
(a full disk), the rows wait in memory, beyond a limit the oldest are given up and counted, and it is said once; what a
frame was to say besides (a new dictionary, a step of the clock) waits with them.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import structlog

from edge_agent import framing, machine_clock, sealing, windows
from edge_agent.challenges import Challenges
from edge_agent.describe import to_dictionary, to_rules
from edge_agent.drivers.base import no_value
from edge_agent.drivers.build import make_drivers
from edge_agent.enrol import Identity, load_identity
from edge_agent.framing import DictionaryTooLarge
from edge_agent.outbox import Draft, Outbox, OutboxError
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.ring import Ring
from edge_agent.sealing import Sealer
from edge_agent.settings import AgentSettings
from edge_agent.state_lock import StateLock
from edge_agent.uplink import Uplink
from edge_agent.windows import Windows
from telemetry import clock, samples
from telemetry.dictionary import Dictionary
from telemetry.messages import BIRTH_EVERY_MS, Birth, Echo, MessageError, Will
from telemetry.mqtt import Incoming, LastWill, Session
from telemetry.samples import Reason, Samples
from telemetry.topics import Address, Channel

_log = structlog.get_logger(__name__)

_MAX_WAITING_ROWS = 500_000


class Agent:
    """One edge. Raises EnrolmentError or KeyFileError where it is not enrolled, DictionaryTooLarge where it has too many
    tags, AlreadyRunning where its state folder is in use, OutboxError where that cannot be written."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._address = Address(settings.enterprise, settings.edge)
        self._identity: Identity = load_identity(settings)
        self._words = to_dictionary(settings)
        framing.dictionary_draft(self._words)
        self._lock = StateLock(settings.state_dir).take()
        try:
            self._outbox = Outbox(settings.state_dir / "outbox.db", max_bytes=settings.outbox.max_bytes)
        except OutboxError:
            self._lock.release()
            raise
        self._sealer = Sealer(
            self._identity.signer,
            self._address.topic(Channel.UP),
            self._identity.exchange_key,
            machine_clock.boot_id(),
        )
        self._nameplates: dict[str, Mapping[str, str]] = {}
        self._nameplates_told: dict[str, Mapping[str, str]] = {}  # those the dictionary on disk has
        self._ring = Ring(self._words, minutes=settings.ring.minutes, max_bytes=settings.ring.max_bytes)
        self._pipeline = Pipeline(to_rules(settings, self._words), tap=self._ring.add)
        self._basket: list[Samples] = []
        self._waiting: list[Samples] = []  # through the pipeline, but not yet on disk
        self._lost_rows = 0
        self._too_large: dict[int, int] = {}  # values that fitted into no item, by tag
        self._clock_step_ms = 0  # not on disk yet
        self._disk_failed = False
        self._steps = machine_clock.StepDetector()
        self._receipts: asyncio.Queue[Incoming] = asyncio.Queue(1000)
        self._uplink = Uplink(self._outbox, self._address, self._identity.receipt_key, on_fork=self._forked)
        self._challenges = Challenges(
            self._identity.command_key, self._address.topic(Channel.CHALLENGE), settings.enterprise
        )
        self._windows = Windows(self._identity.command_key, self._address.topic(Channel.WINDOW), self._words)
        self._forks: dict[bytes, int] = {}
        self._flushing = asyncio.Lock()
        self._answering: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Run until cancelled, once; what was acquired by then is on disk when this returns."""
        try:
            await self._run()
        finally:
            self._outbox.close()
            self._lock.release()

    async def _run(self) -> None:
        await asyncio.to_thread(self._open)
        session = Session(
            self._settings.broker,
            client_id=f"{self._address.enterprise}-{self._address.edge}",
            subscriptions=tuple(
                (self._address.topic(channel), 1) for channel in (Channel.RECEIPT, Channel.CHALLENGE, Channel.WINDOW)
            ),
            on_message=self._received,
            will=self._will,
        )
        session.on_connect = lambda: self._connected(session)
        self._session = session
        drivers = make_drivers(self._settings, self._words, emit=self._basket.append, on_nameplate=self._nameplate)
        _log.info(
            "agent runs", edge=self._address.edge, devices=len(drivers), fingerprint=self._identity.signer.id.hex()
        )
        async with session:
            try:
                async with asyncio.TaskGroup() as tasks:
                    for driver in drivers:
                        tasks.create_task(driver.run(), name=f"driver {driver.uid}")
                    tasks.create_task(self._tick(), name="frames")
                    tasks.create_task(self._uplink.run(session), name="uplink")
                    tasks.create_task(self._take_receipts(), name="receipts")
                    tasks.create_task(self._be_seen(session), name="birth")
            finally:
                await asyncio.shield(self._leave(session))

    async def _leave(self, session: Session) -> None:
        """The last frame: what was still in the basket, and that every tag is now without a value. Then the will."""
        for device in self._words.devices:
            first = self._words.first_number(device.uid)
            self._basket.append(no_value(first, device.tags, Reason.STOPPED))
        await self._flush()
        await self._uplink.send_rest(session)
        will = self._will()
        session.publish(will.topic, will.payload)

    # ---- frames

    def _open(self) -> None:
        """Begin this process's epoch: an OPEN item that says since when nothing was acquired, and the dictionary."""
        self._outbox.add_epoch(self._sealer.epoch, self._sealer.key)
        opening = self._sealer.opening(reason="start", parent=None, idle_since_ms=self._outbox.closed_ms())
        self._append([opening, framing.dictionary_draft(self._words)])

    async def _tick(self) -> None:
        period_s = self._settings.frame.seconds
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + period_s, loop.time())
            await asyncio.sleep(due - loop.time())
            # A frame that is being written when the agent is stopped must be known to be written, or it is written twice.
            await asyncio.shield(asyncio.create_task(self._flush(), name="frame"))

    async def _flush(self) -> None:
        """Everything in the basket through the pipeline and onto disk."""
        async with self._flushing:
            if self._forks and await asyncio.to_thread(self._continue_after_forks):
                self._uplink.restart()
            rows, self._basket[:] = samples.concat(self._basket), []
            kept = self._pipeline(rows) if len(rows) else rows
            if len(kept):
                self._waiting.append(self._fitting(kept))
            nameplates = dict(self._nameplates)
            words = self._new_words(nameplates)
            drafts = [] if words is self._words else [framing.dictionary_draft(words)]
            nonces = self._challenges.nonces()
            asked = self._windows.due(self._ring)
            for request in asked:
                drafts += await asyncio.to_thread(windows.answer, request, self._ring, words)
            waiting = samples.concat(self._waiting)
            if not len(waiting) and not nonces and not drafts:
                return
            drafts += framing.frame_drafts(waiting, words, notes=self._notes(), nonces=nonces)
            if await self._stored(drafts):
                self._waiting = []
                self._words, self._nameplates_told = words, nameplates
                self._clock_step_ms = 0
                self._challenges.answered(nonces)
                self._windows.answered(asked)
                self._uplink.wake()

    def _new_words(self, nameplates: dict[str, Mapping[str, str]]) -> Dictionary:
        """The dictionary with what devices said of themselves: the one on disk where that changes nothing."""
        if nameplates == self._nameplates_told:
            return self._words
        words = to_dictionary(self._settings, nameplates)
        if words.hash != self._words.hash:
            try:
                framing.dictionary_draft(words)
                return words
            except DictionaryTooLarge as error:
                _log.error("nameplates are left out", reason=str(error))
        self._nameplates_told = nameplates
        return self._words

    def _fitting(self, rows: Samples) -> Samples:
        fitted, cut = framing.fitting(rows, self._words)
        for number in cut:
            if number not in self._too_large:
                device, tag = self._words.tags[number]
                _log.error("a value fits into no frame; further ones are only counted", device=device.uid, tag=tag.id)
            self._too_large[number] = self._too_large.get(number, 0) + 1
        return fitted

    def _notes(self) -> dict[str, Any]:
        counters = self._pipeline.counters
        notes: dict[str, Any] = {
            "raw_in": counters.raw_in,
            "kept": counters.kept,
            "dropped": dict(counters.dropped),
            "flagged": dict(counters.flagged),
        }
        step = self._steps.step_ms()
        if step:
            _log.warning("the clock stepped", by_ms=step)
            self._clock_step_ms += step
        if self._clock_step_ms:
            notes["clock_step_ms"] = self._clock_step_ms
        if self._lost_rows:
            notes["lost_rows"] = self._lost_rows
        if self._too_large:
            notes["too_large"] = sum(self._too_large.values())
        return notes

    async def _stored(self, drafts: list[Draft]) -> bool:
        try:
            await asyncio.to_thread(self._append, drafts)
        except OutboxError as error:
            self._say_disk_failed(error)
            self._give_up_beyond_limit()
            return False
        if self._disk_failed:
            _log.info("outbox can be written again")
        self._disk_failed = False
        return True

    def _say_disk_failed(self, error: OutboxError) -> None:
        if not self._disk_failed:
            _log.error("outbox cannot be written, values wait in memory", reason=str(error))
        self._disk_failed = True

    def _append(self, drafts: list[Draft]) -> None:
        lost = self._outbox.append(
            drafts,
            seal=self._sealer.seal,
            epoch=self._sealer.epoch,
            now_ms=clock.now_ms(),
            loss=sealing.loss_draft,
        )
        if lost:
            _log.error("outbox is full, oldest items given up", ranges=[(loss.low, loss.high) for loss in lost])

    def _give_up_beyond_limit(self) -> None:
        rows = sum(len(part) for part in self._waiting)
        while rows > _MAX_WAITING_ROWS and len(self._waiting) > 1:
            rows -= len(self._waiting[0])
            self._lost_rows += len(self._waiting.pop(0))

    # ---- messages

    def _nameplate(self, uid: str, nameplate: Mapping[str, str]) -> None:
        self._nameplates[uid] = dict(nameplate)

    def _will(self) -> LastWill:
        topic = self._address.topic(Channel.WILL)
        will = Will(
            enterprise=self._address.enterprise,
            edge=self._address.edge,
            boot=machine_clock.boot_id(),
            connected_ms=clock.now_ms(),
        )
        return LastWill(topic, will.sign(self._identity.signer, topic))

    async def _be_seen(self, session: Session) -> None:
        while True:
            await asyncio.sleep(BIRTH_EVERY_MS / 1000)
            self._birth(session)

    def _connected(self, session: Session) -> None:
        self._birth(session)
        self._uplink.restart()

    def _birth(self, session: Session) -> None:
        topic = self._address.topic(Channel.BIRTH)
        birth = Birth(
            enterprise=self._address.enterprise,
            edge=self._address.edge,
            boot=machine_clock.boot_id(),
            wall_ms=clock.now_ms(),
            mono_ms=clock.mono_ms(),
            synchronised=machine_clock.synchronised(),
            version=version("starproof"),
            stream=self._outbox.position().stream,
            dictionary=self._words.hash,
            simulated=any(device.simulated for device in self._words.devices),
        )
        session.publish(topic, birth.sign(self._identity.signer, topic))

    def _received(self, message: Incoming) -> None:
        if message.topic == self._address.topic(Channel.CHALLENGE):
            self._challenged(message)
            return
        if message.topic == self._address.topic(Channel.WINDOW):
            self._asked(message)
            return
        with contextlib.suppress(asyncio.QueueFull):  # receipts repeat: a lost one costs nothing
            self._receipts.put_nowait(message)

    async def _take_receipts(self) -> None:
        while True:
            await self._uplink.receipt(await self._receipts.get())

    def _challenged(self, message: Incoming) -> None:
        try:
            challenge = self._challenges.take(message)
        except MessageError as error:
            _log.warning("challenge refused", reason=str(error), refused=self._challenges.refused)
            return
        topic = self._address.topic(Channel.ECHO)
        position = self._outbox.position()
        echo = Echo(
            nonce=challenge.nonce,
            edge=self._address.edge,
            boot=machine_clock.boot_id(),
            wall_ms=clock.now_ms(),
            mono_ms=clock.mono_ms(),
            synchronised=machine_clock.synchronised(),
            stream=position.stream,
            sequence=position.sequence,
        )
        self._session.publish(topic, echo.sign(self._identity.signer, topic))
        _log.info("challenge answered", nonce=challenge.nonce.hex())
        self._answering = asyncio.create_task(self._flush(), name="answer")  # however long the frame period is

    def _asked(self, message: Incoming) -> None:
        try:
            if self._windows.take(message):
                _log.info("a window was asked for")
        except MessageError as error:
            _log.warning("request for a window refused", reason=str(error), refused=self._windows.refused)

    # ---- forks

    def _forked(self, stream: bytes, sequence: int) -> None:
        self._forks[stream] = min(sequence, self._forks.get(stream, sequence))

    def _continue_after_forks(self) -> bool:
        """Seal again what ingest cannot take where it stands; whether anything was. What cannot be written now is tried at
        the next frame."""
        moved = False
        for stream, since in list(self._forks.items()):
            try:
                position = sealing.continue_in_new_stream(self._outbox, self._sealer, stream=stream, since=since)
            except OutboxError as error:
                self._say_disk_failed(error)
                break
            if self._forks.get(stream) == since:  # a notice of an earlier place may have come meanwhile
                del self._forks[stream]
            if position is None:
                continue  # ingest's words about a stream that was left already
            _log.error(
                "this edge's stream forked: was it restored from a copy? values go on in another stream",
                old=stream.hex(),
                at=since,
                now=position.stream.hex(),
            )
            moved = True
        return moved
