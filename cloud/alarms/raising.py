"""Events of the evaluation written down: alarms, their log, notices to send and windows to ask for. All within the caller's
transaction, so that they are there exactly if the batch is."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from sqlalchemy import Connection, select, update

from cloud.alarms import counting, rules, tables
from cloud.alarms.evaluate import Event
from telemetry import clock

_MAX_WINDOW_MS = 15 * 60_000
GIVE_UP_MS = 15 * 60_000
_BESIDE_MS, _LONGEST_AFTER_MS = 1_000, 120_000


@dataclass(frozen=True, slots=True)
class Source:
    """Where an event comes from. `late`: it is of the past, so nobody is told. `detected_ms`: the cloud's clock. `periods_ms`:
    how often each tag of the device is acquired."""

    enterprise: str
    edge: str
    device: str
    simulated: bool
    late: bool
    detected_ms: int
    periods_ms: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class WindowSpan:
    """How much before the condition began to hold and after the alarm was raised belongs to its package: two periods of the
    rule's tag at least, else nobody sees how it went on."""

    before_ms: int = 60_000
    after_ms: int = 10_000


def write(db: Connection, events: list[Event], source: Source, span: WindowSpan) -> None:
    """Write events in their order. Rows that came late may tell again of a time of which the live ones have told: an edge
    that sends after a break sends out of order. Nothing is raised a second time by them."""
    for event in events:
        if source.late and _told_already(db, event, source):
            continue
        changed = counting.bump(db, source.enterprise, "alarms")
        if event.what == "raised":
            _raise(db, event, source, changed)
            _ask_window(db, event, source, span)
        else:
            _move(db, event, source, changed)
        log(db, event.alarm, source.detected_ms, event.what, note=event.note or _said(event))
        if not source.late:
            _notify(db, event, source)


def _told_already(db: Connection, event: Event, source: Source) -> bool:
    table = tables.alarms
    if event.what != "raised":
        return db.execute(select(table.c.alarm).where(table.c.alarm == event.alarm)).first() is None
    same = (table.c.enterprise == source.enterprise) & (table.c.device == source.device)
    query = select(table.c.alarm).where(
        same,
        table.c.rule == event.rule.id,
        table.c.late.is_(False),
        table.c.holding_ms <= event.raised_ms,
        table.c.cleared_ms.is_(None) | (table.c.cleared_ms >= event.holding_ms),
    )
    return db.execute(query).first() is not None


def log(db: Connection, alarm: str, t_ms: int, what: str, *, by: str | None = None, note: str | None = None) -> None:
    """A line of an alarm's log."""
    db.execute(tables.events.insert().values(alarm=alarm, t_ms=t_ms, what=what, by=by, note=note or None))


def _said(event: Event) -> str:
    if event.what in ("raised", "escalated"):
        limit = "" if event.limit is None else f", limit {event.limit:g}"
        return f"{event.level}: {event.trigger.v:g} at {event.trigger.t}{limit}"
    return f"at {event.at_ms}"


def _raise(db: Connection, event: Event, source: Source, changed: int) -> None:
    rule = event.rule
    db.execute(
        tables.alarms.insert().values(
            alarm=event.alarm,
            enterprise=source.enterprise,
            edge=source.edge,
            device=source.device,
            rule=rule.id,
            rule_version=rule.version,
            tag=rule.tag,
            zh=rule.zh,
            en=rule.en,
            priority=rule.priority,
            level=event.level,
            # Of the past: nothing that is so now. When it ended is known once the late rows have said so.
            state="cleared" if source.late else "active",
            cleared_ms=event.at_ms if source.late else None,
            limit=event.limit,
            trigger_t=event.trigger.t,
            trigger_v=None if rule.kind == "stale" else event.trigger.v,
            trigger_q=event.trigger.q,
            t_sample=event.t_sample,
            raised_ms=event.raised_ms,
            holding_ms=event.holding_ms,
            detected_ms=source.detected_ms,
            late=source.late,
            simulated=source.simulated,
            package="none",
            changed=changed,
        )
    )


def _move(db: Connection, event: Event, source: Source, changed: int) -> None:
    values: dict[str, object] = {"changed": changed}
    if event.what == "escalated":
        values |= {"level": event.level, "limit": event.limit, "rule_version": event.rule.version}
        if source.late:
            values["cleared_ms"] = event.at_ms
    elif event.what == "cleared":
        values |= {"state": "cleared", "cleared_ms": event.at_ms}
    else:
        values |= {
            "state": "cleared" if source.late else "retired",
            "cleared_ms": event.at_ms if source.late else source.detected_ms,
        }
    db.execute(update(tables.alarms).where(tables.alarms.c.alarm == event.alarm).values(**values))


def _ask_window(db: Connection, event: Event, source: Source, span: WindowSpan) -> None:
    periods_ms = 2 * source.periods_ms.get(event.rule.tag, 0) + _BESIDE_MS
    to_ms = event.raised_ms + max(span.after_ms, min(periods_ms, _LONGEST_AFTER_MS))
    too_old = to_ms < source.detected_ms - _MAX_WINDOW_MS  # the edge's ring has nothing of it any more
    if event.rule.kind == "stale" or too_old:
        return
    from_ms = max(event.holding_ms - span.before_ms, to_ms - _MAX_WINDOW_MS)
    db.execute(
        tables.requests.insert().values(
            alarm=event.alarm,
            enterprise=source.enterprise,
            edge=source.edge,
            device=source.device,
            from_ms=from_ms,
            to_ms=to_ms,
            asked_ms=None,
            until_ms=source.detected_ms + GIVE_UP_MS,
            done=False,
        )
    )
    db.execute(update(tables.alarms).where(tables.alarms.c.alarm == event.alarm).values(package="asked"))


def _notify(db: Connection, event: Event, source: Source) -> None:
    alarm = db.execute(select(tables.alarms).where(tables.alarms.c.alarm == event.alarm)).one()
    if is_shelved(db, source.enterprise, alarm.rule, source.device, source.detected_ms):
        return
    wanted = _channels_of(db, source.enterprise, alarm.rule, alarm.rule_version)
    what = "cleared" if event.what == "retired" else event.what
    value, limit, t_sample = alarm.trigger_v, alarm.limit, alarm.t_sample
    if event.what in ("cleared", "escalated"):
        value, t_sample = event.trigger.v if event.rule.kind != "stale" else None, event.t_sample
    body = {
        "alarm": event.alarm,
        "rule": alarm.rule,
        "rule_version": alarm.rule_version,
        "device": source.device,
        "tag": alarm.tag,
        "level": alarm.level,
        "what": what,
        "value": value,
        "limit": limit,
        "t_sample": t_sample,
        "t_detect": source.detected_ms,
        "simulated": source.simulated,
        "zh": alarm.zh,
        "en": alarm.en,
        "priority": alarm.priority,
    }
    there_are = open_channels(db, source.enterprise, source.detected_ms)
    if wanted and not set(wanted) & set(there_are):
        log(db, event.alarm, source.detected_ms, "channels gone", note="every open channel is told instead")
        wanted = []
    for channel in there_are:
        if not wanted or channel in wanted:
            queue(db, source.enterprise, channel, event.alarm, what, body)


def queue(db: Connection, enterprise: str, channel: str, alarm: str, what: str, body: Mapping[str, object]) -> str:
    """Put a notice into the outbox; gives its id."""
    notice = new_id()
    db.execute(
        tables.notices.insert().values(
            notice=notice,
            enterprise=enterprise,
            alarm=alarm,
            channel=channel,
            what=what,
            body=orjson.dumps(dict(body)).decode(),
            t_sample=body["t_sample"],
            t_detect=body["t_detect"],
            attempts=0,
            next_ms=clock.now_ms(),
        )
    )
    return notice


def _channels_of(db: Connection, enterprise: str, rule: str, version: int) -> list[str]:

    found = rules.version(db, enterprise, rule, version)
    return [] if found is None else found.channels


def open_channels(db: Connection, enterprise: str, now_ms: int) -> list[str]:
    """Ids of the channels that take notices now."""
    table = tables.channels
    query = select(table.c.channel).where(
        table.c.enterprise == enterprise,
        table.c.enabled.is_(True),
        table.c.removed_ms.is_(None),
        (table.c.until_ms.is_(None)) | (table.c.until_ms > now_ms),
    )
    return [row.channel for row in db.execute(query.order_by(table.c.channel))]


def is_shelved(db: Connection, enterprise: str, rule: str, device: str, now_ms: int) -> bool:
    """Whether somebody has put this rule aside on this machine for a time."""
    table = tables.shelves
    query = select(table.c.until_ms).where(
        table.c.enterprise == enterprise,
        table.c.rule == rule,
        table.c.device == device,
        table.c.until_ms > now_ms,
    )
    return db.execute(query).first() is not None


def new_id() -> str:
    """An id of 16 random bytes, in hex."""

    return os.urandom(16).hex()
