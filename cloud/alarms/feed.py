"""Changes of alarms, pushed to live clients: {"type": "alarm", …the alarm}. The change counter in SQL is looked at twice a
second; what changed meanwhile goes out in its newest state, each alarm once."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud.alarms import counting, store
from cloud.live import LiveHub
from telemetry import clock

_log = structlog.get_logger(__name__)

POLL_S = 0.5


class AlarmFeed:
    """Tells a hub's clients of their enterprise's alarms until cancelled."""

    def __init__(self, engine: Engine, hub: LiveHub) -> None:
        self._engine = engine
        self._hub = hub
        self._seen: dict[str, int] | None = None  # enterprise → change counter

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Look and tell for as long as the block lasts, of what changes from now on."""
        await asyncio.to_thread(self._changes)
        task = asyncio.create_task(self.run(), name="alarm feed")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def run(self) -> None:
        """Look and tell for ever."""
        failing = False
        while True:
            try:
                for enterprise, alarm in await asyncio.to_thread(self._changes):
                    self._hub.tell(enterprise, {"type": "alarm", **alarm})
                failing = False
            except SQLAlchemyError as error:
                if not failing:
                    _log.warning("alarm changes cannot be read now", why=type(error).__name__)
                failing = True
            await asyncio.sleep(POLL_S)

    def _changes(self) -> Iterable[tuple[str, dict[str, object]]]:
        out: list[tuple[str, dict[str, object]]] = []
        with self._engine.connect() as db:
            now = counting.read(db, "alarms")
            if self._seen is None:  # what was before is asked for, not pushed
                self._seen = now
            for enterprise, n in now.items():
                before = self._seen.get(enterprise, 0)
                if n == before:
                    continue
                for alarm in store.changed_since(db, enterprise, before, now_ms=clock.now_ms()):
                    out.append((enterprise, alarm))
        self._seen = now
        return out
