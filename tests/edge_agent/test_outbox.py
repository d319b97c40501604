"""The outbox keeps the invariants that its docstring states, one test each."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edge_agent import sealing
from edge_agent.outbox import Draft, Outbox, OutboxError, Position, Released, Stored
from edge_agent.sealing import Sealer
from telemetry import keys, seal
from telemetry.items import Opening
from telemetry.seal import ItemKind, item_hash
from telemetry.streams import FIRST_PREVIOUS
from tests.edge_agent.agent_kit import full_disk

SIGNER = keys.signing_key(Ed25519PrivateKey.generate())
KEY = keys.verifying_key(SIGNER.public)
INGEST = X25519PrivateKey.generate()
TOPIC = "starproof/v1/E/01/edge/up"


def sealer() -> Sealer:
    return Sealer(SIGNER, TOPIC, keys.exchange_public(INGEST), bytes(16))


def data(text: bytes, at: int = 1) -> Draft:
    return Draft(ItemKind.DATA, text, bytes(16), (at, at))


def put(outbox: Outbox, by: Sealer, *drafts: Draft, now_ms: int = 7) -> list[tuple[int, int]]:
    lost = outbox.append(drafts, seal=by.seal, epoch=by.epoch, now_ms=now_ms, loss=sealing.loss_draft)
    return [(one.low, one.high) for one in lost]


@pytest.fixture
def by() -> Sealer:
    return sealer()


@pytest.fixture
def outbox(tmp_path: Path, by: Sealer) -> Outbox:
    made = Outbox(tmp_path / "outbox.db")
    made.add_epoch(by.epoch, by.key)
    return made


def test_1_items_are_written_through_before_append_returns(outbox: Outbox, tmp_path: Path, by: Sealer) -> None:
    put(outbox, by, data(b"a"))
    synchronous = outbox._db.execute("PRAGMA synchronous").fetchone()[0]
    assert synchronous == 2  # FULL
    other = sqlite3.connect(tmp_path / "outbox.db")
    assert other.execute("SELECT count(*) FROM items").fetchone()[0] == 1


def test_2_numbers_and_hashes_chain_across_restarts(outbox: Outbox, tmp_path: Path, by: Sealer) -> None:
    put(outbox, by, data(b"a"), data(b"b"))
    outbox.close()
    again = Outbox(tmp_path / "outbox.db")
    put(again, by, data(b"c"))
    items = again.pending()
    previous = FIRST_PREVIOUS
    for number, item in enumerate(items):
        header = seal.check(item.sealed, key=KEY, topic=TOPIC).header
        assert (header.sequence, header.previous, header.stream) == (number, previous, items[0].stream)
        previous = item_hash(item.sealed)


def test_2_a_failed_append_uses_no_number(outbox: Outbox, by: Sealer) -> None:
    put(outbox, by, data(b"a"))
    before = outbox.position()

    def failing(_: Draft, __: Position) -> bytes:
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(OutboxError):
        outbox.append([data(b"b")], seal=failing, epoch=by.epoch, now_ms=1, loss=sealing.loss_draft)
    assert outbox.position() == before
    put(outbox, by, data(b"c"))
    assert [item.sequence for item in outbox.pending()] == [0, 1]


@pytest.mark.parametrize("kill_after", [1, 5, 17])
def test_2_kill_9_in_the_middle_skips_and_repeats_nothing(tmp_path: Path, kill_after: int) -> None:
    script = f"""
import os
from pathlib import Path
import tests.edge_agent.test_outbox as t
from edge_agent.outbox import Outbox
by, outbox = t.sealer(), Outbox(Path({str(tmp_path / "outbox.db")!r}))
outbox.add_epoch(by.epoch, by.key)
for n in range(100):
    t.put(outbox, by, t.data(b"x"))
    if n == {kill_after}:
        os.kill(os.getpid(), 9)
"""
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == -9
    outbox = Outbox(tmp_path / "outbox.db")
    assert [item.sequence for item in outbox.pending(limit=1000)] == list(range(kill_after + 1))
    assert outbox.position().sequence == kill_after + 1
    assert outbox.position().previous == item_hash(outbox.pending(limit=1000)[-1].sealed)


def test_2_readers_see_nothing_that_is_not_on_disk(outbox: Outbox, by: Sealer) -> None:
    put(outbox, by, data(b"a"))
    before = outbox.position()
    seen: list[object] = []

    def looking(draft: Draft, position: Position) -> bytes:
        seen.append((len(outbox.pending()), outbox.position(), outbox.closed_ms()))  # in the middle of the transaction
        return by.seal(draft, position)

    outbox.append([data(b"b"), data(b"c")], seal=looking, epoch=by.epoch, now_ms=9, loss=sealing.loss_draft)
    assert seen == [(1, before, 7), (1, before, 7)]
    assert len(outbox.pending()) == 3 and outbox.closed_ms() == 9


def test_3_a_receipt_lets_go_of_what_it_proves_and_no_more(outbox: Outbox, by: Sealer) -> None:
    put(outbox, by, *(data(b"x") for _ in range(10)))
    stream = outbox.position().stream
    items = outbox.pending()
    hashes = [item.hash for item in items]
    assert hashes == [item_hash(item.sealed) for item in items]
    assert outbox.release(os.urandom(16), contiguous=9, hash=hashes[9], taken=hashes) == Released()  # another stream
    assert outbox.release(stream, contiguous=-1, hash=FIRST_PREVIOUS) == Released()
    assert len(outbox.pending()) == 10
    released = outbox.release(stream, contiguous=2, hash=hashes[2], taken=[hashes[5], hashes[7], os.urandom(16)])
    assert sorted(released.items) == [items[n].n for n in (0, 1, 2, 5, 7)] and not released.foreign
    assert [item.sequence for item in outbox.pending()] == [3, 4, 6, 8, 9]
    assert outbox.release(stream, contiguous=2, hash=hashes[2]) == Released()  # again
    outbox.release(stream, contiguous=9, hash=hashes[9])
    assert outbox.pending() == []
    assert outbox.bytes_held == 0


def test_3_numbers_of_another_branch_let_nothing_go(outbox: Outbox, by: Sealer) -> None:
    put(outbox, by, *(data(b"x") for _ in range(4)))
    stream = outbox.position().stream
    hashes = [item.hash for item in outbox.pending()]
    assert outbox.release(stream, contiguous=3, hash=os.urandom(16)) == Released(foreign=True)
    assert outbox.release(stream, contiguous=4, hash=hashes[3]) == Released(foreign=True)  # this one sealed 0..3 only
    assert outbox.release(stream, contiguous=900, hash=os.urandom(16)) == Released(foreign=True)
    assert len(outbox.pending()) == 4
    released = outbox.release(stream, contiguous=900, hash=os.urandom(16), taken=hashes[:2])  # common to both branches
    assert released.foreign and [item.sequence for item in outbox.pending()] == [2, 3]


def test_6_a_full_disk_changes_nothing_and_passes(outbox: Outbox, tmp_path: Path, by: Sealer) -> None:
    put(outbox, by, *(data(b"x") for _ in range(4)))
    stream, held, position = outbox.position().stream, outbox.bytes_held, outbox.position()
    items = outbox.pending()
    other = sealer()
    with full_disk(tmp_path / "outbox.db"):  # what fails is the COMMIT: that is when SQLite writes
        for _ in range(2):
            with pytest.raises(OutboxError):
                put(outbox, by, data(b"y"))
            with pytest.raises(OutboxError):
                outbox.release(stream, contiguous=3, hash=items[3].hash)
            with pytest.raises(OutboxError):
                sealing.continue_in_new_stream(outbox, by, stream=stream, since=2)
            with pytest.raises(OutboxError):
                outbox.add_epoch(other.epoch, other.key)
            assert (outbox.pending(), outbox.position(), outbox.bytes_held) == (items, position, held)
    outbox.release(stream, contiguous=1, hash=items[1].hash)
    put(outbox, by, data(b"y"))
    assert [item.sequence for item in outbox.pending()] == [2, 3, 4]


def test_6_no_more_pages_is_an_error_like_any_other(outbox: Outbox, by: Sealer) -> None:
    put(outbox, by, data(b"a"))
    held, pages = outbox.bytes_held, outbox._db.execute("PRAGMA page_count").fetchone()[0]
    outbox._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutboxError, match="full"):
        put(outbox, by, data(b"small"), data(os.urandom(50_000)))
    assert len(outbox.pending()) == 1 and outbox.bytes_held == held
    outbox._db.execute("PRAGMA max_page_count = 1000000")
    put(outbox, by, data(os.urandom(50_000)))
    assert [item.sequence for item in outbox.pending()] == [0, 1]


def test_6_whatever_fails_the_bytes_held_stay_right(outbox: Outbox, by: Sealer) -> None:
    put(outbox, by, data(b"a"))
    held = outbox.bytes_held

    def failing(draft: Draft, position: Position) -> bytes:
        if draft.plaintext == b"c":
            raise ValueError("no such item")
        return by.seal(draft, position)

    with pytest.raises(ValueError, match="no such item"):
        outbox.append([data(b"b"), data(b"c")], seal=failing, epoch=by.epoch, now_ms=1, loss=sealing.loss_draft)
    assert outbox.bytes_held == held == sum(len(item.sealed) for item in outbox.pending())


def test_3_and_4_a_full_outbox_gives_up_the_oldest_data_and_says_so(tmp_path: Path, by: Sealer) -> None:
    outbox = Outbox(tmp_path / "small.db", max_bytes=20_000)
    outbox.add_epoch(by.epoch, by.key)
    put(outbox, by, Draft(ItemKind.DICTIONARY, b"words", bytes(16)))
    lost: list[tuple[int, int]] = []
    for n in range(200):
        lost += put(outbox, by, data(os.urandom(300), at=n))
        assert outbox.bytes_held <= 20_000
    items = outbox.pending(limit=1000)
    assert items[0].kind is ItemKind.DICTIONARY
    losses = [item for item in items if item.kind is ItemKind.LOSS]
    named: set[int] = set()
    for item in losses:
        opened = seal.unseal(seal.check(item.sealed, key=KEY, topic=TOPIC), epoch_key=by.key)
        for stream, low, high, first, last in cbor2.loads(opened):
            assert stream == item.stream
            assert first <= last
            named |= set(range(low, high + 1))
    assert named and named == {n for low, high in lost for n in range(low, high + 1)}
    assert named | {item.sequence for item in items} == set(range(outbox.position().sequence))


def test_4_an_item_that_can_never_fit_is_an_error_and_changes_nothing(tmp_path: Path, by: Sealer) -> None:
    outbox = Outbox(tmp_path / "small.db", max_bytes=2000)
    with pytest.raises(OutboxError, match="too small"):
        put(outbox, by, data(bytes(5000)))
    assert outbox.pending() == [] and outbox.position().sequence == 0


def test_5_keys_of_epochs_go_with_their_last_item(outbox: Outbox, by: Sealer) -> None:
    put(outbox, by, data(b"a"))
    second = sealer()
    outbox.add_epoch(second.epoch, second.key)
    assert outbox.epoch_key(by.epoch) == by.key
    outbox.release(outbox.position().stream, contiguous=0, hash=outbox.position().previous)
    third = sealer()
    outbox.add_epoch(third.epoch, third.key)
    with pytest.raises(KeyError):
        outbox.epoch_key(by.epoch)


def test_the_file_is_for_its_owner_only(outbox: Outbox, tmp_path: Path) -> None:
    assert (tmp_path / "outbox.db").stat().st_mode & 0o077 == 0


def test_after_a_fork_everything_held_goes_on_in_a_new_stream(outbox: Outbox, by: Sealer) -> None:
    put(
        outbox,
        by,
        by.opening(reason="start", parent=None, idle_since_ms=0),
        data(b"a", 1),
        data(b"b", 2),
        data(b"c", 3),
    )
    old = outbox.position().stream
    position = sealing.continue_in_new_stream(outbox, by, stream=old, since=2)
    items = outbox.pending()
    assert [(item.stream == old, item.sequence) for item in items] == [
        (True, 0),
        (True, 1),
        (False, 0),
        (False, 1),
        (False, 2),
    ]
    opening = seal.unseal_open(seal.check(items[2].sealed, key=KEY, topic=TOPIC), private=INGEST)
    assert cbor2.loads(opening)["parent"] == [old, 2]
    texts = [seal.unseal(seal.check(item.sealed, key=KEY, topic=TOPIC), epoch_key=by.key) for item in items[3:]]
    assert texts == [b"b", b"c"]
    assert outbox.position() == position == Position(items[2].stream, 3, item_hash(items[4].sealed))


def opened(item: Stored) -> Opening:
    return Opening.decode(seal.unseal_open(seal.check(item.sealed, key=KEY, topic=TOPIC), private=INGEST))


def test_after_a_fork_every_stop_is_stated_still_with_its_own_times(outbox: Outbox, by: Sealer) -> None:
    put(outbox, by, data(b"a", 1))
    for idle in (0, 50, 70):
        put(outbox, by, by.opening(reason="start", parent=None, idle_since_ms=idle, wall_ms=idle + 5), data(b"b", idle))
    old = outbox.position().stream
    sealing.continue_in_new_stream(outbox, by, stream=old, since=3)  # from the second opening on
    kept, rest = outbox.pending()[:3], outbox.pending()[3:]
    assert [item.sequence for item in kept] == [0, 1, 2]
    assert [item.kind.name for item in rest] == ["OPEN", "DATA", "OPEN", "DATA"]
    first, second = opened(rest[0]), opened(rest[2])
    assert (first.parent, first.idle_since_ms, first.wall_ms, first.reason) == ((old, 3), 50, 55, "fork")
    assert (second.parent, second.idle_since_ms, second.wall_ms) == (None, 70, 75)
    assert first.epoch == second.epoch == by.epoch


def test_a_fork_of_an_earlier_stream_goes_into_the_present_one(outbox: Outbox, by: Sealer) -> None:
    put(
        outbox,
        by,
        by.opening(reason="start", parent=None, idle_since_ms=40, wall_ms=45),
        *(data(b"%d" % n) for n in range(4)),
    )
    old = outbox.position().stream
    new = sealing.continue_in_new_stream(outbox, by, stream=old, since=3)
    assert new is not None and new.sequence == 3
    put(outbox, by, data(b"later"))
    position = sealing.continue_in_new_stream(outbox, by, stream=old, since=0)  # the same fork, found farther back
    items = outbox.pending()
    assert {item.stream for item in items} == {new.stream} and [item.sequence for item in items] == list(range(7))
    assert position == outbox.position()
    texts = [seal.unseal(seal.check(i.sealed, key=KEY, topic=TOPIC), epoch_key=by.key) for i in items if i.kind == 0]
    assert texts == [b"2", b"3", b"later", b"0", b"1"]
    (stop,) = [opened(item) for item in items if item.kind is ItemKind.OPEN and item.idle_since_ms]
    assert (stop.idle_since_ms, stop.wall_ms) == (40, 45)
    assert sealing.continue_in_new_stream(outbox, by, stream=old, since=0) is None
    assert outbox.bytes_held == sum(len(item.sealed) for item in items)


def test_a_long_outbox_is_sealed_again_in_order(outbox: Outbox, by: Sealer) -> None:
    put(outbox, by, *(data(b"%d" % n) for n in range(150)))
    sealing.continue_in_new_stream(outbox, by, stream=outbox.position().stream, since=0)
    items = outbox.pending(limit=1000)
    assert [item.sequence for item in items] == list(range(151))
    texts = [seal.unseal(seal.check(i.sealed, key=KEY, topic=TOPIC), epoch_key=by.key) for i in items[1:]]
    assert texts == [b"%d" % n for n in range(150)]


def test_an_epoch_key_is_never_used_by_another_process() -> None:
    assert sealer().key != sealer().key and sealer().epoch != sealer().epoch
