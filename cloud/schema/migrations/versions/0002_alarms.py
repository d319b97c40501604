"""The alarm room: rules and their versions, what the engine remembers, alarms, notices, packages.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The tables of cloud/alarms/tables.py as they were at this revision."""
    op.create_table(
        "alarm_rules",
        sa.Column("enterprise", sa.String(64), primary_key=True),
        sa.Column("rule", sa.String(128), primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(128)),
        sa.Column("type", sa.String(64)),
        sa.Column("retired_ms", sa.BigInteger()),
    )
    op.create_table(
        "alarm_rule_versions",
        sa.Column("enterprise", sa.String(64), primary_key=True),
        sa.Column("rule", sa.String(128), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.String(128), nullable=False),
    )
    op.create_table(
        "alarm_counters",
        sa.Column("enterprise", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("n", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "alarm_cursors",
        sa.Column("shard", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("leaf", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "alarm_skipped",
        sa.Column("shard", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("leaf", sa.BigInteger(), primary_key=True, autoincrement=False),
    )
    op.create_table(
        "alarm_states",
        sa.Column("enterprise", sa.String(64), primary_key=True),
        sa.Column("device", sa.String(128), primary_key=True),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "alarms",
        sa.Column("alarm", sa.String(32), primary_key=True),
        sa.Column("enterprise", sa.String(64), nullable=False),
        sa.Column("edge", sa.String(64), nullable=False),
        sa.Column("device", sa.String(128), nullable=False),
        sa.Column("rule", sa.String(128), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(128), nullable=False),
        sa.Column("zh", sa.Text(), nullable=False),
        sa.Column("en", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("limit", sa.Float()),
        sa.Column("trigger_t", sa.BigInteger(), nullable=False),
        sa.Column("trigger_v", sa.Float()),
        sa.Column("trigger_q", sa.Integer(), nullable=False),
        sa.Column("t_sample", sa.BigInteger(), nullable=False),
        sa.Column("raised_ms", sa.BigInteger(), nullable=False),
        sa.Column("holding_ms", sa.BigInteger(), nullable=False),
        sa.Column("detected_ms", sa.BigInteger(), nullable=False),
        sa.Column("cleared_ms", sa.BigInteger()),
        sa.Column("acknowledged_by", sa.String(128)),
        sa.Column("acknowledged_ms", sa.BigInteger()),
        sa.Column("acknowledged_note", sa.Text()),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("package", sa.String(16), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
    )
    op.create_index("alarms_open", "alarms", ["enterprise", "state"])
    op.create_index("alarms_time", "alarms", ["enterprise", "raised_ms"])
    op.create_index("alarms_changed", "alarms", ["enterprise", "changed"])
    op.create_table(
        "alarm_events",
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("alarm", sa.String(32), nullable=False),
        sa.Column("t_ms", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("by", sa.String(128)),
        sa.Column("note", sa.Text()),
    )
    op.create_index("alarm_events_alarm", "alarm_events", ["alarm"])
    op.create_table(
        "alarm_shelves",
        sa.Column("enterprise", sa.String(64), primary_key=True),
        sa.Column("rule", sa.String(128), primary_key=True),
        sa.Column("device", sa.String(128), primary_key=True),
        sa.Column("by", sa.String(128), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )
    op.create_table(
        "alarm_channels",
        sa.Column("channel", sa.String(32), primary_key=True),
        sa.Column("enterprise", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("until_ms", sa.BigInteger()),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("removed_ms", sa.BigInteger()),
    )
    op.create_index("alarm_channels_enterprise", "alarm_channels", ["enterprise"])
    op.create_table(
        "alarm_notices",
        sa.Column("notice", sa.String(32), primary_key=True),
        sa.Column("enterprise", sa.String(64), nullable=False),
        sa.Column("alarm", sa.String(32), nullable=False),
        sa.Column("channel", sa.String(32), nullable=False),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("t_sample", sa.BigInteger(), nullable=False),
        sa.Column("t_detect", sa.BigInteger(), nullable=False),
        sa.Column("t_send", sa.BigInteger()),
        sa.Column("t_accepted", sa.BigInteger()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("next_ms", sa.BigInteger()),
    )
    op.create_index("alarm_notices_due", "alarm_notices", ["next_ms"])
    op.create_index("alarm_notices_alarm", "alarm_notices", ["alarm"])
    op.create_index("alarm_notices_time", "alarm_notices", ["enterprise", "t_detect"])
    op.create_table(
        "alarm_requests",
        sa.Column("alarm", sa.String(32), primary_key=True),
        sa.Column("enterprise", sa.String(64), nullable=False),
        sa.Column("edge", sa.String(64), nullable=False),
        sa.Column("device", sa.String(128), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.Column("asked_ms", sa.BigInteger()),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
    )
    op.create_index("alarm_requests_done", "alarm_requests", ["done"])
    op.create_table(
        "alarm_window_parts",
        sa.Column("alarm", sa.String(32), primary_key=True),
        sa.Column("part", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("leaf", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "alarm_packages",
        sa.Column("alarm", sa.String(32), primary_key=True),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
    )


_TABLES = (
    "alarm_packages",
    "alarm_window_parts",
    "alarm_requests",
    "alarm_notices",
    "alarm_channels",
    "alarm_shelves",
    "alarm_events",
    "alarms",
    "alarm_states",
    "alarm_skipped",
    "alarm_cursors",
    "alarm_counters",
    "alarm_rule_versions",
    "alarm_rules",
)


def downgrade() -> None:
    """Without alarms."""
    for table in _TABLES:
        op.drop_table(table)
