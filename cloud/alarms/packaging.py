"""An alarm's package out of what the database and the ledger hold: everything that it needs, gathered for `package.build`."""

from typing import Any

import structlog
from sqlalchemy import Connection

from cloud.alarms import package, rules, store
from ingest.index import Committed
from telemetry import clock

_log = structlog.get_logger(__name__)


def make(db: Connection, enterprise: str, alarm: str, items: list[Committed]) -> bytes | None:
    """The package; None if it cannot be made of what came."""
    described = store.get(db, enterprise, alarm, now_ms=clock.now_ms())
    rule = rules.version(db, enterprise, described["rule"], described["rule_version"])
    windows = [one.opened.window for one in items if one.opened is not None and one.opened.window is not None]
    sealed: list[dict[str, Any]] = [
        {
            "edge": one.address.edge,
            "stream": one.item.header.stream.hex(),
            "sequence": one.item.header.sequence,
            "hash": one.item.hash.hex(),
        }
        for one in items
    ]
    try:
        return package.build(
            described,
            {} if rule is None else rule.model_dump(),
            windows,
            sealed=sealed,
            made_ms=clock.now_ms(),
        )
    except (ValueError, KeyError) as error:
        _log.error("an alarm's package cannot be made", alarm=alarm, reason=str(error))
        return None
