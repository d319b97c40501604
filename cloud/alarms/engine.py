"""The alarm engine: a consumer of the ledger that holds every committed row against the rules, in ledger order.

What it remembers of machines, how far it has come, and what it raises are one transaction. If that fails, or the process
dies at any moment, nothing of the batch has happened and it is taken again; if it succeeded and the batch comes again,
its leaves are below the cursor and nothing happens twice. A rule's version is in force for items that arrive from its
change on, so that catching up evaluates the past by the rules of then.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, Engine, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from cloud.alarms import counting, evaluate, first_rules, memory, raising, rules, silence, tables
from cloud.alarms.evaluate import Event
from cloud.alarms.memory import DeviceMemory, Lane
from cloud.alarms.plans import Plan
from cloud.alarms.plans import plan as ready_rules
from cloud.alarms.portions import LATE_MS, EdgeView, Portion
from cloud.alarms.raising import Source, WindowSpan
from cloud.alarms.rulebook import RuleBook
from ingest.consuming import Unavailable
from ingest.index import Committed
from ingest.sql import insert_for
from telemetry import clock
from telemetry.dictionary import DeviceSpec, Dictionary
from telemetry.equipment import equipment_types
from telemetry.seal import ItemKind
from telemetry.topics import SHARDS

_log = structlog.get_logger(__name__)

_NEVER_ARRIVED = -1
_BEHIND_MS = 5_000
_UID, _TYPE = 128, 64  # longest names that the tables take

Arrived = Callable[[Connection, Committed], None]


@dataclass
class _Known:
    """What is kept in memory between batches; all of it can be read again."""

    books: dict[str, RuleBook] = field(default_factory=dict[str, RuleBook])
    memories: dict[tuple[str, str], DeviceMemory] = field(default_factory=dict[tuple[str, str], DeviceMemory])
    shards: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    plans: dict[tuple[str, str], Plan] = field(default_factory=dict[tuple[str, str], Plan])
    views: dict[tuple[bytes, int], EdgeView] = field(default_factory=dict[tuple[bytes, int], EdgeView])
    epochs: dict[str, int] = field(default_factory=dict[str, int])
    cursors: dict[int, int] = field(default_factory=dict[int, int])  # shard → n
    dictionaries: set[bytes] = field(default_factory=set[bytes])
    all_read: bool = False  # whether every machine of our shards is in `memories`


class AlarmEngine:
    """`arrived` is told of every window item, in the batch's transaction; `span` is what a package covers."""

    name = "alarms"
    durable = True

    def __init__(
        self,
        engine: Engine,
        *,
        shards: Sequence[int] = range(SHARDS),
        span: WindowSpan | None = None,
        arrived: Arrived | None = None,
    ) -> None:
        self._engine = engine
        self._mine = frozenset(shards)
        self._span = span or WindowSpan()
        self._arrived = arrived
        self._known = _Known()
        self._lock = threading.Lock()
        self._started_ms = clock.now_ms()
        self._behind_until_ms = 0  # while older items are being caught up with, silence means nothing
        self.raised = asyncio.Event()  # something was raised or changed: there may be notices to send

    async def take(self, batch: list[Committed]) -> list[Committed]:
        """Evaluate a batch. Raises Unavailable or SQLAlchemyError: then nothing of it has happened."""
        if await asyncio.to_thread(self._in_one, lambda db: self._take(db, batch)):
            self.raised.set()
        return []

    async def tick(self) -> None:
        """What time alone brings about: machines that are silent too long, alarms whose rule is no more."""
        if await asyncio.to_thread(self._in_one, self._tick):
            self.raised.set()

    async def run(self, every_s: float = 1.0) -> None:
        """Tick until cancelled."""
        failing = False
        while True:
            try:
                await self.tick()
                failing = False
            except (SQLAlchemyError, Unavailable) as error:
                if not failing:
                    _log.warning("alarms cannot be looked after now", why=str(error))
                failing = True
            await asyncio.sleep(every_s)

    def _in_one(self, work: Callable[[Connection], bool]) -> bool:
        equipment_types()  # reading them takes a second, the first time: not while the database waits
        with self._lock:
            try:
                with self._engine.begin() as db:
                    return work(db)
            except BaseException:
                self._known = _Known()  # what was half done there must not count
                raise

    # ---- a batch

    def _take(self, db: Connection, batch: list[Committed]) -> bool:
        fresh = [one for shard in dict.fromkeys(one.shard for one in batch) for one in self._fresh(db, shard, batch)]
        if not fresh:
            return False
        now = clock.now_ms()
        if now - max(one.arrival_ms for one in fresh) > _BEHIND_MS:
            self._behind_until_ms = now + _BEHIND_MS
        self._read_rules(db, {one.address.enterprise for one in fresh})
        touched: set[tuple[str, str]] = set()
        moved = False
        for one in fresh:
            if one.opened is None:
                continue
            if one.item.header.kind is ItemKind.DICTIONARY and one.opened.dictionary is not None:
                self._learn(db, one.opened.dictionary)
            elif one.opened.frame is not None:
                moved |= self._frame(db, one, touched)
            elif self._arrived is not None:
                self._arrived(db, one)
        for enterprise, device in touched:
            self._save(db, enterprise, device)
        return moved

    def _fresh(self, db: Connection, shard: int, batch: list[Committed]) -> list[Committed]:
        """Those items of a shard that have not been evaluated, marked as evaluated. Raises Unavailable if another engine is
        at this shard at the same time."""
        items = [one for one in batch if one.shard == shard]
        leaves = {one.leaf for one in items}
        table, aside = tables.cursors, tables.skipped
        # Written first, so that on either database what follows is ours alone.
        db.execute(insert_for(db, table).values(shard=shard, leaf=min(leaves), n=0).on_conflict_do_nothing())
        raised = update(table).where(table.c.shard == shard).values(n=table.c.n + 1).returning(table.c.leaf, table.c.n)
        row = db.execute(raised).one()
        if self._known.cursors.get(shard, _NEVER_ARRIVED) != row.n - 1:
            self._forget(shard)
        self._known.cursors[shard] = row.n
        below = {leaf for leaf in leaves if leaf < row.leaf}
        waiting: set[int] = set()
        if below:
            mine = (aside.c.shard == shard) & aside.c.leaf.in_(below)
            waiting = {found.leaf for found in db.execute(select(aside.c.leaf).where(mine))}
            db.execute(delete(aside).where(mine))
        end = max(row.leaf, max(leaves) + 1)
        for leaf in range(row.leaf, end):
            if leaf not in leaves:
                db.execute(aside.insert().values(shard=shard, leaf=leaf))
        db.execute(update(table).where(table.c.shard == shard).values(leaf=end))
        return [one for one in items if one.leaf >= row.leaf or one.leaf in waiting]

    def _forget(self, shard: int) -> None:
        """Another engine has been at this shard: what we remember of its machines is old."""
        known = self._known
        gone = {key for key, of in known.shards.items() if of == shard}
        known.memories = {key: value for key, value in known.memories.items() if key not in gone}
        known.shards = {key: of for key, of in known.shards.items() if key not in gone}
        known.views.clear()
        known.plans.clear()

    def _read_rules(self, db: Connection, enterprises: Iterable[str]) -> None:
        now = counting.read(db, "rules")
        for enterprise in enterprises:
            n = now.get(enterprise, 0)
            book = self._known.books.get(enterprise)
            if book is None or book.n != n:
                self._known.books[enterprise] = RuleBook(n, rules.history(db, enterprise))
                self._known.epochs.pop(enterprise, None)
                self._known.views.clear()
                self._known.plans.clear()

    def _learn(self, db: Connection, words: Dictionary) -> None:
        first_rules.ensure(db, words.enterprise, tuple(filter(_usable, words.devices)), now_ms=clock.now_ms())
        self._known.dictionaries.add(words.hash)
        self._read_rules(db, [words.enterprise])

    # ---- a frame

    def _frame(self, db: Connection, one: Committed, touched: set[tuple[str, str]]) -> bool:
        assert one.opened is not None and one.opened.frame is not None and one.opened.dictionary is not None
        words, enterprise = one.opened.dictionary, one.address.enterprise
        if words.hash not in self._known.dictionaries:
            self._learn(db, words)
        view, moved = self._view(db, words, one)
        known = self._known
        for portion in view.portions(one.opened.frame.samples, one.arrival_ms):
            key = (enterprise, portion.device)
            if key not in known.shards:
                continue
            touched.add(key)
            events = self._portion(db, key, portion, one)
            if not portion.late:
                view.note(portion.device, portion.hot)
            if events:
                self._write(db, key, events, late=portion.late)
                moved = True
        return moved

    def _view(self, db: Connection, words: Dictionary, one: Committed) -> tuple[EdgeView, bool]:
        """The edge's machines with the rules in force when the item arrived (never older ones than were in force already)."""
        enterprise, known = one.address.enterprise, self._known
        book = known.books[enterprise]
        epoch = max(book.epoch(one.arrival_ms), known.epochs.get(enterprise, 0))
        if epoch != known.epochs.get(enterprise):
            known.plans.clear()
            known.views.clear()
            known.epochs[enterprise] = epoch
        found = known.views.get((words.hash, epoch))
        if found is not None:
            return found, False
        mine = {spec.uid for spec in words.devices}  # a view of theirs by another dictionary is no longer good
        known.views = {key: view for key, view in known.views.items() if not mine & {d.uid for d in view.devices}}
        in_force, moved = book.in_force(epoch), False
        plans = {spec.uid: Plan() for spec in words.devices}
        memories = {spec.uid: DeviceMemory() for spec in words.devices}
        for spec in filter(_usable, words.devices):
            key = (enterprise, spec.uid)
            remembered = self._memory(db, *key)
            remembered.edge, remembered.type, remembered.simulated = one.address.edge, spec.type, spec.simulated
            known.shards[key] = one.shard
            plan = ready_rules(rules.of_device(in_force, spec.uid, spec.type), frozenset(tag.id for tag in spec.tags))
            known.plans[key] = plans[spec.uid] = plan
            memories[spec.uid] = remembered
            for lane, late in ((remembered.live, False), (remembered.late, True)):
                ended = evaluate.adopt(lane, plan)
                if ended:
                    self._write(db, key, ended, late=late)
                    moved = True
        known.views[words.hash, epoch] = EdgeView(words, plans, memories)
        return known.views[words.hash, epoch], moved

    def _portion(self, db: Connection, key: tuple[str, str], portion: Portion, one: Committed) -> list[Event]:
        remembered, plan = self._known.memories[key], self._known.plans[key]
        if not portion.late:
            events = silence.heard(remembered, plan.stale, one.arrival_ms)
            remembered.heard_ms = max(remembered.heard_ms, one.arrival_ms)
            return events + evaluate.step(remembered.live, plan, portion.rows, raising.new_id, portion.hot)
        lane = remembered.late
        before = {tag: row.t for tag, row in lane.newest.items()}
        spans, times = portion.rows.spans, portion.rows.t
        again = any(int(times[first]) <= before.get(tag, memory.NEVER) for tag, (first, _) in spans.items())
        if again or one.arrival_ms - remembered.late_heard_ms > LATE_MS:
            remembered.late = lane = Lane()  # another stretch of the past
        remembered.late_heard_ms = one.arrival_ms
        events = evaluate.step(lane, plan, portion.rows, raising.new_id, portion.hot)
        raised = {event.alarm for event in events if event.what == "raised"}
        lasting = {state.alarm for state in lane.rules.values() if state.alarm is not None} - raised
        if lasting:
            table = tables.alarms
            db.execute(update(table).where(table.c.alarm.in_(lasting)).values(cleared_ms=lane.watermark))
        return events

    def _write(self, db: Connection, key: tuple[str, str], events: list[Event], *, late: bool) -> None:
        remembered = self._known.memories[key]
        periods = self._periods(key[1])
        source = Source(key[0], remembered.edge, key[1], remembered.simulated, late, clock.now_ms(), periods)
        raising.write(db, events, source, self._span)
        for event in events:
            if event.what in ("raised", "escalated"):
                _log.info("alarm", what=event.what, rule=event.rule.id, device=key[1], level=event.level, late=late)

    def _periods(self, device: str) -> dict[str, int]:
        described = (spec for view in self._known.views.values() for spec in view.devices if spec.uid == device)
        return {tag.id: tag.period_ms for spec in described for tag in spec.tags}

    def _memory(self, db: Connection, enterprise: str, device: str) -> DeviceMemory:
        key = (enterprise, device)
        if key not in self._known.memories:
            table = tables.states
            body = db.execute(
                select(table.c.body).where(table.c.enterprise == enterprise, table.c.device == device)
            ).scalar()
            self._known.memories[key] = DeviceMemory() if body is None else memory.decode(bytes(body))
        return self._known.memories[key]

    def _save(self, db: Connection, enterprise: str, device: str) -> None:
        key = (enterprise, device)
        values = {"body": memory.encode(self._known.memories[key]), "shard": self._known.shards[key]}
        statement = insert_for(db, tables.states).values(enterprise=enterprise, device=device, **values)
        db.execute(statement.on_conflict_do_update(index_elements=["enterprise", "device"], set_=values))

    # ---- time alone

    def _tick(self, db: Connection) -> bool:
        """Of machines of our own shards only: of others another engine takes care."""
        now, known = clock.now_ms(), self._known
        self._read_all(db)
        self._read_rules(db, {enterprise for enterprise, _ in known.memories})
        due: dict[tuple[str, str], list[Event]] = {}
        for key, remembered in known.memories.items():
            book = known.books[key[0]]
            in_use = [rule for rule in book.in_force(book.epoch(now)) if rule.in_use]
            events = silence.retired(remembered, {rule.id for rule in in_use})
            if now > self._behind_until_ms:
                events += silence.silences(key[1], remembered, in_use, listening_ms=self._started_ms, now=now)
            if events:
                due[key] = events
        for shard in {known.shards[key] for key in due}:
            table = tables.cursors
            moved = update(table).where(table.c.shard == shard, table.c.n == known.cursors.get(shard, _NEVER_ARRIVED))
            if db.execute(moved.values(n=table.c.n + 1)).rowcount == 0:
                raise Unavailable("another engine has been at this shard")
            known.cursors[shard] += 1
        for key, events in due.items():
            self._write(db, key, events, late=False)
            self._save(db, *key)
        return bool(due)

    def _read_all(self, db: Connection) -> None:
        known, table, cursors = self._known, tables.states, tables.cursors
        if known.all_read:
            return
        for row in db.execute(select(cursors)):
            if row.shard in self._mine:
                known.cursors.setdefault(row.shard, row.n)
        for row in db.execute(select(table).where(table.c.shard.in_(self._mine))):
            key = (row.enterprise, row.device)
            if key not in known.memories:
                known.memories[key] = memory.decode(bytes(row.body))
                known.shards[key] = row.shard
        known.all_read = True


def _usable(spec: DeviceSpec) -> bool:
    """Whether the database can name this machine. One that it cannot is left without alarms; it must not stop the others."""
    return 0 < len(spec.uid) <= _UID and len(spec.type) <= _TYPE and "\0" not in spec.uid + spec.type
