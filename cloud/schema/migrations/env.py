"""Alembic's entrance: migrations run on the connection that is given, within its transaction."""

from alembic import context

from cloud.schema import INGESTS, all_tables


def _ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or not (name or "").startswith(INGESTS)


context.configure(connection=context.config.attributes["connection"], target_metadata=all_tables(), include_name=_ours)
context.run_migrations()
