"""Reading alarms and notices, and what people do to alarms."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, or_, select, update

from cloud.alarms import counting, raising, tables
from ingest.sql import insert_for

MAX_ALARMS = 1000
MAX_SHELVED_MS = 7 * 86_400_000


class AlarmError(ValueError):
    """What was asked of an alarm cannot be. `code`: unknown_alarm, not_shelved, already_acknowledged, invalid_time."""

    def __init__(self, code: str, zh: str, en: str) -> None:
        super().__init__(en)
        self.code, self.zh, self.en = code, zh, en


def listed(
    db: Connection,
    enterprise: str,
    *,
    now_ms: int,
    only_open: bool = True,
    device: str | None = None,
    rule: str | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    limit: int = 200,
    before_ms: int | None = None,
) -> list[dict[str, Any]]:
    """Alarms of an enterprise. Open ones (active or unacknowledged): worst first, then newest; else newest
    first. `before_ms`: only those raised before."""
    table = tables.alarms
    wanted = [table.c.enterprise == enterprise]
    if only_open:
        wanted.append(or_(table.c.state == "active", table.c.acknowledged_ms.is_(None)))
    for column, value in ((table.c.device, device), (table.c.rule, rule)):
        if value is not None:
            wanted.append(column == value)
    if from_ms is not None:
        wanted.append(table.c.raised_ms >= from_ms)
    if to_ms is not None:
        wanted.append(table.c.raised_ms < to_ms)
    if before_ms is not None:
        wanted.append(table.c.raised_ms < before_ms)
    order = (table.c.priority, table.c.raised_ms.desc()) if only_open else (table.c.raised_ms.desc(),)
    query = select(table).where(and_(*wanted)).order_by(*order, table.c.alarm).limit(min(limit, MAX_ALARMS + 1))
    return _described(db, enterprise, query, now_ms)


def changed_since(db: Connection, enterprise: str, counter: int, *, now_ms: int) -> list[dict[str, Any]]:
    """Alarms that changed after the change counter had this value, in the order of their changes."""
    table = tables.alarms
    query = select(table).where(table.c.enterprise == enterprise, table.c.changed > counter).order_by(table.c.changed)
    return _described(db, enterprise, query.limit(MAX_ALARMS), now_ms)


def get(db: Connection, enterprise: str, alarm: str, *, now_ms: int) -> dict[str, Any]:
    """One alarm. Raises AlarmError."""
    table = tables.alarms
    found = _described(
        db, enterprise, select(table).where(table.c.enterprise == enterprise, table.c.alarm == alarm), now_ms
    )
    if not found:
        raise AlarmError("unknown_alarm", f"没有报警 {alarm}", f"there is no alarm {alarm}")
    return found[0]


def log(db: Connection, alarm: str) -> list[dict[str, Any]]:
    """All that happened to an alarm, oldest first."""
    table = tables.events
    query = select(table).where(table.c.alarm == alarm).order_by(table.c.n)
    return [{"t_ms": row.t_ms, "what": row.what, "by": row.by, "note": row.note} for row in db.execute(query)]


def package(db: Connection, alarm: str) -> tuple[bytes, str] | None:
    """An alarm's package and its SHA-256."""
    table = tables.packages
    row = db.execute(select(table.c.bytes, table.c.sha256).where(table.c.alarm == alarm)).first()
    return None if row is None else (bytes(row.bytes), row.sha256)


def notices(
    db: Connection,
    enterprise: str,
    *,
    alarms: Sequence[str] | None = None,
    from_ms: int | None = None,
    limit: int = 500,
) -> list[dict[str, Any]]:
    """Notices, newest first."""
    table = tables.notices
    query = select(table).where(table.c.enterprise == enterprise)
    if alarms is not None:
        query = query.where(table.c.alarm.in_(alarms))
    if from_ms is not None:
        query = query.where(table.c.t_detect >= from_ms)
    query = query.order_by(table.c.t_detect.desc(), table.c.notice).limit(limit)
    return [
        {
            "id": row.notice,
            "alarm": row.alarm or None,
            "what": row.what,
            "channel": row.channel,
            "t_sample": row.t_sample,
            "t_detect": row.t_detect,
            "t_send": row.t_send,
            "t_accepted": row.t_accepted,
            "attempts": row.attempts,
            "error": row.error,
        }
        for row in db.execute(query)
    ]


def acknowledge(db: Connection, enterprise: str, alarm: str, *, by: str, note: str, now_ms: int) -> None:
    """Somebody has seen it. Raises AlarmError if there is no such alarm, or somebody has before."""
    get(db, enterprise, alarm, now_ms=now_ms)
    table = tables.alarms
    values = {"acknowledged_by": by, "acknowledged_ms": now_ms, "acknowledged_note": note}
    of_it = (table.c.alarm == alarm) & table.c.acknowledged_ms.is_(None)
    if db.execute(update(table).where(of_it).values(**values)).rowcount == 0:
        raise AlarmError("already_acknowledged", "该报警已被确认", "the alarm has been acknowledged before")
    _touch(db, enterprise, table.c.alarm == alarm)
    raising.log(db, alarm, now_ms, "acknowledged", by=by, note=note)


def shelve(db: Connection, enterprise: str, alarm: str, *, by: str, until_ms: int, reason: str, now_ms: int) -> None:
    """Put the alarm's rule on its machine aside for a time: nobody is told meanwhile. Raises AlarmError."""
    one = get(db, enterprise, alarm, now_ms=now_ms)
    key = {"enterprise": enterprise, "rule": one["rule"], "device": one["device"]}
    values = {"by": by, "until_ms": until_ms, "reason": reason}
    statement = insert_for(db, tables.shelves).values(**key, **values)
    db.execute(statement.on_conflict_do_update(index_elements=["enterprise", "rule", "device"], set_=values))
    _touch(db, enterprise, _same(one))
    raising.log(db, alarm, now_ms, "shelved", by=by, note=reason)


def unshelve(db: Connection, enterprise: str, alarm: str, *, by: str, now_ms: int) -> None:
    """End that before its time. Raises AlarmError."""
    one = get(db, enterprise, alarm, now_ms=now_ms)
    if one["shelved"] is None:
        raise AlarmError("not_shelved", "该报警未被搁置", "the alarm is not shelved")
    table = tables.shelves
    db.execute(
        update(table)
        .where(table.c.enterprise == enterprise, table.c.rule == one["rule"], table.c.device == one["device"])
        .values(until_ms=now_ms)
    )
    _touch(db, enterprise, _same(one))
    raising.log(db, alarm, now_ms, "unshelved", by=by)


def _same(one: dict[str, Any]) -> Any:
    table = tables.alarms
    return and_(
        table.c.rule == one["rule"],
        table.c.device == one["device"],
        or_(table.c.state == "active", table.c.acknowledged_ms.is_(None)),
    )


def _touch(db: Connection, enterprise: str, which: Any) -> None:
    changed = counting.bump(db, enterprise, "alarms")
    table = tables.alarms
    db.execute(update(table).where(table.c.enterprise == enterprise, which).values(changed=changed))


def _described(db: Connection, enterprise: str, query: Select[Any], now_ms: int) -> list[dict[str, Any]]:
    rows = db.execute(query).all()
    ids = [row.alarm for row in rows]
    packages, shelves = tables.packages, tables.shelves
    sizes = {
        row.alarm: (row.size, row.sha256)
        for row in db.execute(
            select(packages.c.alarm, func.length(packages.c.bytes).label("size"), packages.c.sha256).where(
                packages.c.alarm.in_(ids)
            )
        )
    }
    shelved = {
        (row.rule, row.device): {"by": row.by, "until_ms": row.until_ms, "reason": row.reason}
        for row in db.execute(select(shelves).where(shelves.c.enterprise == enterprise, shelves.c.until_ms > now_ms))
    }
    told: dict[str, list[dict[str, Any]]] = {}
    for notice in reversed(notices(db, enterprise, alarms=ids, limit=20 * MAX_ALARMS) if ids else []):
        told.setdefault(notice["alarm"], []).append(notice)
    return [
        _alarm(row, sizes.get(row.alarm), shelved.get((row.rule, row.device)), told.get(row.alarm, [])) for row in rows
    ]


def _alarm(
    row: Row[Any], package: tuple[int, str] | None, shelved: dict[str, Any] | None, told: list[dict[str, Any]]
) -> dict[str, Any]:
    acknowledged = None
    if row.acknowledged_ms is not None:
        acknowledged = {"by": row.acknowledged_by, "at_ms": row.acknowledged_ms, "note": row.acknowledged_note}
    same = ("rule", "rule_version", "device", "tag", "zh", "en", "priority", "level", "state", "limit")
    return {
        "id": row.alarm,
        **{name: getattr(row, name) for name in same},
        "trigger": {"t": row.trigger_t, "v": row.trigger_v, "q": row.trigger_q},
        "t_sample": row.t_sample,
        "raised_ms": row.raised_ms,
        "detected_ms": row.detected_ms,
        "cleared_ms": row.cleared_ms,
        "acknowledged": acknowledged,
        "shelved": shelved,
        "late": row.late,
        "simulated": row.simulated,
        "package": {
            "state": row.package,
            "bytes": None if package is None else package[0],
            "sha256": None if package is None else package[1],
        },
        "notices": told,
    }
