"""The outbox of notices: what the engine queued goes out through apprise, is tried again with growing pauses, and its times
are kept: when it was handed to the channel, and when the channel took it.

A notice is claimed in SQL before it is sent, so that two workers do not send it twice; one whose sender died in between is
tried again: at least once, not at most once. A channel has one notice under way at a time, in a thread of the sender's own
and within fixed time limits, so that a receiver that hangs holds up nobody but itself.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import apprise
import orjson
import structlog
from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import SQLAlchemyError

from cloud.alarms import counting, tables
from telemetry import clock

_log = structlog.get_logger(__name__)

_POLL_S = 0.5
_AT_ONCE = 16
_CONNECT_S, _ANSWER_S, _TIMEOUT_S = 4.0, 10.0, 20.0
_LOOK_S = 1.0  # as long a round waits for what it has sent
_CLAIM_MS = 60_000
_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 1_000, 300_000
_GIVE_UP_MS = 24 * 3_600_000

_TITLES = {
    "raised": ("报警", "ALARM"),
    "escalated": ("报警升级", "ALARM ESCALATED"),
    "cleared": ("报警恢复", "ALARM CLEARED"),
    "test": ("测试通知", "TEST"),
}


@dataclass(frozen=True, slots=True)
class Due:
    """A claimed notice."""

    notice: str
    enterprise: str
    alarm: str
    channel: str
    url: str
    what: str
    body: dict[str, Any]
    attempts: int
    t_send: int


class Sender:
    """Sends what is due until cancelled. `wake` may be set when something was queued."""

    def __init__(self, engine: Engine, wake: asyncio.Event) -> None:
        self._engine = engine
        self._wake = wake
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="notice")
        self._busy: dict[str, asyncio.Task[None]] = {}  # by channel

    async def run(self) -> None:
        """Send for ever."""
        try:
            await self._run()
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        failing = False
        while True:
            self._wake.clear()
            try:
                sent = await self.send_due()
                failing = False
            except SQLAlchemyError as error:
                sent = 0
                if not failing:
                    _log.warning("notices wait", why=type(error).__name__)
                failing = True
            if not sent:
                try:
                    await asyncio.wait_for(self._wake.wait(), _POLL_S)
                except TimeoutError:
                    continue

    async def send_due(self) -> int:
        """Send what is due now; gives how many were tried."""
        due = await asyncio.to_thread(self._claim, frozenset(self._busy))
        tasks = [asyncio.create_task(self._deliver(one), name="notice") for one in due]
        for one, task in zip(due, tasks, strict=True):
            self._busy[one.channel] = task
            task.add_done_callback(lambda _, channel=one.channel: self._busy.pop(channel, None))
        if tasks:
            await asyncio.wait(tasks, timeout=_LOOK_S)
        return len(due)

    async def _deliver(self, one: Due) -> None:
        result = await self._send(one)
        try:
            await asyncio.to_thread(self._record, one, result)
        except SQLAlchemyError as error:  # its claim ends by itself, and it is sent again
            _log.warning("what became of a notice cannot be kept", notice=one.notice, why=type(error).__name__)

    def _claim(self, busy: frozenset[str] = frozenset()) -> list[Due]:
        now, table, channels = clock.now_ms(), tables.notices, tables.channels
        claimed: list[Due] = []
        query = (
            select(table, channels.c.url, channels.c.enabled, channels.c.until_ms)
            .join(channels, channels.c.channel == table.c.channel)
            .where(table.c.next_ms <= now)
            .order_by(table.c.next_ms, table.c.t_detect)
            .limit(16 * _AT_ONCE)
        )
        with self._engine.connect() as db:
            rows = db.execute(query).all()
        if not rows:
            return []
        with self._engine.begin() as db:
            taken = set(busy)
            for row in rows:
                if row.channel in taken:
                    continue
                mine = (table.c.notice == row.notice) & (table.c.next_ms == row.next_ms)
                if not row.enabled or (row.until_ms is not None and row.until_ms <= now):
                    db.execute(update(table).where(mine).values(next_ms=None, error="the channel has ended"))
                    continue
                values = {"next_ms": now + _CLAIM_MS, "attempts": row.attempts + 1, "t_send": now}
                if db.execute(update(table).where(mine).values(**values)).rowcount:
                    taken.add(row.channel)
                    body = orjson.loads(row.body)
                    claimed.append(
                        Due(
                            row.notice,
                            row.enterprise,
                            row.alarm,
                            row.channel,
                            row.url,
                            row.what,
                            body,
                            row.attempts + 1,
                            now,
                        )
                    )
        return claimed

    async def _send(self, one: Due) -> tuple[int | None, str | None]:
        """(when it was accepted, why it was not)."""
        title, body = text(one.what, one.body, one.t_send)
        kind = apprise.NotifyType.SUCCESS if one.what == "cleared" else apprise.NotifyType.WARNING

        def send() -> bool:
            made = apprise.Apprise.instantiate(one.url)
            if not isinstance(made, apprise.NotifyBase):
                raise ValueError("the address cannot be used")
            # An address may name limits of its own; ours hold.
            made.socket_connect_timeout, made.socket_read_timeout = _CONNECT_S, _ANSWER_S
            made.redirects = False
            service = apprise.Apprise()
            service.add(made)
            accepted = service.notify(
                body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT, interpret_escapes=False
            )
            return bool(accepted)

        sending = asyncio.get_running_loop().run_in_executor(self._threads, send)
        try:
            accepted = await asyncio.wait_for(sending, _TIMEOUT_S)
        except TimeoutError:
            return None, "no answer in time"
        except (OSError, ValueError, TypeError) as error:
            return None, type(error).__name__  # its text may hold the address
        return (clock.now_ms(), None) if accepted else (None, "not accepted by the receiver")

    def _record(self, one: Due, result: tuple[int | None, str | None]) -> None:
        (accepted, error), table, now = result, tables.notices, clock.now_ms()
        values: dict[str, Any] = {"t_accepted": accepted, "error": error, "next_ms": None}
        if accepted is None:
            pause = min(_FIRST_PAUSE_MS << min(one.attempts - 1, 20), _LONGEST_PAUSE_MS)
            given_up = now - int(one.body["t_detect"]) > _GIVE_UP_MS
            values["next_ms"] = None if given_up else now + pause
            if one.attempts == 1:
                _log.warning("notice not accepted", notice=one.notice, channel=one.channel, reason=error)
        still = (table.c.notice == one.notice) & table.c.next_ms.is_not(None)  # not if the channel was removed
        with self._engine.begin() as db:
            db.execute(update(table).where(still).values(**values))
            _mark_changed(db, one)


def _mark_changed(db: Connection, one: Due) -> None:
    if one.alarm:
        changed = counting.bump(db, one.enterprise, "alarms")
        db.execute(update(tables.alarms).where(tables.alarms.c.alarm == one.alarm).values(changed=changed))


def text(what: str, body: dict[str, Any], t_send: int) -> tuple[str, str]:
    """Title and message; the message's last line is JSON, for programs."""
    zh, en = _TITLES[what]
    mark = "【仿真数据 SIMULATED】" if body["simulated"] else ""
    title = f"{mark}{zh} {en}: {body.get('zh') or ''} {body['device']}".strip()
    limit = "" if body["limit"] is None else f"，限值 limit {body['limit']:g}"
    value = "—" if body["value"] is None else f"{body['value']:g}"
    lines = [
        f"{mark}{zh}：{body.get('zh') or ''} / {en.lower()}: {body.get('en') or ''}",
        f"设备 device {body['device']}，测点 tag {body['tag'] or '—'}，级别 level {body['level']}",
        f"数值 value {value}{limit}",
    ]
    keys = ("alarm", "rule", "rule_version", "device", "tag", "level", "value", "limit", "t_sample", "t_detect")
    machine = {key: body[key] for key in keys} | {"what": what, "t_send": t_send, "simulated": body["simulated"]}
    return title, "\n".join([*lines, orjson.dumps({"starproof": machine}).decode()])
