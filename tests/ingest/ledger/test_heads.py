"""The log of heads: a chain that survives a torn tail and refuses damage."""

import itertools
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.ledger import LedgerCorrupt
from ingest.ledger.heads import HeadLog
from telemetry import head


def test_a_torn_head_is_cut_off_and_the_chain_goes_on(tmp_path: Path):
    log = HeadLog(tmp_path)
    assert log.latest() is None
    log.append(lambda before: b"one")
    path = tmp_path / "heads" / "heads.bin"
    whole = path.read_bytes()
    for cut in range(1, 11):
        path.write_bytes(whole + (b"\x03\x00\x00\x00" + b"\x00" * 4 + b"tor")[:cut])
        again = HeadLog(tmp_path)
        assert again.latest() == b"one"
        assert again.append(lambda before: (before or b"") + b"!") == b"one!"
        assert log.latest() == b"one!"
        path.write_bytes(whole)
        log = HeadLog(tmp_path)


def test_damage_is_refused(tmp_path: Path):
    log = HeadLog(tmp_path)
    for name in (b"one", b"two", b"three"):
        log.append(lambda before, name=name: name)
    path = tmp_path / "heads" / "heads.bin"
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    for call in (HeadLog(tmp_path).latest, HeadLog(tmp_path).all, lambda: HeadLog(tmp_path).append(lambda _: b"four")):
        with pytest.raises(LedgerCorrupt, match="damage at offset 11"):
            call()
    os.truncate(path, 5)
    with pytest.raises(LedgerCorrupt, match="shrank"):
        log.latest()


def test_workers_take_turns(tmp_path: Path):
    def work() -> None:
        log = HeadLog(tmp_path)
        for _ in range(25):
            log.append(lambda before: head.encode(head.make(1, {}, head.digest(before) if before else b"")))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heads = HeadLog(tmp_path).all()
    assert len(heads) == 100
    for before, after in itertools.pairwise(heads):
        assert head.decode(after).prev == head.digest(before)


@given(st.dictionaries(st.integers(0, 63), st.tuples(st.integers(0, 1 << 40), st.binary(min_size=32, max_size=32))))
def test_a_head_is_read_back(shards: dict[int, tuple[int, bytes]]):
    made = head.make(1_700_000_000_000, shards, bytes(32))
    assert head.decode(head.encode(made)) == made
    assert made.sizes == {shard: size for shard, (size, _) in shards.items() if size}


@given(st.data())
def test_no_changed_head_is_accepted(choice: st.DataObject):
    data = bytearray(head.encode(head.make(1_700_000_000_000, {1: (5, bytes(32)), 7: (9, b"\x01" * 32)})))
    place = choice.draw(st.integers(0, len(data) - 1))
    data[place] ^= 1 << choice.draw(st.integers(0, 7))
    try:
        other = head.decode(bytes(data))
    except head.HeadError:
        return
    assert other.root == head.root_over(other.shards)  # only the time is not under the root: the signature covers it


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_one_error(data: bytes):
    with pytest.raises(head.HeadError):
        head.decode(data)
