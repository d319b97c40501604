"""Which requests for raw rows are taken, when they are answered, and that the answer is sealed like any data."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent import framing, sealing
from edge_agent.agent import Agent
from edge_agent.outbox import Draft
from edge_agent.ring import Ring
from edge_agent.windows import AT_ONCE, LATEST_MS, MAX_OPEN, PATIENCE_MS, SETTLE_MS, Windows, answer
from telemetry import clock, keys, samples, seal, windows
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.messages import MessageError
from telemetry.mqtt import Incoming
from telemetry.samples import Kind
from telemetry.seal import Item, ItemKind
from telemetry.topics import Channel
from telemetry.windows import Window, WindowRequest
from tests.edge_agent import agent_kit
from tests.edge_agent.agent_kit import ADDRESS, Enrolled, signing_key, task, until

TOPIC = "starproof/v1/E/01/edge/window"
COMMAND = signing_key()
WORDS = Dictionary(
    "E", "edge", (DeviceSpec("a", "boiler", tags=(TagSpec("p", resolution="0.01"), TagSpec("w", Kind.ARRAY))),)
)


def taker() -> Windows:
    return Windows(keys.verifying_key(COMMAND.public), TOPIC, WORDS)


def request(**changes: Any) -> WindowRequest:
    now = clock.now_ms()
    fields = {"id": os.urandom(16), "device": "a", "from_ms": now - 60_000, "to_ms": now, "sent_ms": now}
    return WindowRequest(**{**fields, **changes})


def message(of: WindowRequest, *, retained: bool = False, signer: keys.SigningKey = COMMAND) -> Incoming:
    return Incoming(TOPIC, of.sign(signer, TOPIC), retained=retained)


def filled(*rows: tuple[int, float]) -> Ring:
    ring = Ring(WORDS)
    for at, value in rows:
        ring.add(samples.from_rows([(0, at, value, 0, Kind.FLOAT)]))
    return ring


def test_a_request_is_taken_once_and_answered_once() -> None:
    taken, asked = taker(), request()
    assert taken.take(message(asked)) and not taken.take(message(asked))
    ring = filled((asked.to_ms + 2000, 1.0))
    assert taken.due(ring) == [asked]
    taken.answered([asked])
    assert taken.due(ring) == [] and not taken.take(message(asked))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: message(request(), retained=True), "retained"),
        (lambda: message(request(), signer=signing_key()), "not a window"),
        (lambda: message(request(sent_ms=clock.now_ms() - 16 * 60_000)), "minutes ago"),
        (lambda: message(request(from_ms=clock.now_ms() - 21 * 60_000)), "20 minutes"),
        (lambda: message(request(to_ms=clock.now_ms() + 6 * 60_000)), "minutes"),
        (lambda: message(request(device="b")), "no device b"),
        (lambda: Incoming(TOPIC, b"x", retained=False), "not a window"),
    ],
)
def test_what_is_refused(made: Callable[[], Incoming], why: str) -> None:
    incoming = made()
    taken = taker()
    with pytest.raises(MessageError, match=why):
        taken.take(incoming)
    assert taken.refused == 1 and taken.due(filled()) == []


def test_it_is_answered_when_the_machines_own_clock_has_passed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, asked = taker(), request()
    taken.take(message(asked))
    settle = SETTLE_MS + 1000  # a period of its slowest tag
    assert taken.due(filled((asked.to_ms - 3000, 1.0))) == []
    assert taken.due(filled((asked.to_ms + settle - 1, 1.0))) == []
    assert taken.due(filled((asked.to_ms + settle, 1.0))) == [asked]
    assert taken.due(filled()) == []
    later = asked.to_ms + LATEST_MS
    monkeypatch.setattr(clock, "now_ms", lambda: later)
    assert taken.due(filled()) == [asked]  # it is silent: then with what there is


def test_a_machine_whose_clock_is_behind_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, asked = taker(), request()
    taken.take(message(asked))
    wall, mono = asked.to_ms + LATEST_MS, clock.mono_ms()
    monkeypatch.setattr(clock, "now_ms", lambda: wall)
    monkeypatch.setattr(clock, "mono_ms", lambda: mono)
    ring = filled((asked.to_ms - 60_000, 1.0))
    assert taken.due(ring) == []
    wall = asked.to_ms + PATIENCE_MS
    assert taken.due(ring) == [asked]  # but not for ever
    wall = asked.to_ms + LATEST_MS
    ring.window("a", 0, 0)
    mono += LATEST_MS
    assert taken.due(ring) == [asked]  # nor where nothing comes any more


def test_a_flood_of_alarms_does_not_hold_up_data() -> None:
    taken = taker()
    asked = [request() for _ in range(10)]
    for one in asked:
        taken.take(message(one))
    ring = filled((max(one.to_ms for one in asked) + 2000, 1.0))
    assert taken.due(ring) == asked[:AT_ONCE]
    taken.answered(asked[:AT_ONCE])
    assert taken.due(ring) == asked[AT_ONCE : 2 * AT_ONCE]


def test_one_too_many_is_refused() -> None:
    taken = taker()
    for _ in range(MAX_OPEN):
        taken.take(message(request()))
    with pytest.raises(MessageError, match="too many"):
        taken.take(message(request()))


def opened(drafts: list[Any]) -> list[Window]:
    return [windows.decode(draft.plaintext, WORDS) for draft in drafts]


def test_the_answer_is_what_was_acquired_in_the_window_and_says_what_it_has_not() -> None:
    asked = request()
    ring = filled((asked.from_ms - 1, 9.0), (asked.from_ms, 1.0), (asked.to_ms, 2.0), (asked.to_ms + 1, 9.0))
    [window] = opened(answer(asked, ring, WORDS))
    assert window.samples.numeric.tolist() == [1.0, 2.0]
    assert not window.truncated
    assert window.ring_from_ms == ring.from_ms("a") > asked.from_ms  # this process knows nothing from before it began
    [nothing] = opened(answer(asked, filled(), WORDS))
    assert len(nothing.samples) == 0 and (nothing.part, nothing.parts) == (0, 1)


def test_rows_given_up_for_want_of_room_are_said_to_be_missing() -> None:
    now = clock.now_ms()
    asked, ring = request(from_ms=now, to_ms=now + 60_000), Ring(WORDS, max_bytes=100_000)
    draw = np.random.default_rng(1)
    for n in range(60):
        ring.add(samples.from_rows([(1, asked.from_ms + n, draw.normal(size=1000), 0, Kind.ARRAY)]))
        ring.window("a", 0, 0)  # each a chunk of its own
    [window] = opened(answer(asked, ring, WORDS))
    assert window.truncated and window.ring_from_ms == int(window.samples.time[0])
    [later] = opened(answer(request(from_ms=now + 59, to_ms=now + 99), ring, WORDS))
    assert not later.truncated and len(later.samples) == 1


def test_a_window_larger_than_an_item_comes_in_parts() -> None:
    asked, ring = request(), Ring(WORDS)
    draw = np.random.default_rng(1)
    waves = [draw.normal(size=30_000) for _ in range(12)]
    for n, wave in enumerate(waves):
        ring.add(samples.from_rows([(1, asked.from_ms + n, wave, 0, Kind.ARRAY)]))
    drafts = answer(asked, ring, WORDS)
    assert len(drafts) > 1 and all(len(draft.plaintext) <= framing.MAX_PLAIN + 200 for draft in drafts)
    parts = opened(drafts)
    assert [(one.part, one.parts) for one in parts] == [(n, len(parts)) for n in range(len(parts))]
    back = [one.samples.blobs[int(slot)] for one in parts for slot in one.samples.value]
    assert all(np.array_equal(a, b) for a, b in zip(back, waves, strict=True))


async def test_the_agent_seals_its_answer_into_the_outbox(tmp_path: Path) -> None:
    enrolled = Enrolled(tmp_path)
    agent = Agent(enrolled.settings())
    agent._open()
    now = clock.now_ms()
    uid = agent._words.devices[0].uid
    agent._basket.append(samples.from_rows([(0, now, 1.5, 0, agent._words.tags[0][1].kind)]))
    await agent._flush()
    asked = WindowRequest(id=b"w" * 16, device=uid, from_ms=now - 9000, to_ms=now - 8000, sent_ms=now)
    wide = WindowRequest(id=b"v" * 16, device=uid, from_ms=now - 1000, to_ms=now, sent_ms=now)
    for one in (asked, wide):
        agent._windows._open[one.id] = one
    await agent._flush()
    sealed = [item for item in agent._outbox.pending(limit=100) if item.kind is ItemKind.WINDOW]
    [item] = [seal.peek(one.sealed) for one in sealed]  # the other's time has not passed yet
    window = windows.decode(seal.unseal(item, epoch_key=agent._sealer.key), agent._words)
    assert window.id == asked.id and len(window.samples) == 0
    assert list(agent._windows._open) == [wide.id]
    agent._outbox.close()


def windows_in(items: Iterable[Item], agent: Agent) -> list[Window]:
    kept = [one for one in items if one.header.kind is ItemKind.WINDOW and one.header.epoch == agent._sealer.epoch]
    return [windows.decode(seal.unseal(one, epoch_key=agent._sealer.key), agent._words) for one in kept]


async def test_asked_over_the_broker_it_is_answered_once_with_all_that_was_acquired(tmp_path: Path) -> None:
    enrolled = Enrolled(tmp_path)
    edge_key = keys.verifying_key(enrolled.signer.public)
    topic = ADDRESS.topic(Channel.WINDOW)
    async with (
        agent_kit.broker(tmp_path) as port,
        agent_kit.Cloud(port, edge_key, enrolled.receipt_key) as cloud,
    ):
        # A deadband far beyond all changes: history will have the first row only.
        settings = enrolled.settings(port=port, pipeline={"deadband_percent": 20, "max_interval_s": 600})
        agent = Agent(settings)
        async with task(agent.run()):
            await until(lambda: len(cloud.committed) >= 3, seconds=20)
            now = clock.now_ms()
            asked = WindowRequest(id=b"w" * 16, device="motor-1", from_ms=now, to_ms=now + 100, sent_ms=now)
            fed = [(now + 10 * n, 1480.0 + n / 10) for n in range(12)] + [(now + 2000, 1490.0)]
            for at, value in fed:
                agent._basket.append(samples.from_rows([(0, at, value, 0, Kind.FLOAT)]))
            await until(lambda: agent._ring.newest_ms("motor-1") >= now + 2000, seconds=20)
            for _ in range(3):
                cloud.session.publish(topic, asked.sign(enrolled.command_key, topic))
            await until(lambda: len(windows_in(cloud.came, agent)) > 0, seconds=20)
            await until(lambda: agent._outbox.bytes_held == 0, seconds=20)
            cloud.session.publish(topic, asked.sign(signing_key(), topic))
            await until(lambda: agent._windows.refused == 1, seconds=20)
        [window] = windows_in(cloud.committed.values(), agent)
    rows = list(zip(window.samples.time.tolist(), window.samples.numeric.tolist(), strict=True))
    assert rows == [one for one in fed if one[0] <= now + 100]
    assert window.id == asked.id and window.ring_from_ms <= now and not window.truncated


async def test_a_queued_answer_survives_the_process_and_the_next_one_says_what_it_does_not_know(tmp_path: Path) -> None:
    enrolled = Enrolled(tmp_path)
    first = Agent(enrolled.settings())
    first._open()
    now = clock.now_ms()
    asked = request(device="motor-1", from_ms=now, to_ms=now + 100)
    first._basket += [samples.from_rows([(0, now + n, float(n), 0, Kind.FLOAT)]) for n in (0, 50, 2000)]
    first._windows._open[asked.id] = asked
    await first._flush()
    first._outbox.close()  # as by a kill: nothing else is said
    first._lock.release()
    topic = ADDRESS.topic(Channel.WINDOW)
    async with (
        agent_kit.broker(tmp_path) as port,
        agent_kit.Cloud(port, keys.verifying_key(enrolled.signer.public), enrolled.receipt_key) as cloud,
    ):
        second = Agent(enrolled.settings(port=port))
        async with task(second.run()):
            await until(lambda: len(windows_in(cloud.committed.values(), first)) == 1, seconds=20)
            second._basket.append(samples.from_rows([(0, now + 2500, 3.0, 0, Kind.FLOAT)]))
            cloud.session.publish(topic, asked.sign(enrolled.command_key, topic))
            await until(lambda: len(windows_in(cloud.committed.values(), second)) == 1, seconds=20)
    [before] = windows_in(cloud.committed.values(), first)
    assert before.samples.numeric.tolist() == [0.0, 50.0] and before.ring_from_ms <= asked.from_ms
    [after] = windows_in(cloud.committed.values(), second)
    assert len(after.samples) == 0 and after.ring_from_ms > asked.from_ms


async def test_a_window_is_given_up_with_the_oldest_where_the_outbox_is_full_and_takes_no_time_with_it(
    tmp_path: Path,
) -> None:
    enrolled = Enrolled(tmp_path)
    agent = Agent(enrolled.settings(outbox={"max_bytes": 1 << 20}))
    agent._open()
    noise = os.urandom(700_000)
    lost: list[Any] = []
    for n in range(2):
        drafts = [Draft(ItemKind.WINDOW, noise, agent._words.hash, (1000 * n, 1000 * n + 900))]
        lost += agent._outbox.append(
            drafts, seal=agent._sealer.seal, epoch=agent._sealer.epoch, now_ms=1, loss=sealing.loss_draft
        )
    assert [(one.low, one.high, one.span) for one in lost] == [(2, 2, (900, 900))]
    agent._outbox.close()
