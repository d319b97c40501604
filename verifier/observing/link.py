"""Challenging an edge: a fresh nonce goes to it over MQTT and must come back in the signed header of its next frame.

The verifier sees the frame itself on the wire, as raw bytes, and asks the cloud for the ledger's proof of exactly that
frame. Nothing is judged here.
"""

import asyncio
import contextlib
import os
from typing import Any

import structlog

from telemetry.messages import Challenge
from telemetry.mqtt import BrokerRefused, BrokerSettings, Incoming, Session
from telemetry.seal import NONCE_BYTES, SealError, peek
from telemetry.topics import Address, Channel
from verifier.evidence import from_b64, to_b64
from verifier.judging.proofs import check_frame, claims_nonce
from verifier.observing.cloud import Cloud
from verifier.plan import Plan
from verifier.readers.base import Clock

_log = structlog.get_logger(__name__)

CONNECT_S = 6
PROOF_EVERY_S = 0.4
CLOSING_S = 3.0
MAX_QUEUED = 256
MAX_FRAME_BYTES = 2 << 20
MAX_HEARD = 10_000


class Ears:
    """A connection to the broker that hears every frame and echo of some edges."""

    def __init__(self, broker: BrokerSettings, edges: tuple[Address, ...], clock: Clock) -> None:
        self._clock = clock
        topics = [edge.topic(channel) for edge in edges for channel in (Channel.UP, Channel.ECHO)]
        self.heard: dict[str, asyncio.Queue[tuple[int, bytes]]] = {topic: asyncio.Queue(MAX_QUEUED) for topic in topics}
        self.times: dict[str, list[int]] = {topic: [] for topic in topics}
        self.session = Session(
            broker,
            client_id=f"inspector-{os.urandom(6).hex()}",
            subscriptions=tuple((topic, 1) for topic in topics),
            on_message=self._hear,
        )

    def _hear(self, message: Incoming) -> None:
        queue = self.heard.get(message.topic)
        if queue is None or message.retained or len(message.payload) > MAX_FRAME_BYTES:
            return
        at, times = self._clock(), self.times[message.topic]
        if len(times) < MAX_HEARD:
            times.append(at)
        if queue.full():  # nobody is listening for an answer: the newest count
            queue.get_nowait()
        queue.put_nowait((at, message.payload))

    async def connected(self) -> bool:
        try:
            await asyncio.wait_for(self.session.connected.wait(), CONNECT_S)
        except TimeoutError:
            return False
        return True


class Challenger:
    """Challenges some edges, goes on listening to their frames, and challenges once more when the watch is over: so that a
    clock that stepped is noticed, and an edge that sends a frame a minute has sent what it took during the watch."""

    def __init__(self, plan: Plan, edges: tuple[str, ...], *, cloud: Cloud, clock: Clock) -> None:
        self._plan, self._cloud, self._clock = plan, cloud, clock
        self._edges = {edge: Address(plan.settings.enterprise, edge) for edge in edges}
        self._ears = Ears(_resolved(plan), tuple(self._edges.values()), clock)
        self._stack = contextlib.AsyncExitStack()
        self.records: dict[str, dict[str, Any]] = {}
        self._connected = False

    async def open(self) -> None:
        """Connect to the broker. One that cannot be reached is recorded as such."""
        try:
            await self._stack.enter_async_context(self._ears.session)
        except BrokerRefused as error:
            _log.warning("broker refused", reason=str(error))
            self.records = {edge: {"reason": "broker_refused"} for edge in self._edges}
            return
        self._connected = await self._ears.connected()
        if not self._connected:
            self.records = {edge: {"reason": "broker_unreachable"} for edge in self._edges}

    async def challenge(self, *, answer_s: float, commit_s: float) -> None:
        """A record by edge name: see `_challenge`, with the ledger's proof of the answering frame."""
        if not self._connected:
            return
        edges = self._edges.values()
        found = await asyncio.gather(*(_challenge(self._plan, e, self._ears, self._clock, answer_s) for e in edges))
        self.records = dict(zip(self._edges, found, strict=True))
        await asyncio.gather(*(_prove(r, edge, self._cloud, self._clock, commit_s) for edge, r in self.records.items()))

    async def finish(self) -> None:
        """The closing challenge, and when the frames of the watch were heard."""
        if not self._connected or not self.records:
            return
        heard = {edge: list(self._ears.times[at.topic(Channel.UP)]) for edge, at in self._edges.items()}
        edges = self._edges.values()
        found = await asyncio.gather(*(_challenge(self._plan, e, self._ears, self._clock, CLOSING_S) for e in edges))
        for edge, closing in zip(self._edges, found, strict=True):
            kept = {name: closing[name] for name in ("nonce", "sent_ms", "echo")}
            self.records[edge] |= {"heard": heard[edge], "closing": kept}

    async def close(self) -> None:
        await self._stack.aclose()


def _resolved(plan: Plan) -> BrokerSettings:
    """The broker with its files relative to the plan's folder."""
    broker = plan.settings.broker
    updates: dict[str, Any] = {}
    if broker.password_file is not None:
        updates["password_file"] = str(plan.folder / broker.password_file)
    if broker.tls is not None:
        files = {k: None if v is None else str(plan.folder / v) for k, v in broker.tls.model_dump().items()}
        updates["tls"] = broker.tls.model_copy(update=files)
    return broker.model_copy(update=updates)


async def _challenge(plan: Plan, edge: Address, ears: Ears, clock: Clock, answer_s: float) -> dict[str, Any]:
    """{nonce, sent_ms, echo: [at, raw] | None, frame: [at, raw] | None, frames, reason}: the first frame that carries the
    nonce and is signed as pinned, else the first that merely carries it."""
    nonce = os.urandom(NONCE_BYTES)
    public = plan.edge_keys[edge.edge]
    sent_ms = clock()
    topic = edge.topic(Channel.CHALLENGE)
    challenge = Challenge(nonce=nonce, sent_ms=sent_ms, open_s=answer_s, certificate=plan.certificate)
    message = challenge.sign(plan.inspector, topic)
    record: dict[str, Any] = {"nonce": to_b64(nonce), "sent_ms": sent_ms, "echo": None, "frame": None, "frames": 0}
    if not ears.session.publish(topic, message):
        return {**record, "reason": "broker_unreachable"}
    echo, frame = asyncio.Event(), asyncio.Event()

    async def hear_echoes() -> None:
        while True:
            at, raw = await ears.heard[edge.topic(Channel.ECHO)].get()
            if record["echo"] is None:
                record["echo"] = [at, to_b64(raw)]
                echo.set()

    async def hear_frames() -> None:
        while True:
            at, raw = await ears.heard[edge.topic(Channel.UP)].get()
            record["frames"] += 1
            if not claims_nonce(raw, nonce):
                continue
            good = not check_frame(raw, edge=edge, public=public, nonce=nonce).fault
            if record["frame"] is None or good:
                record["frame"] = [at, to_b64(raw)]
            if good:
                frame.set()

    tasks = [
        asyncio.create_task(hear_echoes(), name=f"echoes of {edge.edge}"),
        asyncio.create_task(hear_frames(), name=f"frames of {edge.edge}"),
    ]
    try:
        async with asyncio.timeout(answer_s + 0.5):
            await frame.wait()
            await echo.wait()
    except TimeoutError:
        pass
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {**record, "reason": ""}


async def _prove(record: dict[str, Any], edge: str, cloud: Cloud, clock: Clock, commit_s: float) -> None:
    """Ask for the ledger's proof of the answering frame until the cloud has one."""
    if not record.get("frame"):
        return
    try:
        header = peek(from_b64(record["frame"][1])).header
    except SealError:
        return
    until = clock() + commit_s * 1000
    while True:
        answer = await cloud.get("/ledger/proof", edge=edge, stream=header.stream.hex(), sequence=header.sequence)
        record["proof"] = answer
        if answer["status"] == 200 or clock() > until:
            return
        await asyncio.sleep(PROOF_EVERY_S)
