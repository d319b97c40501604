"""The agent against a full disk, a forked stream, odd devices and a second agent."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from edge_agent import framing
from edge_agent.agent import Agent
from edge_agent.framing import DictionaryTooLarge
from edge_agent.state_lock import AlreadyRunning, StateLock
from telemetry import dictionary, frame, keys, samples, seal
from telemetry.items import Opening
from telemetry.samples import Kind, Reason
from telemetry.seal import ItemKind
from tests.edge_agent import agent_kit
from tests.edge_agent.agent_kit import Cloud, Enrolled, full_disk, task, until


@pytest.fixture
def enrolled(tmp_path: Path) -> Enrolled:
    return Enrolled(tmp_path)


def plain(agent: Agent, kind: ItemKind) -> list[bytes]:
    """What the items of a kind in the outbox say."""
    items = [seal.peek(item.sealed) for item in agent._outbox.pending(limit=1000) if item.kind is kind]
    return [seal.unseal(item, epoch_key=agent._sealer.key) for item in items]


def frames(agent: Agent) -> list[frame.Frame]:
    words = {dictionary.digest(data): dictionary.decode(data) for data in plain(agent, ItemKind.DICTIONARY)}
    out: list[frame.Frame] = []
    for item in agent._outbox.pending(limit=1000):
        if item.kind is ItemKind.DATA:
            header = seal.peek(item.sealed)
            out.append(frame.decode(seal.unseal(header, epoch_key=agent._sealer.key), words[header.header.dictionary]))
    return out


def row(value: float, at_ms: int) -> samples.Samples:
    return samples.from_rows([(0, at_ms, value, 0, Kind.FLOAT)])


async def test_what_could_not_be_stored_is_stored_when_there_is_room_again(enrolled: Enrolled) -> None:
    agent = Agent(enrolled.settings())
    agent._open()
    old = agent._words.hash
    agent._nameplate("motor-1", {"serial": "S-77"})
    agent._basket.append(row(1.0, 1))
    agent._steps._offset -= 5000  # as if the clock had stepped
    with full_disk(enrolled.outbox):
        for _ in range(3):
            await agent._flush()
        assert agent._words.hash == old and frames(agent) == []
    agent._basket.append(row(2.0, 2))
    await agent._flush()
    agent._basket.append(row(3.0, 3))
    await agent._flush()
    words = [dictionary.decode(data) for data in plain(agent, ItemKind.DICTIONARY)]
    assert [one.devices[0].nameplate for one in words] == [{}, {"serial": "S-77"}]
    assert agent._words.hash == words[1].hash
    first, second = frames(agent)
    assert first.samples.numeric.tolist() == [1.0, 2.0] and second.samples.numeric.tolist() == [3.0]
    assert abs(first.notes["clock_step_ms"] - 5000) < 500 and "clock_step_ms" not in second.notes


async def test_a_fork_is_continued_when_there_is_room_again(enrolled: Enrolled) -> None:
    agent = Agent(enrolled.settings())
    agent._open()
    old = agent._outbox.position().stream
    agent._basket.append(row(1.0, 1))
    await agent._flush()
    agent._forked(old, 2)
    agent._forked(old, 1)
    with full_disk(enrolled.outbox):
        for value in (2.0, 3.0):
            agent._basket.append(row(value, int(value)))
            await agent._flush()
        assert agent._outbox.position().stream == old and agent._forks == {old: 1}
    await agent._flush()
    assert agent._outbox.position().stream != old and agent._forks == {}
    assert [len(one.samples) for one in frames(agent)] == [1, 2]
    assert [item.sequence for item in agent._outbox.pending() if item.stream == old] == [0]


async def test_a_value_too_large_for_any_item_does_not_end_the_agent(enrolled: Enrolled) -> None:
    point = {"tag": "speed", "node": "ns=2;s=W", "kind": "array"}
    connection = {"protocol": "opcua", "endpoint": "opc.tcp://127.0.0.1:9"}
    motor = {"uid": "motor-1", "type": "large_motor", "connection": connection, "points": [point]}
    agent = Agent(enrolled.settings(devices=[motor]))
    agent._open()
    now = framing.clock.now_ms()
    wave = np.random.default_rng(1).standard_normal(140_000)
    agent._basket.append(samples.from_rows([(0, now, wave, 0, Kind.ARRAY), (0, now + 1, wave[:9], 0, Kind.ARRAY)]))
    await agent._flush()
    (one,) = frames(agent)
    assert [int(code) & 0xFF for code in one.samples.quality] == [Reason.TOO_LARGE, 0]
    assert one.notes["too_large"] == 1


def test_a_dictionary_too_large_is_said_at_the_start(enrolled: Enrolled) -> None:
    motor = enrolled.settings().devices[0].model_dump(exclude_unset=True)
    settings = enrolled.settings(devices=[{**motor, "nameplate": {"text": "x" * (1 << 20)}}])
    with pytest.raises(DictionaryTooLarge):
        Agent(settings)
    Agent(enrolled.settings())  # and the state folder is free


def test_a_second_agent_on_the_same_state_is_refused(enrolled: Enrolled) -> None:
    lock = StateLock(enrolled.folder / "state").take()
    with pytest.raises(AlreadyRunning):
        Agent(enrolled.settings())
    config = enrolled.folder / "edge.yaml"
    config.write_text(yaml.safe_dump(enrolled.settings().model_dump(mode="json", exclude_unset=True)))
    command = [sys.executable, "-W", "ignore", "-m", "starproof", "edge", "run", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2 and "another agent runs on this state folder" in ended.stderr
    assert "Traceback" not in ended.stderr
    lock.release()
    StateLock(enrolled.folder / "state").take().release()


async def test_a_restored_agent_gives_up_nothing_of_what_it_acquires(enrolled: Enrolled) -> None:
    """Two processes of one edge from one copy; the second finds out from ingest, after it has acquired for a while."""
    first = Agent(enrolled.settings())
    first._open()
    first._outbox.close()
    first._lock.release()
    copied = {path.name: path.read_bytes() for path in (enrolled.folder / "state").iterdir()}
    original = Agent(enrolled.settings())
    original._open()
    for n in range(30):
        original._basket.append(row(float(n), n + 1))
        await original._flush()
    committed = [seal.peek(item.sealed) for item in original._outbox.pending()]
    original._outbox.close()
    original._lock.release()
    for path in (enrolled.folder / "state").iterdir():
        path.unlink()
    for name, data in copied.items():
        (enrolled.folder / "state" / name).write_bytes(data)
    async with (
        agent_kit.broker(enrolled.folder) as port,
        Cloud(port, keys.verifying_key(enrolled.signer.public), enrolled.receipt_key) as cloud,
    ):
        for item in committed:
            cloud.take(item)
        restored = Agent(enrolled.settings(port=port))
        async with task(restored.run()):
            await until(lambda: len(cloud.progress) == 2, seconds=20)
            new = next(stream for stream in cloud.progress if stream != committed[0].header.stream)
            await until(lambda: restored._outbox.bytes_held == 0, seconds=20)
        restored_items = {place: item for place, item in cloud.committed.items() if place[0] == new}
    for item in committed:
        assert cloud.committed[item.header.stream, item.header.sequence].hash == item.hash
    opening = Opening.decode(seal.unseal_open(restored_items[new, 0], private=enrolled.exchange))
    assert opening.parent == (committed[0].header.stream, 2) and opening.reason == "fork"
    assert 0 < opening.idle_since_ms <= opening.wall_ms
    kinds = [restored_items[new, n].header.kind for n in range(3)]
    assert kinds == [ItemKind.OPEN, ItemKind.DICTIONARY, ItemKind.DATA]
    assert restored_items[new, 0].header.epoch == restored._sealer.epoch
