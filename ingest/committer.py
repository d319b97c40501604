"""The commit: messages in, ledger entries out, in batches of one fsync.

Order: check → append to the ledger and fsync (that is the commit) → index → receipts. A crash after the fsync leaves
items that are committed but not indexed; `catch_up` enters them before anything new is taken, so an item that the edge
sends again is then a duplicate and not a second copy.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, Engine, delete, select

from ingest import index, tables
from ingest.checking import Checked, Neighbours, Refused, check
from ingest.index import Committed
from ingest.opening import NotYet, Opened, Opener, Undecodable
from ingest.register import KeyRing
from ingest.shards import Shards
from telemetry import clock, entry, seal
from telemetry.entry import Entry
from telemetry.keys import SigningKey
from telemetry.messages import Receipt
from telemetry.mqtt import Incoming
from telemetry.seal import Item, ItemKind
from telemetry.streams import Place, Progress
from telemetry.topics import Address, Channel, parse

_log = structlog.get_logger(__name__)

_RECENT = 512
_BATCH = 256
_TAKEN = 512  # hashes a receipt names at most


@dataclass
class Outcome:
    """What a batch came to: items committed; streams to be receipted, with the hashes of items that came and are committed,
    and the fork found, if any; refusals."""

    committed: list[Committed] = field(default_factory=list[Committed])
    touched: dict[bytes, Address] = field(default_factory=dict[bytes, Address])
    taken: dict[bytes, list[bytes]] = field(default_factory=dict[bytes, list[bytes]])
    forked: dict[bytes, tuple[int, bytes]] = field(default_factory=dict[bytes, tuple[int, bytes]])
    refused: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])


class Committer:
    """One worker's way into the ledger. Its methods block on disk and database, one at a time whoever calls them."""

    def __init__(self, engine: Engine, shards: Shards, opener_keys: Callable[["Committer"], Opener]) -> None:
        self._engine = engine
        self._shards = shards
        self._keys = KeyRing(engine)
        self._opener = opener_keys(self)
        self._recent: dict[tuple[int, int], Committed] = {}
        self._said: set[tuple[str, str]] = set()
        self._behind = False  # something is committed that may not be indexed
        self._lock = threading.RLock()

    # ---- committing

    def commit(self, messages: list[Incoming]) -> Outcome:
        """Check and commit a batch. Raises OSError, LedgerError or SQLAlchemyError where disk or database fail; then nothing
        is receipted, and nothing new is taken before the index has caught up."""
        with self._lock:
            if self._behind:
                self.catch_up()
            outcome = Outcome()
            fresh: dict[tuple[bytes, int], Checked] = {}
            opened: dict[tuple[bytes, int], Opened | None] = {}
            with self._engine.connect() as db:
                for message in messages:
                    self._check(db, message, fresh, opened, outcome)
            if fresh:
                self._behind = True
                outcome.committed = self._append([(checked, opened[place]) for place, checked in fresh.items()])
            with self._engine.begin() as db:
                self._index(db, outcome.committed)
                index.count_refusals(db, dict(outcome.refused), clock.now_ms())
            self._behind = False
            return outcome

    def _index(self, db: Connection, committed: list[Committed]) -> None:
        index.record(db, committed)
        for shard in {one.shard for one in committed}:
            index.mark_indexed(db, shard, 1 + max(one.leaf for one in committed if one.shard == shard))
        if any(one.item.header.kind is ItemKind.OPEN for one in committed):
            self._retry_content(db)

    def _check(
        self,
        db: Connection,
        message: Incoming,
        fresh: dict[tuple[bytes, int], Checked],
        opened: dict[tuple[bytes, int], Opened | None],
        outcome: Outcome,
    ) -> None:
        def around(stream: bytes, sequence: int) -> Neighbours:
            known = index.neighbours(db, stream, sequence)
            here, before, after = (fresh.get((stream, sequence + step)) for step in (0, -1, 1))
            return Neighbours(
                held=here.item.hash if here else known.held,
                before=before.item.hash if before else known.before,
                after_previous=after.item.header.previous if after else known.after_previous,
                forked=known.forked or stream in outcome.forked,
                owner=known.owner,
            )

        result = check(message, key_of=self._keys.key, neighbours=around)
        if isinstance(result, Refused):
            self._refuse(outcome, result.topic, result.reason)
            return
        stream, sequence = result.item.header.stream, result.item.header.sequence
        if result.place is Place.DETACHED:
            self._refuse(outcome, result.topic, "detached")
            return
        outcome.touched[stream] = result.address
        if result.place is Place.DUPLICATE:
            outcome.taken.setdefault(stream, []).append(result.item.hash)
        elif result.place is Place.FORK:
            self._quarantine(result)
            found = (sequence, result.item.hash)
            outcome.forked[stream] = min(found, outcome.forked.get(stream, found))
            self._refuse(outcome, result.topic, "fork")
        elif result.place is Place.NEW:
            try:
                content = self._open(result.item, result.address)
            except Undecodable as error:
                self._refuse(outcome, result.topic, error.reason)
                return
            fresh[stream, sequence] = result
            opened[stream, sequence] = content
            outcome.taken.setdefault(stream, []).append(result.item.hash)

    def _refuse(self, outcome: Outcome, topic: str, reason: str) -> None:
        # Topics that no registered edge has are counted together: whoever makes them up must not fill our tables.
        known = topic if reason not in ("bad_topic", "unknown_edge") else "*"
        if (known, reason) not in self._said:
            self._said.add((known, reason))
            _log.warning("refused; further ones are only counted", topic=topic[:200], reason=reason)
        outcome.refused[known, reason] += 1

    def _quarantine(self, result: Checked) -> None:
        with self._engine.begin() as db:
            if index.quarantine(db, result.address, result.item, result.sealed, clock.now_ms()):
                header = result.item.header
                _log.error("fork", edge=result.address.edge, stream=header.stream.hex(), sequence=header.sequence)

    def _append(self, accepted: list[tuple[Checked, Opened | None]]) -> list[Committed]:
        arrival = clock.now_ms()
        committed: list[Committed] = []
        by_shard: dict[int, list[tuple[Checked, Opened | None]]] = {}
        for pair in accepted:
            by_shard.setdefault(pair[0].address.shard, []).append(pair)
        for shard, pairs in by_shard.items():
            first = self._shards.writer(shard).append(
                [entry.encode(Entry(arrival, checked.topic, checked.sealed)) for checked, _ in pairs]
            )
            for leaf, (checked, opened) in enumerate(pairs, start=first):
                one = Committed(checked.address, checked.item, shard, leaf, arrival, opened)
                self._remember(one)
                committed.append(one)
        return committed

    # ---- reading back

    def committed_from(self, shard: int, first: int, count: int) -> list[Committed]:
        """Committed items from a leaf on, opened where that can be done now. One that opens to something it should not be
        (it was refused where that was known in time) is said and left out."""
        with self._lock:
            return self._committed_from(shard, first, count)

    def _committed_from(self, shard: int, first: int, count: int) -> list[Committed]:
        found: list[Committed] = []
        at = first
        while at < first + count:
            recent = self._recent.get((shard, at))
            if recent is not None and recent.opened is not None:
                found.append(recent)
                at += 1
                continue
            for data in self._shards.reader.entries(shard, at, first + count - at):
                found += self._reopened(shard, at, data)
                at += 1
        return found

    def _reopened(self, shard: int, leaf: int, data: bytes) -> list[Committed]:
        stored = entry.decode(data)
        address, _ = parse(stored.topic)
        item = seal.peek(stored.sealed)  # its signature was checked before it was committed
        try:
            opened = self._open(item, address)
        except Undecodable as error:
            _log.error("committed item cannot be decoded", shard=shard, leaf=leaf, reason=error.reason)
            return []
        one = Committed(address, item, shard, leaf, stored.arrival_ms, opened)
        self._remember(one)
        return [one]

    def epoch_item(self, address: Address, epoch: bytes) -> Item | None:
        """The OPEN item of an edge's epoch, for the opener."""
        place = index.epoch_place(self._engine, address, epoch)
        return None if place is None else seal.peek(entry.decode(self._shards.reader.entry(*place)).sealed)

    def dictionary(self, digest: bytes) -> bytes | None:
        """A dictionary's bytes, for the opener."""
        return index.dictionary_bytes(self._engine, digest)

    def _open(self, item: Item, address: Address) -> Opened | None:
        try:
            return self._opener.open(item, address)
        except NotYet:
            return None

    def _remember(self, one: Committed) -> None:
        while len(self._recent) >= _RECENT:
            del self._recent[next(iter(self._recent))]
        self._recent[one.shard, one.leaf] = one

    # ---- after a crash

    def catch_up(self) -> int:
        """Index what is in the ledger but not in the index; returns how many leaves that were."""
        count = 0
        with self._lock:
            for shard in self._shards.present():
                self._shards.writer(shard)  # opening it makes a torn tail whole
                size = self._shards.reader.size(shard)
                while (first := index.indexed_to(self._engine, shard)) < size:
                    end = min(size, first + _BATCH)
                    batch = self.committed_from(shard, first, end - first)
                    with self._engine.begin() as db:
                        self._index(db, batch)
                        index.mark_indexed(db, shard, end)  # beyond what cannot be decoded, too
                    count += end - first
            self._behind = False
        return count

    def _retry_content(self, db: Connection) -> None:
        """Enter the content of items that came before the key they are sealed with."""
        table = tables.deferred
        rows = db.execute(select(table.c.shard, table.c.leaf).where(table.c.consumer == index.CONTENT)).all()
        for row in rows:
            for one in self.committed_from(row.shard, row.leaf, 1):
                if one.opened is None:
                    continue
                index.record_content(db, one, one.opened)
                db.execute(
                    delete(table).where(
                        table.c.consumer == index.CONTENT, table.c.shard == row.shard, table.c.leaf == row.leaf
                    )
                )

    # ---- receipts

    def receipts(self, outcome: Outcome, signer: SigningKey) -> list[tuple[str, bytes]]:
        """(topic, signed receipt) of every stream that the batch touched."""
        signed: list[tuple[str, bytes]] = []
        with self._engine.connect() as db:
            for stream, address in outcome.touched.items():
                state = index.stream_state(db, stream)
                progress = state.progress if state else Progress()
                taken = outcome.taken.get(stream, [])
                for at in range(0, max(len(taken), 1), _TAKEN):
                    topic = address.topic(Channel.RECEIPT)
                    receipt = Receipt(
                        edge=address.edge,
                        stream=stream,
                        contiguous=progress.contiguous,
                        hash=index.hash_at(db, stream, progress.contiguous) or bytes(seal.HASH_BYTES),
                        highest=progress.highest,
                        missing=progress.missing(),
                        taken=tuple(taken[at : at + _TAKEN]),
                        forked=outcome.forked.get(stream),
                        time_ms=clock.now_ms(),
                    )
                    signed.append((topic, receipt.sign(signer, topic)))
        return signed
