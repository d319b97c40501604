"""The register of machines, which follows from what the edges declared; it keeps what ingest's newest dictionaries forget:
which gateway carried a machine when.
"""

from sqlalchemy import BigInteger, Boolean, Column, String, Table, Text

from cloud.schema.metadata import metadata

devices = Table(
    "devices",
    metadata,
    Column("enterprise", String(64), primary_key=True),
    Column("device", String(128), primary_key=True),
    Column("type", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("nameplate", Text, nullable=False),  # JSON
    Column("first_ms", BigInteger, nullable=False),  # cloud time of the first declaration that was seen
    Column("declared_ms", BigInteger, nullable=False),  # of the newest
)

gateways = Table(
    "device_gateways",
    metadata,
    Column("enterprise", String(64), primary_key=True),
    Column("device", String(128), primary_key=True),
    Column("from_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("edge", String(64), nullable=False),
    Column("to_ms", BigInteger),  # null: it still does
)

synced = Table(
    "device_synced",
    metadata,
    Column("enterprise", String(64), primary_key=True),
    Column("arrival_ms", BigInteger, nullable=False),  # of the newest dictionary that is in the register
)
