"""All tables of the cloud (ingest's own few apart) are declared on this one object."""

from sqlalchemy import MetaData

metadata = MetaData()
