"""Reading while somebody writes, from a folder or from a store that is none."""

import threading
from pathlib import Path

import fsspec
import pytest

from ingest.ledger import LedgerCorrupt, LedgerMissing, layout
from ingest.ledger.heads import HeadLog
from ingest.ledger.reader import Reader
from ingest.ledger.writer import Writer
from telemetry import proof


def test_a_reader_sees_whole_batches_while_the_writer_works(tmp_path: Path):
    done = threading.Event()
    failures: list[str] = []

    def read() -> None:
        reader, seen, root = Reader(tmp_path), 0, proof.EMPTY_ROOT
        while not done.is_set() or seen < 900:
            size = reader.size(0)
            if size < seen:
                failures.append("shrank")
            if size == seen:
                continue
            now = reader.root(0, size)
            if not proof.verify_consistency(seen, size, root, now, reader.consistency(0, seen, size)):
                failures.append("not consistent")
            entry = reader.entry(0, size - 1)
            path = reader.inclusion(0, size - 1, size)
            if not proof.verify_inclusion(proof.leaf_hash(entry), size - 1, size, path, now):
                failures.append("not included")
            seen, root = size, now

    thread = threading.Thread(target=read)
    thread.start()
    for round_ in range(3):  # the writer is opened again twice meanwhile
        with Writer(tmp_path, 0, segment_bytes=2000) as writer:
            for i in range(100):
                writer.append([b"%d/%d/%d" % (round_, i, j) for j in range(3)])
    done.set()
    thread.join(30)
    assert not thread.is_alive()
    assert failures == []


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    with Writer(tmp_path, 3, segment_bytes=100) as writer:
        for i in range(20):
            writer.append([b"entry %d" % i])
    log = HeadLog(tmp_path)
    log.append(lambda before: b"first")
    log.append(lambda before: b"after " + (before or b"nothing"))
    return tmp_path


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, ledger: Path) -> str:
    if request.param == "folder":
        return str(ledger)
    memory = fsspec.filesystem("memory")
    memory.put(str(ledger), "/copied", recursive=True)
    request.addfinalizer(lambda: memory.rm("/copied", recursive=True))
    return "memory://copied"


def test_any_file_system_will_do(place: str):
    reader = Reader(place)
    entries = [b"entry %d" % i for i in range(20)]
    assert reader.shards() == [3]
    assert reader.size(3) == 20
    assert [reader.entry(3, i) for i in range(20)] == entries
    root = proof.root_of([proof.leaf_hash(e) for e in entries])
    assert reader.root(3, 20) == root
    assert proof.verify_inclusion(proof.leaf_hash(b"entry 7"), 7, 20, reader.inclusion(3, 7, 20), root)
    assert proof.verify_consistency(11, 20, reader.root(3, 11), root, reader.consistency(3, 11, 20))
    assert reader.heads() == [b"first", b"after first"]
    assert reader.latest_head() == b"after first" == reader.latest_head()


def test_what_is_not_there_is_said_to_be_missing(place: str):
    reader = Reader(place)
    assert reader.size(5) == 0
    for call in (
        lambda: reader.entry(3, 20),
        lambda: reader.entry(3, -1),
        lambda: reader.entry(5, 0),
        lambda: reader.root(3, 21),
        lambda: reader.inclusion(3, 0, 21),
        lambda: reader.consistency(3, 1, 21),
    ):
        with pytest.raises(LedgerMissing):
            call()
    with pytest.raises(proof.ProofError):
        reader.inclusion(3, 5, 5)
    assert reader.root(5, 0) == proof.EMPTY_ROOT


def test_an_empty_place_has_nothing(tmp_path: Path):
    reader = Reader(tmp_path / "nowhere")
    assert (reader.shards(), reader.latest_head(), reader.heads()) == ([], None, [])


def test_a_changed_entry_is_noticed(ledger: Path):
    segment = ledger / layout.shard_folder(3) / layout.segment_file(0)
    data = bytearray(segment.read_bytes())
    data[10] ^= 1
    segment.write_bytes(data)
    with pytest.raises(LedgerCorrupt, match=r"segment-00000000.bin at offset 0 \(leaf 0\)"):
        Reader(ledger).entry(3, 0)
    assert Reader(ledger).entry(3, 1) == b"entry 1"


def test_long_runs_come_in_pieces(ledger: Path):
    reader = Reader(ledger)
    got: list[bytes] = []
    while len(got) < 20:
        piece = reader.entries(3, len(got), 1000)
        assert piece
        got += piece
    assert got == [b"entry %d" % i for i in range(20)]
