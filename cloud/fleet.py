"""The machines of an enterprise: who they are and which edges carry them, out of the edges' dictionaries; and the register,
which remembers which gateway carried a machine when.
"""

import asyncio
import json
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from cloud.errors import ApiError
from cloud.schema import fleet as tables
from ingest import tables as ingest_tables
from ingest.catalogue import Catalogue
from ingest.sql import insert_for
from telemetry import dictionary
from telemetry.dictionary import DeviceSpec, Dictionary, DictionaryError
from telemetry.topics import Address

_log = structlog.get_logger(__name__)

_LONGEST_UID = 128


@dataclass(frozen=True, slots=True)
class Carried:
    """A machine, the dictionary that describes it now, and every edge that carries it (one, unless it was moved)."""

    spec: DeviceSpec
    dictionary: Dictionary
    edges: tuple[Address, ...]

    @property
    def edge(self) -> str:
        """The edge that carries it now."""
        return self.edges[-1].edge


@dataclass(frozen=True, slots=True)
class Gateway:
    """An edge that carried a machine; `to_ms` None: it still does. Times are the cloud's, of the declarations' arrival."""

    edge: str
    from_ms: int
    to_ms: int | None


async def devices(catalogue: Catalogue, enterprise: str) -> dict[str, Carried]:
    """All machines by uid."""
    out: dict[str, Carried] = {}
    for words in await asyncio.to_thread(catalogue.dictionaries, enterprise):
        address = Address(words.enterprise, words.edge)
        for spec in words.devices:
            before = out[spec.uid].edges if spec.uid in out else ()
            out[spec.uid] = Carried(spec, words, (*before, address))
    return out


async def device(catalogue: Catalogue, enterprise: str, uid: str) -> Carried:
    """One machine. Raises ApiError for one that the enterprise does not have (which may be another's)."""
    found = (await devices(catalogue, enterprise)).get(uid)
    if found is None:
        raise ApiError(404, "unknown_device", f"没有设备 {uid}", f"there is no device {uid}")
    return found


# ---- the register


def sync(database: Engine, enterprise: str | None = None) -> int:
    """Bring the register up to what edges have declared since the last time, of one enterprise or of all; how many
    declarations were new. A dictionary that comes again counts as a new declaration. Safe to run anywhere, any time."""
    words = ingest_tables.dictionaries
    query = select(words.c.enterprise, func.max(words.c.arrival_ms)).group_by(words.c.enterprise)
    if enterprise is not None:
        query = query.where(words.c.enterprise == enterprise)
    new = 0
    with database.connect() as db:
        newest: dict[str, int] = {row[0]: row[1] for row in db.execute(query)}
        known = {row.enterprise: row.arrival_ms for row in db.execute(select(tables.synced))}
    for name, arrival_ms in newest.items():
        if known.get(name, -1) < arrival_ms:
            with database.begin() as db:
                new += _sync(db, name)
    return new


def _sync(db: Connection, enterprise: str) -> int:
    synced, words = tables.synced, ingest_tables.dictionaries
    db.execute(insert_for(db, synced).values(enterprise=enterprise, arrival_ms=-1).on_conflict_do_nothing())
    mine = synced.c.enterprise == enterprise
    db.execute(update(synced).where(mine).values(arrival_ms=synced.c.arrival_ms))  # only one at a time goes on
    since = int(db.execute(select(synced.c.arrival_ms).where(mine)).scalar_one())
    query = select(words.c.body, words.c.arrival_ms).where(words.c.enterprise == enterprise, words.c.arrival_ms > since)
    rows = db.execute(query.order_by(words.c.arrival_ms, words.c.order)).all()
    for row in rows:
        _declare(db, dictionary.decode(bytes(row.body)), int(row.arrival_ms))
        since = int(row.arrival_ms)
    db.execute(update(synced).where(mine).values(arrival_ms=since))
    return len(rows)


def _declare(db: Connection, words: Dictionary, at_ms: int) -> None:
    """An edge says which machines it carries: others carry them no longer, and it no others."""
    table = tables.gateways
    open_ = (table.c.enterprise == words.enterprise) & table.c.to_ms.is_(None)
    carrying = {row.device: row.edge for row in db.execute(select(table).where(open_))}
    declared = {spec.uid: spec for spec in words.devices if len(spec.uid) <= _LONGEST_UID}
    ended = [uid for uid, edge in carrying.items() if (uid in declared) != (edge == words.edge)]
    for uid in ended:
        db.execute(update(table).where(open_, table.c.device == uid).values(to_ms=at_ms))
    for uid, spec in declared.items():
        if carrying.get(uid) != words.edge:
            row = {"edge": words.edge, "to_ms": None}
            statement = insert_for(db, table).values(enterprise=words.enterprise, device=uid, from_ms=at_ms, **row)
            db.execute(statement.on_conflict_do_update(index_elements=["enterprise", "device", "from_ms"], set_=row))
        _enter(db, words.enterprise, spec, at_ms)


def _enter(db: Connection, enterprise: str, spec: DeviceSpec, at_ms: int) -> None:
    row = {
        "type": spec.type,
        "name": spec.name,
        "simulated": spec.simulated,
        "nameplate": json.dumps(dict(spec.nameplate), ensure_ascii=False, sort_keys=True),
        "declared_ms": at_ms,
    }
    table = tables.devices
    of_it = (table.c.enterprise == enterprise) & (table.c.device == spec.uid)
    if db.execute(update(table).where(of_it).values(**row)).rowcount == 0:
        db.execute(insert(table).values(enterprise=enterprise, device=spec.uid, first_ms=at_ms, **row))


def registered(db: Connection, enterprise: str, uid: str) -> tuple[int | None, list[Gateway]]:
    """When a machine was first declared, and the gateways that carried it, oldest first."""
    table, known = tables.gateways, tables.devices
    first = db.execute(select(known.c.first_ms).where(known.c.enterprise == enterprise, known.c.device == uid)).scalar()
    query = select(table).where(table.c.enterprise == enterprise, table.c.device == uid).order_by(table.c.from_ms)
    return first, [Gateway(row.edge, row.from_ms, row.to_ms) for row in db.execute(query)]


async def keep_synced(database: Engine, period_s: float = 2.0) -> None:
    """Keep the register up to date until cancelled."""
    while True:
        try:
            await asyncio.to_thread(sync, database)
        except (SQLAlchemyError, DictionaryError) as error:
            _log.error("the register of machines is not up to date", reason=str(error))
        await asyncio.sleep(period_s)
