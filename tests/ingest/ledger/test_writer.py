"""What a shard's writer promises: what was committed is there after any crash, where it was, under the same root."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.ledger import LedgerBroken, LedgerBusy, LedgerCorrupt, layout
from ingest.ledger.reader import Reader
from ingest.ledger.writer import Writer
from telemetry import proof

ENTRIES = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=6)
BATCHES = st.lists(ENTRIES, min_size=1, max_size=8)
SMALL = 120  # bytes a segment, so that a few batches make several


def root_of(entries: list[bytes]) -> bytes:
    return proof.root_of([proof.leaf_hash(e) for e in entries])


def everything(ledger: Path) -> list[bytes]:
    reader = Reader(ledger)
    out: list[bytes] = []
    while len(out) < reader.size(0):
        out += reader.entries(0, len(out), 3)
    return out


def derived(folder: Path) -> dict[str, bytes]:
    return {
        p.name: p.read_bytes() for p in folder.iterdir() if p.name.startswith(("index", "level")) and p.read_bytes()
    }


@given(batches=BATCHES, reopen=st.sets(st.integers(0, 8)))
def test_what_is_appended_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[bytes]], reopen: set[int]
):
    ledger = tmp_path_factory.mktemp("ledger")
    writer = Writer(ledger, 0, segment_bytes=SMALL)
    model: list[bytes] = []
    for i, batch in enumerate(batches):
        if i in reopen:
            writer.close()
            writer = Writer(ledger, 0, segment_bytes=SMALL)
        assert writer.append(batch) == len(model)
        model += batch
        assert (writer.size, writer.root) == (len(model), root_of(model))
    reader = Reader(ledger)
    assert everything(ledger) == model
    for size in range(1, len(model) + 1):
        assert reader.root(0, size) == root_of(model[:size])
        leaf = size // 2
        path = reader.inclusion(0, leaf, size)
        assert proof.verify_inclusion(proof.leaf_hash(model[leaf]), leaf, size, path, reader.root(0, size))
        steps = reader.consistency(0, leaf, size)
        assert proof.verify_consistency(leaf, size, root_of(model[:leaf]), root_of(model[:size]), steps)
    writer.close()


@given(batches=BATCHES, torn=ENTRIES, choice=st.data())
def test_a_crash_at_any_byte_loses_nothing_committed(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[bytes]], torn: list[bytes], choice: st.DataObject
):
    """The last batch reached the disk in part; index and levels are cut or gone as a system that crashed leaves them."""
    ledger = tmp_path_factory.mktemp("ledger")
    with Writer(ledger, 0, segment_bytes=SMALL) as writer:
        for batch in batches:
            writer.append(batch)
    committed = [e for batch in batches for e in batch]
    folder = ledger / layout.shard_folder(0)
    last = sorted(folder.glob("segment-*"))[-1]
    before = last.stat().st_size
    kept = dict(derived(folder).items())
    with Writer(ledger, 0, segment_bytes=1 << 30) as writer:
        writer.append(torn)
    cut = choice.draw(st.integers(before, last.stat().st_size), label="segment ends at")
    os.truncate(last, cut)
    for path in folder.iterdir():
        if path.name.startswith(("index", "level")):
            limit = len(kept.get(path.name, b""))
            what = choice.draw(st.sampled_from(["kept", "cut", "gone", "zeros"]), label=path.name)
            os.truncate(path, limit if what == "kept" else choice.draw(st.integers(0, limit)))
            if what == "gone":
                path.unlink()
            elif what == "zeros":
                os.truncate(path, limit + 64)
    with Writer(ledger, 0, segment_bytes=SMALL) as writer:
        whole = writer.size - len(committed)
        model = committed + torn[:whole]
        assert 0 <= whole <= len(torn)
        assert writer.root == root_of(model)
        assert everything(ledger) == model
        writer.append([b"after"])
        assert writer.root == root_of([*model, b"after"])
    assert everything(ledger) == [*model, b"after"]


@given(batches=BATCHES, choice=st.data())
def test_index_and_levels_are_made_again_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[bytes]], choice: st.DataObject
):
    ledger = tmp_path_factory.mktemp("ledger")
    with Writer(ledger, 0, segment_bytes=SMALL) as writer:
        for batch in batches:
            writer.append(batch)
    folder = ledger / layout.shard_folder(0)
    before = derived(folder)
    for name in choice.draw(st.sets(st.sampled_from(sorted(before)))):
        (folder / name).unlink()
    Writer(ledger, 0, segment_bytes=SMALL).close()
    assert derived(folder) == before


@given(batches=BATCHES, choice=st.data())
def test_damage_is_never_taken_for_a_torn_tail(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[bytes]], choice: st.DataObject
):
    """Any committed byte changed in a segment that is opened for recovery raises and names the place."""
    ledger = tmp_path_factory.mktemp("ledger")
    with Writer(ledger, 0, segment_bytes=SMALL) as writer:
        for batch in batches:
            writer.append(batch)
    last = sorted((ledger / layout.shard_folder(0)).glob("segment-*"))[-1]
    data = bytearray(last.read_bytes())
    if choice.draw(st.booleans()):
        data[choice.draw(st.integers(0, len(data) - 1))] ^= 1 << choice.draw(st.integers(0, 7))
    else:
        del data[choice.draw(st.integers(0, len(data) - 1)) :]
    last.write_bytes(data)
    with pytest.raises(LedgerCorrupt, match=r"segment-\d{8}.bin at offset \d+ \(leaf \d+\)"):
        Writer(ledger, 0, segment_bytes=SMALL)


def test_damage_in_the_middle_is_found_without_the_index(tmp_path: Path):
    with Writer(tmp_path, 0) as writer:
        writer.append([b"one", b"two", b"three"])
    folder = tmp_path / layout.shard_folder(0)
    segment = folder / layout.segment_file(0)
    data = bytearray(segment.read_bytes())
    data[8 + 3 + 8] ^= 1  # in "two"
    segment.write_bytes(data)
    (folder / layout.INDEX_FILE).unlink()
    with pytest.raises(LedgerCorrupt, match=r"offset 11 .leaf 1.*a good one follows at 22"):
        Writer(tmp_path, 0)


def test_a_missing_segment_is_found(tmp_path: Path):
    with Writer(tmp_path, 0, segment_bytes=20) as writer:
        for i in range(4):
            writer.append([bytes([i + 1]) * 20])
    (tmp_path / layout.shard_folder(0) / layout.segment_file(1)).unlink()
    with pytest.raises(LedgerCorrupt, match=r"segment-00000001\.bin is missing"):
        Writer(tmp_path, 0)


def test_a_ledger_put_back_from_an_old_copy_is_found_by_its_head(tmp_path: Path):
    with Writer(tmp_path / "a", 0) as writer:
        writer.append([b"one"])
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        writer.append([b"two"])
    with pytest.raises(LedgerCorrupt, match="1 leaves, but a signed head covers 2"):
        Writer(tmp_path / "b", 0, at_least=2)
    Writer(tmp_path / "a", 0, at_least=2).close()


def test_one_writer_a_shard(tmp_path: Path):
    with Writer(tmp_path, 0), Writer(tmp_path, 1), pytest.raises(LedgerBusy):
        Writer(tmp_path, 0)
    Writer(tmp_path, 0).close()


@pytest.mark.parametrize("bad", [b"", bytes((16 << 20) + 1)])
def test_an_impossible_entry_spoils_nothing(tmp_path: Path, bad: bytes):
    with Writer(tmp_path, 0) as writer:
        with pytest.raises(ValueError, match="an entry has"):
            writer.append([b"good", bad])
        assert writer.size == 0
        assert writer.append([b"good"]) == 0
        assert writer.append([]) == 1


def test_a_full_disk_takes_the_batch_back(tmp_path: Path, limited_files: int):
    with Writer(tmp_path, 0) as writer:
        writer.append([b"one"])
        root = writer.root
        with pytest.raises(OSError, match="large"):
            writer.append([bytes(limited_files)])
        assert writer.root == root
        assert writer.append([b"two"]) == 1
    with Writer(tmp_path, 0) as writer:
        assert writer.size == 2


def test_a_writer_that_lost_its_index_refuses_until_it_is_opened_again(tmp_path: Path):
    writer = Writer(tmp_path, 0)
    writer.append([b"one"])
    os.close(writer._index)
    writer._index = os.open(tmp_path / layout.shard_folder(0) / layout.INDEX_FILE, os.O_RDONLY)
    with pytest.raises(LedgerBroken, match="committed, but not indexed"):
        writer.append([b"two"])
    with pytest.raises(LedgerBroken):
        writer.append([b"three"])
    writer.close()
    with Writer(tmp_path, 0) as again:
        assert again.size == 2
        assert everything(tmp_path) == [b"one", b"two"]


def test_a_large_tree_keeps_few_files_open(tmp_path: Path):
    """A worker may have 64 shards, and a process commonly 1024 files."""
    entries = [b"%d" % i for i in range(5000)]
    before = len(os.listdir("/proc/self/fd"))
    with Writer(tmp_path, 0) as writer:
        writer.append(entries)
        assert len(os.listdir("/proc/self/fd")) - before <= 8
        assert writer.root == root_of(entries)
    with Writer(tmp_path, 0) as writer:
        assert writer.root == root_of(entries)
