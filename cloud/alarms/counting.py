"""Change counters: whoever keeps something of the alarm tables in memory sees by one number when to look again."""

from sqlalchemy import Connection, select

from cloud.alarms import tables
from ingest.sql import insert_for


def bump(db: Connection, enterprise: str, name: str) -> int:
    """Raise a counter within the caller's transaction; gives its new value."""
    table = tables.counters
    statement = insert_for(db, table).values(enterprise=enterprise, name=name, n=1)
    raised = statement.on_conflict_do_update(index_elements=["enterprise", "name"], set_={"n": table.c.n + 1})
    return int(db.execute(raised.returning(table.c.n)).scalar_one())


def read(db: Connection, name: str) -> dict[str, int]:
    """The counter of every enterprise that has one."""
    table = tables.counters
    query = select(table.c.enterprise, table.c.n).where(table.c.name == name)
    return {row.enterprise: row.n for row in db.execute(query)}
