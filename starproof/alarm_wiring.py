"""The alarm engine beside an ingest worker: it follows the ledger, its notices go out, and it asks edges for windows."""

import contextlib
from collections.abc import Awaitable, Generator

from cloud.alarms import requests
from cloud.alarms.engine import AlarmEngine
from cloud.alarms.notices import Sender
from cloud.alarms.raising import WindowSpan
from cloud.schema import open_database
from ingest.consuming import Consumer
from ingest.settings import IngestSettings, shard_numbers
from ingest.worker import Companion, Tools


@contextlib.contextmanager
def wire(settings: IngestSettings) -> Generator[tuple[list[Consumer], list[Companion]]]:
    """Consumers and companions for a worker."""
    database = open_database(settings.database)
    alarms = settings.alarms
    span = WindowSpan(round(alarms.package_before_s * 1000), round(alarms.package_after_s * 1000))
    engine = AlarmEngine(database, shards=shard_numbers(settings.shards), span=span, arrived=requests.arrived)
    sender = Sender(database, engine.raised)

    def windows(tools: Tools) -> Awaitable[None]:
        keeper = requests.WindowKeeper(database, publish=tools.publish, reopen=tools.reopen, signer=tools.command_key)
        return keeper.run()

    try:
        yield [engine], [lambda _: engine.run(), lambda _: sender.run(), windows]
    finally:
        database.dispose()
