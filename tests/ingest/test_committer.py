"""What is committed, what is a duplicate, what is a fork; nothing twice after a crash; any order of arrival."""

import random
import shutil
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from edge_agent import sealing
from ingest import index, tables
from ingest.index import stream_state
from telemetry.keys import verifying_key
from telemetry.messages import Receipt
from telemetry.seal import ItemKind, item_hash
from telemetry.streams import Progress
from telemetry.topics import Channel
from tests.ingest.edge_kit import WALL, Cloud, Edge


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path / "cloud")


@pytest.fixture
def edge(tmp_path: Path, cloud: Cloud) -> Edge:
    (tmp_path / "edge").mkdir()
    made = Edge(tmp_path / "edge", cloud)
    cloud.enrol(made)
    return made


def progress(cloud: Cloud, edge: Edge) -> Progress:
    with cloud.engine.connect() as db:
        state = stream_state(db, edge.outbox.position().stream)
    assert state is not None
    return state.progress


def values(cloud: Cloud, edge: Edge) -> list[float]:
    """All values in the ledger, opened, in ledger order."""
    shard = edge.address.shard
    found: list[float] = []
    for leaf in range(cloud.shards.reader.size(shard)):
        opened = cloud.committer.committed_from(shard, leaf, 1)[0].opened
        if opened is not None and opened.frame is not None:
            found += opened.frame.samples.numeric.tolist()
    return found


def test_items_are_committed_and_receipted(cloud: Cloud, edge: Edge) -> None:
    edge.sample(1.25)
    outcome = cloud.send(*edge.messages())
    assert [one.item.header.kind for one in outcome.committed] == [ItemKind.OPEN, ItemKind.DICTIONARY, ItemKind.DATA]
    ((topic, signed),) = cloud.committer.receipts(outcome, cloud.receipt)
    receipt = Receipt.verify(signed, verifying_key(cloud.receipt.public), topic)
    assert (topic, receipt.contiguous, receipt.missing, receipt.forked) == (
        edge.address.topic(Channel.RECEIPT),
        2,
        (),
        None,
    )
    assert values(cloud, edge) == [1.25]


def test_the_same_again_is_receipted_again_and_stored_once(cloud: Cloud, edge: Edge) -> None:
    edge.sample(1.25)
    cloud.send(*edge.messages())
    again = cloud.send(*edge.messages(), *edge.messages())
    assert again.committed == [] and edge.outbox.position().stream in again.touched
    assert len(cloud.stored(edge.address)) == 3


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_arrival_ends_the_same(cloud: Cloud, edge: Edge, seed: int) -> None:
    for n in range(12):
        edge.sample(float(n), WALL + n)
    messages = edge.messages()
    random.Random(seed).shuffle(messages)
    for at in range(0, len(messages), 3):
        cloud.send(*messages[at : at + 3])
    assert progress(cloud, edge) == Progress(13)
    assert sorted(values(cloud, edge)) == [float(n) for n in range(12)]
    with cloud.engine.connect() as db:  # the dictionary was entered although it may have come before its key
        assert [bytes(row.hash) for row in db.execute(select(tables.dictionaries.c.hash))] == [edge.words.hash]


def test_after_a_crash_between_fsync_and_index_nothing_is_stored_twice(
    cloud: Cloud, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge.sample(1.0)
    cloud.send(*edge.messages())
    edge.sample(2.0)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        during.setattr(index, "record", crash)
        with pytest.raises(KeyboardInterrupt):
            cloud.send(*edge.messages())
    assert len(cloud.stored(edge.address)) == 4  # committed, but the index does not know
    cloud.restart()
    outcome = cloud.send(*edge.messages())
    assert outcome.committed == []
    assert values(cloud, edge) == [1.0, 2.0]


@pytest.mark.parametrize("fail_again", [False, True])
def test_after_a_failed_index_nothing_is_taken_before_it_has_caught_up(
    cloud: Cloud, edge: Edge, monkeypatch: pytest.MonkeyPatch, fail_again: bool
) -> None:
    edge.sample(1.0)
    cloud.send(*edge.messages())
    edge.sample(2.0)

    def fail(*_: object) -> None:
        raise OperationalError("insert", {}, Exception("disk I/O error"))

    with monkeypatch.context() as during:
        during.setattr(index, "record", fail)
        for _ in range(1 + fail_again):
            with pytest.raises(OperationalError):
                cloud.send(*edge.messages())
    edge.sample(3.0)
    cloud.send(*edge.messages())
    assert values(cloud, edge) == [1.0, 2.0, 3.0]
    assert len(cloud.stored(edge.address)) == 5


def test_receipts_name_items_by_hash(cloud: Cloud, edge: Edge) -> None:
    edge.sample(1.0)
    cloud.send(*edge.messages()[:2])
    outcome = cloud.send(*edge.messages())
    ((topic, signed),) = cloud.committer.receipts(outcome, cloud.receipt)
    receipt = Receipt.verify(signed, verifying_key(cloud.receipt.public), topic)
    hashes = [item_hash(item.sealed) for item in edge.items()]
    assert (receipt.contiguous, receipt.hash, list(receipt.taken)) == (2, hashes[2], hashes)


def test_an_edge_restored_from_a_copy_forks_and_overwrites_nothing(cloud: Cloud, edge: Edge, tmp_path: Path) -> None:
    edge.sample(1.0)
    edge.outbox.close()
    shutil.copytree(tmp_path / "edge", tmp_path / "copy")
    edge.start()
    edge.sample(2.0, WALL + 1)
    cloud.send(*edge.messages())
    before = cloud.stored(edge.address)

    restored = Edge(tmp_path / "copy", cloud)
    restored.signer = edge.signer
    restored.start()
    restored.sample(3.0, WALL + 2)
    outcome = cloud.send(*restored.messages())
    old = edge.outbox.position().stream
    assert old in outcome.forked
    assert cloud.stored(edge.address)[: len(before)] == before
    assert 3.0 not in values(cloud, edge)
    with cloud.engine.connect() as db:
        assert db.execute(select(tables.forks)).all()

    # The agent hears of the fork and goes on in a new stream that names the old one.
    sealing.continue_in_new_stream(restored.outbox, restored.sealer, stream=old, since=outcome.forked[old][0])
    after = cloud.send(*restored.messages())
    new = restored.outbox.position().stream
    assert new != old and new not in after.forked
    with cloud.engine.connect() as db:
        state = stream_state(db, new)
    assert state is not None and state.parent == old
    assert values(cloud, edge) == [1.0, 2.0, 3.0]


def test_downtime_is_a_stated_gap(cloud: Cloud, edge: Edge) -> None:
    edge.sample(1.0)
    edge.outbox.close()
    edge.start()
    cloud.send(*edge.messages())
    with cloud.engine.connect() as db:
        (gap,) = db.execute(select(tables.gaps)).all()
    assert (gap.from_ms, gap.reason) == (WALL, "agent_stopped") and gap.to_ms > WALL


def test_a_loss_record_closes_the_hole_it_names(cloud: Cloud, edge: Edge) -> None:
    from edge_agent.outbox import Loss

    for n in range(4):
        edge.sample(float(n), WALL + n)
    stream = edge.outbox.position().stream
    edge.put(sealing.loss_draft([Loss(stream, 3, 4, (WALL + 1, WALL + 2))]))
    kept = [item for item in edge.items() if item.sequence not in (3, 4)]
    cloud.send(*(edge.message(item.sealed) for item in kept))
    assert progress(cloud, edge) == Progress(6)
    with cloud.engine.connect() as db:
        (gap,) = db.execute(select(tables.gaps)).all()
    assert (gap.from_ms, gap.to_ms, gap.reason) == (WALL + 1, WALL + 2, "outbox_full")
