"""Hostile frames are refused, counted by reason, never stored, and never a crash."""

import os
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from edge_agent.outbox import Draft
from ingest import register, tables
from telemetry import frame, seal
from telemetry.mqtt import Incoming
from telemetry.seal import ItemKind
from telemetry.topics import Channel
from tests.ingest.edge_kit import WALL, Cloud, Edge


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path / "cloud")


@pytest.fixture
def edge(tmp_path: Path, cloud: Cloud) -> Edge:
    made = Edge(tmp_path, cloud)
    cloud.enrol(made)
    made.sample(1.0)
    cloud.send(*made.messages())
    return made


def refused(cloud: Cloud, edge: Edge, *messages: Incoming) -> dict[str, int]:
    """Reasons counted for these messages; checks that nothing of them was stored."""
    before = {shard: cloud.shards.reader.size(shard) for shard in range(64)}
    outcome = cloud.send(*messages)
    assert {shard: cloud.shards.reader.size(shard) for shard in range(64)} == before
    assert outcome.committed == []
    counts: dict[str, int] = {}
    for (_, reason), count in outcome.refused.items():
        counts[reason] = counts.get(reason, 0) + count
    with cloud.engine.connect() as db:
        kept = {(row.topic, row.reason): row.count for row in db.execute(select(tables.refusals))}
    assert all(kept[key] >= count for key, count in outcome.refused.items())
    return counts


def test_forged_by_a_stranger(cloud: Cloud, edge: Edge, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    stranger = Edge(tmp_path / "s", cloud)  # same name, its own key
    assert refused(cloud, edge, *stranger.messages()) == {"wrong_key": 2}


def test_unknown_and_revoked_edges(cloud: Cloud, edge: Edge, tmp_path: Path) -> None:
    unknown = Edge(tmp_path, cloud, name="edge-9")
    assert refused(cloud, edge, *unknown.messages()) == {"unknown_edge": 2}
    register.revoke(cloud.engine, edge.address)
    cloud.committer._keys._cache.clear()  # what a few seconds do
    edge.sample(2.0)
    assert refused(cloud, edge, edge.messages()[-1]) == {"revoked": 1}


def test_another_edges_topic(cloud: Cloud, edge: Edge, tmp_path: Path) -> None:
    other = Edge(tmp_path, cloud, name="edge-2")
    cloud.enrol(other)
    moved = [Incoming(edge.topic, item.sealed, retained=False) for item in other.items()]
    assert refused(cloud, edge, *moved) == {"wrong_key": 2}
    edge.sample(2.0)
    assert refused(cloud, edge, Incoming(other.topic, edge.items()[-1].sealed, retained=False)) == {"wrong_key": 1}


def test_another_edges_stream_with_ones_own_key(cloud: Cloud, edge: Edge, tmp_path: Path) -> None:
    other = Edge(tmp_path, cloud, name="edge-2")
    cloud.enrol(other)
    cloud.send(*other.messages())
    position = edge.outbox.position()
    intruding = other.sealer.seal(Draft(ItemKind.DATA, b"x", other.words.hash), position)
    assert refused(cloud, edge, other.message(intruding)) == {"foreign_stream": 1}


def test_topics_that_are_none_and_retained_messages(cloud: Cloud, edge: Edge) -> None:
    edge.sample(2.0)
    sealed = edge.items()[-1].sealed
    wrong_shard = edge.topic.replace(f"/{edge.address.shard:02d}/", f"/{(edge.address.shard + 1) % 64:02d}/")
    odd = ["", "a/b", wrong_shard, edge.address.topic(Channel.ECHO), edge.topic + "/x", "starproof/v1/E1/xx/é/up"]
    assert refused(cloud, edge, *(Incoming(topic, sealed, retained=False) for topic in odd)) == {"bad_topic": len(odd)}
    assert refused(cloud, edge, Incoming(edge.topic, sealed, retained=True)) == {"retained": 1}


def test_truncated_oversize_and_empty(cloud: Cloud, edge: Edge) -> None:
    edge.sample(2.0)
    sealed = edge.items()[-1].sealed
    cut = [edge.message(sealed[:n]) for n in (0, 1, 10, len(sealed) // 2, len(sealed) - 1)]
    assert refused(cloud, edge, *cut) == {"malformed": len(cut)}
    assert refused(cloud, edge, edge.message(sealed + bytes(seal.MAX_SEALED))) == {"oversize": 1}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bit=st.integers(0, 100_000))
def test_flipped_bits(cloud: Cloud, edge: Edge, bit: int) -> None:
    if len(edge.items()) < 4:
        edge.sample(2.0)
    sealed = bytearray(edge.items()[-1].sealed)
    bit %= len(sealed) * 8
    sealed[bit // 8] ^= 1 << (bit % 8)
    counts = refused(cloud, edge, edge.message(bytes(sealed)))
    assert sum(counts.values()) == 1


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(topic=st.text(max_size=40), payload=st.binary(max_size=200))
def test_any_message_at_all(cloud: Cloud, edge: Edge, topic: str, payload: bytes) -> None:
    assert sum(refused(cloud, edge, Incoming(topic, payload, False), edge.message(payload)).values()) == 2


def absurd(**change: object) -> bytes:
    """The body of an OPEN item with something in it that should not be."""
    body = {
        "epoch": bytes(8),
        "key": bytes(32),
        "boot": bytes(16),
        "wall_ms": WALL,
        "reason": "start",
        "parent": None,
        "idle_since_ms": 0,
        "version": "1",
    }
    return cbor2.dumps(body | change)


def sealed_by_the_edge_itself(
    edge: Edge, kind: ItemKind, plaintext: bytes, dictionary: bytes | None = None
) -> Incoming:
    words = edge.words.hash if dictionary is None else dictionary
    return edge.message(edge.sealer.seal(Draft(kind, plaintext, words), edge.outbox.position()))


@pytest.mark.parametrize(
    ("kind", "plaintext", "reason"),
    [
        (ItemKind.DATA, b"", "bad_frame"),
        (ItemKind.DATA, frame.MAGIC + zstandard.compress(bytes(1 << 28)), "bad_frame"),  # a decompression bomb
        (ItemKind.DATA, os.urandom(500), "bad_frame"),
        (ItemKind.DICTIONARY, b"\xa0", "bad_dictionary"),
        (ItemKind.LOSS, b"\x81\x01", "bad_loss"),
        (ItemKind.LOSS, cbor2.dumps([]), "bad_loss"),
        (ItemKind.LOSS, cbor2.dumps([[bytes(16), 0, 2**70, 0, 1]]), "bad_loss"),
        (ItemKind.LOSS, cbor2.dumps([[bytes(16), 5, 4, 0, 1]]), "bad_loss"),
        (ItemKind.LOSS, cbor2.dumps([[bytes(16), 0, 1, 0, 2**63]]), "bad_loss"),
        (ItemKind.LOSS, cbor2.dumps([["x" * 16, 0, 1, 0, 1]]), "bad_loss"),
        (ItemKind.LOSS, cbor2.dumps([[bytes(16), 0, 1, 0, 1]] * 5000), "bad_loss"),
        (ItemKind.OPEN, b"\xa0", "bad_open"),
        (ItemKind.OPEN, b"\x82\x01", "bad_open"),
        (ItemKind.OPEN, absurd(wall_ms=2**60), "bad_open"),
        (ItemKind.OPEN, absurd(idle_since_ms=-1), "bad_open"),
        (ItemKind.OPEN, absurd(parent=["0123456789abcdef", 1]), "bad_open"),
        (ItemKind.OPEN, absurd(parent=[bytes(16), 2**70]), "bad_open"),
        (ItemKind.OPEN, absurd(key="k" * 32), "bad_open"),
        (ItemKind.OPEN, absurd(reason="because"), "bad_open"),
        (ItemKind.OPEN, absurd(more=1), "bad_open"),
    ],
)
def test_rubbish_under_a_good_seal(cloud: Cloud, edge: Edge, kind: ItemKind, plaintext: bytes, reason: str) -> None:
    assert refused(cloud, edge, sealed_by_the_edge_itself(edge, kind, plaintext)) == {reason: 1}


def test_a_replayed_item_is_a_duplicate_and_an_old_number_again_is_a_fork(cloud: Cloud, edge: Edge) -> None:
    assert refused(cloud, edge, *edge.messages()) == {}
    items = edge.items()
    position = edge.outbox.position()
    old = type(position)(position.stream, 2, seal.item_hash(items[1].sealed))
    again = edge.sealer.seal(Draft(ItemKind.DATA, b"x", edge.words.hash), old)
    assert refused(cloud, edge, edge.message(again)) == {"fork": 1}


@pytest.mark.parametrize("sequence", [2**53, 2**63 - 1, 2**64 - 1])
def test_a_sequence_beyond_reason(cloud: Cloud, edge: Edge, sequence: int) -> None:
    position = replace(edge.outbox.position(), sequence=sequence)
    sealed = edge.sealer.seal(Draft(ItemKind.LOSS, b"x", edge.words.hash), position)
    assert refused(cloud, edge, edge.message(sealed)) == {"malformed": 1}


def test_an_epoch_that_another_edge_opens_too_stays_its_owners(cloud: Cloud, edge: Edge, tmp_path: Path) -> None:
    other = Edge(tmp_path, cloud, name="edge-2")
    cloud.enrol(other)
    other.sealer = replace(other.sealer, epoch=edge.sealer.epoch)  # in clear in every header, so anyone can know it
    other.put(other.sealer.opening(reason="start", parent=None, idle_since_ms=0))
    cloud.send(*other.messages())
    edge.sample(2.0)
    outcome = cloud.send(edge.messages()[-1])
    assert len(outcome.committed) == 1 and outcome.committed[0].opened is not None


def test_an_epoch_opened_again_with_another_key(cloud: Cloud, edge: Edge) -> None:
    again = replace(edge.sealer, key=os.urandom(32))
    sealed = again.seal(again.opening(reason="start", parent=None, idle_since_ms=0), edge.outbox.position())
    assert refused(cloud, edge, edge.message(sealed)) == {"epoch_reused": 1}


def test_what_slipped_into_the_ledger_does_not_stop_the_next_start(cloud: Cloud, edge: Edge) -> None:
    from telemetry import entry
    from telemetry.entry import Entry

    writer = cloud.shards.writer(edge.address.shard)
    bad = sealed_by_the_edge_itself(edge, ItemKind.LOSS, cbor2.dumps([[bytes(16), 0, 2**70, 0, 1]]))
    writer.append([entry.encode(Entry(WALL, bad.topic, bad.payload))])
    cloud.restart()
    edge.sample(2.0)
    assert len(cloud.send(edge.messages()[-1]).committed) == 1
