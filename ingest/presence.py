"""Which edges are there: their signed births and wills."""

from sqlalchemy import Engine, select, update

from ingest import tables
from ingest.register import KeyRing
from telemetry import clock
from telemetry.messages import Birth, MessageError, Will
from telemetry.mqtt import Incoming
from telemetry.topics import Channel, TopicError, parse


class Presence:
    """Keeps `online` in the register."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._keys = KeyRing(engine)

    def take(self, message: Incoming) -> None:
        """Take in a birth or will. Raises MessageError or TopicError for one that is not the edge's own."""
        address, channel = parse(message.topic)
        if message.retained:
            raise MessageError("retained")
        key = self._keys.key(address)
        if isinstance(key, str):
            raise MessageError(key)
        if channel is Channel.BIRTH:
            said: Birth | Will = Birth.verify(message.payload, key, message.topic)
        elif channel is Channel.WILL:
            said = Will.verify(message.payload, key, message.topic)
        else:
            raise TopicError(f"{message.topic} is neither birth nor will")
        if (said.enterprise, said.edge) != (address.enterprise, address.edge):
            raise MessageError("speaks for another edge")
        table = tables.edges
        of_edge = (table.c.enterprise == address.enterprise) & (table.c.edge == address.edge)
        with self._engine.begin() as db:
            last = db.execute(
                select(table.c.birth_boot, table.c.birth_wall_ms, table.c.birth_mono_ms).where(of_edge)
            ).one()
            if isinstance(said, Birth):
                same_boot = last.birth_boot == said.boot
                if (same_boot and said.mono_ms <= last.birth_mono_ms) or (
                    not same_boot and said.wall_ms <= (last.birth_wall_ms or 0)
                ):
                    raise MessageError("an old birth")
                news = {"birth_boot": said.boot, "birth_wall_ms": said.wall_ms, "birth_mono_ms": said.mono_ms}
                db.execute(update(table).where(of_edge).values(online=True, seen_ms=clock.now_ms(), **news))
            elif last.birth_boot == said.boot:  # one that is replayed is made good by the next birth, seconds later
                db.execute(update(table).where(of_edge).values(online=False, seen_ms=clock.now_ms()))
            else:
                raise MessageError("the will of an earlier boot")
