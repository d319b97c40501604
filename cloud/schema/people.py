"""Enterprises, people, what lets them in, and what they did.

Secrets are not here: of a password its argon2id hash, of a session or token the SHA-256 of 32 random bytes. `audit` is
append-only: the database itself refuses to change or delete a row (migration 0001).
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from cloud.schema.metadata import metadata

enterprises = Table(
    "enterprises",
    metadata,
    Column("enterprise", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("contact", Text, nullable=False),
    Column("phone", Text, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),  # one name, one person, whatever the enterprise
    Column("enterprise", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("password", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger),  # last log-in
    Index("users_enterprise", "enterprise"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Index("sessions_name", "name"),
)

throttles = Table(
    "login_throttles",
    metadata,
    Column("key", String(64), primary_key=True),  # SHA-256 of name and address
    Column("failures", Integer, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("token", String(32), primary_key=True),  # its public id
    Column("hash", String(64), nullable=False, unique=True),
    Column("enterprise", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    Index("tokens_enterprise", "enterprise"),
)

audit = Table(
    "audit",
    metadata,
    Column("enterprise", String(64), primary_key=True),
    Column("n", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3 … without holes
    Column("time_ms", BigInteger, nullable=False),
    Column("who", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("action", String(64), nullable=False),
    Column("object", String(256), nullable=False),
    Column("before", Text, nullable=False),  # canonical JSON, "null" for nothing
    Column("after", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("enterprise", String(64), primary_key=True),  # its row is the lock that keeps the chain in one line
    Column("n", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)
