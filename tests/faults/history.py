"""Faults of history and of what is shown of it (device.mon.trace)."""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starproof.demo.run import DemoPlant
from tests.faults.altered import Answer
from tests.faults.kinds import Fault, Inject, every, nothing, of, through

TRACE = "device.mon.trace"
EVERY_NTH = 3  # row of a machine; the windows that the verifier draws are short
EDITED = "pv-1"


def historian_changed(change: str, back: str) -> Inject:
    """Somebody at the historian: `change` is SQL over the rows in the temporary table `chosen` (series, time, value),
    `back` puts them right again."""

    @asynccontextmanager
    async def inject(plant: DemoPlant) -> AsyncIterator[None]:
        db = sqlite3.connect(plant.layout.state / "cloud" / "historian.db", timeout=30, isolation_level=None)
        try:
            db.execute(
                """CREATE TEMP TABLE chosen AS SELECT series, time, value, quality, origin FROM
                (SELECT *, row_number() OVER (PARTITION BY series ORDER BY time) AS n FROM samples
                 WHERE series IN (SELECT id FROM series WHERE device = ?) AND typeof(value) = 'real')
                WHERE n % ? = 0""",
                (EDITED, EVERY_NTH),
            )
            db.execute(change)
            try:
                yield
            finally:
                db.execute(back)
        finally:
            db.close()

    return inject


THESE = "(series, time) IN (SELECT series, time FROM chosen)"
PUT_BACK = "INSERT OR REPLACE INTO samples SELECT series, time, value, quality, origin FROM chosen"
edited = historian_changed(f"UPDATE samples SET value = value * 1.02 + 0.5 WHERE {THESE}", PUT_BACK)
removed = historian_changed(f"DELETE FROM samples WHERE {THESE}", PUT_BACK)
added = historian_changed(
    "INSERT OR IGNORE INTO samples SELECT series, time + 137, value, quality, origin FROM chosen",
    "DELETE FROM samples WHERE (series, time) IN (SELECT series, time + 137 FROM chosen)",
)


def answers_changed(part: str, change: Callable[[Any], None]) -> Inject:
    """A web service whose JSON answers at paths that contain `part` are changed in place."""

    def alter(answer: Answer) -> bytes:
        if part not in answer.path or answer.status != 200 or not answer.body.startswith(b"{"):
            return answer.body
        body = json.loads(answer.body)
        change(body)
        return json.dumps(body).encode()

    def inject(plant: DemoPlant) -> AbstractAsyncContextManager[None]:
        return through(plant, answer=alter)

    return inject


def features_of_points(body: Any) -> None:
    """Mean and standard deviation are those of the points drawn, extremes kept, not those of the rows."""
    for one in body.get("series", ()):
        drawn = [v for _, v in one["points"] if v is not None][::2]
        if drawn and one.get("features"):
            mean = sum(drawn) / len(drawn)
            one["features"] |= {"mean": mean, "std": (sum((v - mean) ** 2 for v in drawn) / len(drawn)) ** 0.5}


WRONG_ROWS: dict[str, Any] = {
    "fail": of(EDITED, "tr.1"),
    "blocked": of(EDITED, "tr.2", "tr.3", "tr.4", "tr.5"),
    "criterion": TRACE,
}

HISTORY: tuple[Fault, ...] = (
    Fault("trace_healthy", "无故障（信息追溯）", nothing, criterion=TRACE),
    Fault("rows_edited", "历史库中的数据被改动", edited, **WRONG_ROWS),
    Fault("rows_added", "历史库中多出数据", added, **WRONG_ROWS),
    Fault("rows_removed", "历史库中的数据被删除", removed, **WRONG_ROWS),
    Fault(
        "features_of_drawn_points",
        "图表特征值按降采样后的点计算",
        answers_changed("/api/v1/trend", features_of_points),
        fail=every("tr.4"),
        criterion=TRACE,
    ),
)
