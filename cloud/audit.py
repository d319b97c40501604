"""The audit log: who changed what, from what to what, for each enterprise one chain of hashes.

An entry is written in the transaction of the change it tells of, so neither exists without the other. Each names the hash of
the one before: an entry that is changed, taken out or put in between breaks the chain at its place.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update

from cloud.schema import people as tables
from ingest.sql import insert_for
from telemetry import clock

if TYPE_CHECKING:
    from cloud.auth import Principal

FIRST = "0" * 64  # what the first entry names as its predecessor
_FIELDS = ("n", "time_ms", "who", "role", "action", "object", "before", "after", "previous")


def lock(db: Connection, enterprise: str) -> tuple[int, str]:
    """Let nobody else change anything audited of this enterprise until the transaction ends; number and hash of the chain's
    newest entry. Taken before reading what a change depends on."""
    heads = tables.audit_heads
    db.execute(insert_for(db, heads).values(enterprise=enterprise, n=0, hash=FIRST).on_conflict_do_nothing())
    db.execute(update(heads).where(heads.c.enterprise == enterprise).values(n=heads.c.n))
    row = db.execute(select(heads.c.n, heads.c.hash).where(heads.c.enterprise == enterprise)).one()
    return int(row.n), str(row.hash)


def record(
    db: Connection,
    who: "Principal | str",
    action: str,
    object: str,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    *,
    enterprise: str | None = None,
) -> dict[str, Any]:
    """Append an entry, in the caller's transaction. `who`: the principal; or a name (of a service, or of whoever is at the
    command line), and then `enterprise` is needed. Never hand in a secret."""
    name, role = (who, "system") if isinstance(who, str) else (who.name, who.role)
    chain = enterprise or ("" if isinstance(who, str) else who.enterprise)
    if not chain:
        raise ValueError("an entry without a principal needs its enterprise")
    n, previous = lock(db, chain)
    entry: dict[str, Any] = {
        "n": n + 1,
        "time_ms": clock.now_ms(),
        "who": name[:64],
        "role": role,
        "action": action,
        "object": object[:256],
        "before": before,
        "after": after,
        "previous": previous,
    }
    entry["hash"] = digest(entry, chain)
    texts = {"before": _canonical(before), "after": _canonical(after)}
    db.execute(insert(tables.audit).values(enterprise=chain, **{**entry, **texts}))
    heads = tables.audit_heads
    db.execute(update(heads).where(heads.c.enterprise == chain).values(n=entry["n"], hash=entry["hash"]))
    return entry


def entries(db: Connection, enterprise: str, *, after: int = 0, limit: int = 500) -> list[dict[str, Any]]:
    """Entries in their order, those with a number above `after`."""
    table = tables.audit
    query = select(table).where(table.c.enterprise == enterprise, table.c.n > after).order_by(table.c.n).limit(limit)
    return [_entry(row) for row in db.execute(query).mappings()]


def newest(db: Connection, enterprise: str, *, limit: int = 100, before: int | None = None) -> list[dict[str, Any]]:
    """The newest entries, newest first; with `before`, of those with a lower number."""
    table = tables.audit
    query = select(table).where(table.c.enterprise == enterprise)
    if before is not None:
        query = query.where(table.c.n < before)
    return [_entry(row) for row in db.execute(query.order_by(table.c.n.desc()).limit(limit)).mappings()]


def digest(entry: dict[str, Any], enterprise: str) -> str:
    """The hash of an entry: SHA-256 of the canonical JSON (sorted keys, no blanks, UTF-8) of all its other fields and the
    enterprise."""
    body = {name: entry[name] for name in _FIELDS} | {"enterprise": enterprise}
    return hashlib.sha256(_canonical(body).encode()).hexdigest()


def verify(some: Iterable[dict[str, Any]], enterprise: str, *, previous: str | None = None) -> int | None:
    """The number of the first entry that does not fit: its own hash, its predecessor's, or its number. None if all do.
    `previous`: the hash before the first of them, if known."""
    last: dict[str, Any] | None = None
    for entry in some:
        expected = previous if last is None else last["hash"]
        if entry["n"] == 1:
            expected = FIRST
        in_line = last is None or entry["n"] == last["n"] + 1
        if not in_line or entry["hash"] != digest(entry, enterprise) or expected not in (None, entry["previous"]):
            return int(entry["n"])
        last = entry
    return None


def _entry(row: Any) -> dict[str, Any]:
    out = {name: row[name] for name in (*_FIELDS, "hash")}
    return out | {name: json.loads(out[name]) for name in ("before", "after")}


def _canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
