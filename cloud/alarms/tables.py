"""The alarm room's tables, on the cloud's one schema.

What the engine raises, what it remembers of every machine and how far it has come are written in one transaction: a batch
that comes again finds its leaves taken and does nothing. Rule versions are only ever added.
"""

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, String, Table, Text

from cloud.schema.metadata import metadata

rules = Table(
    "alarm_rules",
    metadata,
    Column("enterprise", String(64), primary_key=True),
    Column("rule", String(128), primary_key=True),
    Column("version", Integer, nullable=False),  # the newest; its body is in alarm_rule_versions
    Column("device", String(128)),
    Column("type", String(64)),
    Column("retired_ms", BigInteger),
)

rule_versions = Table(
    "alarm_rule_versions",
    metadata,
    Column("enterprise", String(64), primary_key=True),
    Column("rule", String(128), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),  # JSON of the whole rule
    Column("changed_ms", BigInteger, nullable=False),
    Column("changed_by", String(128), nullable=False),
)

counters = Table(
    "alarm_counters",
    metadata,
    Column("enterprise", String(64), primary_key=True),  # "*" for what concerns all
    Column("name", String(16), primary_key=True),  # rules | alarms
    Column("n", BigInteger, nullable=False),
)

cursors = Table(
    "alarm_cursors",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("leaf", BigInteger, nullable=False),  # the next leaf to be evaluated
    Column("n", BigInteger, nullable=False),  # rises with every write, so that two engines cannot both go on
)

skipped = Table(
    "alarm_skipped",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("leaf", BigInteger, primary_key=True, autoincrement=False),  # below the cursor, but not opened yet
)

states = Table(
    "alarm_states",
    metadata,
    Column("enterprise", String(64), primary_key=True),
    Column("device", String(128), primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),  # JSON: what evaluation remembers of the machine
)

alarms = Table(
    "alarms",
    metadata,
    Column("alarm", String(32), primary_key=True),
    Column("enterprise", String(64), nullable=False),
    Column("edge", String(64), nullable=False),
    Column("device", String(128), nullable=False),
    Column("rule", String(128), nullable=False),
    Column("rule_version", Integer, nullable=False),
    Column("tag", String(128), nullable=False),
    Column("zh", Text, nullable=False),
    Column("en", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("level", String(16), nullable=False),
    Column("state", String(16), nullable=False),  # active | cleared | retired
    Column("limit", Float),
    Column("trigger_t", BigInteger, nullable=False),
    Column("trigger_v", Float),
    Column("trigger_q", Integer, nullable=False),
    Column("t_sample", BigInteger, nullable=False),
    Column("raised_ms", BigInteger, nullable=False),
    Column("holding_ms", BigInteger, nullable=False),  # from when the condition held: raised_ms less the delay
    Column("detected_ms", BigInteger, nullable=False),
    Column("cleared_ms", BigInteger),
    Column("acknowledged_by", String(128)),
    Column("acknowledged_ms", BigInteger),
    Column("acknowledged_note", Text),
    Column("late", Boolean, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("package", String(16), nullable=False),  # none | asked | ready | incomplete | failed
    Column("changed", BigInteger, nullable=False),  # the change counter at its last change
    Index("alarms_open", "enterprise", "state"),
    Index("alarms_time", "enterprise", "raised_ms"),
    Index("alarms_changed", "enterprise", "changed"),
)

events = Table(
    "alarm_events",
    metadata,
    Column("n", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("alarm", String(32), nullable=False),
    Column("t_ms", BigInteger, nullable=False),
    Column("what", String(32), nullable=False),
    Column("by", String(128)),
    Column("note", Text),
    Index("alarm_events_alarm", "alarm"),
)

shelves = Table(
    "alarm_shelves",
    metadata,
    Column("enterprise", String(64), primary_key=True),
    Column("rule", String(128), primary_key=True),
    Column("device", String(128), primary_key=True),
    Column("by", String(128), nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)

channels = Table(
    "alarm_channels",
    metadata,
    Column("channel", String(32), primary_key=True),
    Column("enterprise", String(64), nullable=False),
    Column("name", String(128), nullable=False),
    Column("url", Text, nullable=False),  # with its secrets: never logged, never answered
    Column("owner", String(128), nullable=False),
    Column("until_ms", BigInteger),
    Column("enabled", Boolean, nullable=False),
    Column("removed_ms", BigInteger),
    Index("alarm_channels_enterprise", "enterprise"),
)

notices = Table(
    "alarm_notices",
    metadata,
    Column("notice", String(32), primary_key=True),
    Column("enterprise", String(64), nullable=False),
    Column("alarm", String(32), nullable=False),  # "" for a test of the channel
    Column("channel", String(32), nullable=False),
    Column("what", String(16), nullable=False),  # raised | escalated | cleared | test
    Column("body", Text, nullable=False),  # JSON of what is told
    Column("t_sample", BigInteger, nullable=False),
    Column("t_detect", BigInteger, nullable=False),
    Column("t_send", BigInteger),
    Column("t_accepted", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("next_ms", BigInteger),  # when to try (again); None once accepted or given up
    Index("alarm_notices_due", "next_ms"),
    Index("alarm_notices_alarm", "alarm"),
    Index("alarm_notices_time", "enterprise", "t_detect"),
)

requests = Table(
    "alarm_requests",
    metadata,
    Column("alarm", String(32), primary_key=True),
    Column("enterprise", String(64), nullable=False),
    Column("edge", String(64), nullable=False),
    Column("device", String(128), nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Column("asked_ms", BigInteger),  # last time
    Column("until_ms", BigInteger, nullable=False),  # cloud clock: then it is given up
    Column("done", Boolean, nullable=False),
    Index("alarm_requests_done", "done"),
)

window_parts = Table(
    "alarm_window_parts",
    metadata,
    Column("alarm", String(32), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("parts", Integer, nullable=False),
    Column("shard", Integer, nullable=False),  # where the sealed part lies in the ledger
    Column("leaf", BigInteger, nullable=False),
)

packages = Table(
    "alarm_packages",
    metadata,
    Column("alarm", String(32), primary_key=True),
    Column("bytes", LargeBinary, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("made_ms", BigInteger, nullable=False),
)
