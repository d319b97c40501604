"""The consumer that brings committed frames into the historian."""

import structlog

from ingest.consuming import Unavailable
from ingest.historian.base import Historian, HistorianBatch, HistorianError, HistorianUnavailable
from ingest.index import Committed

_log = structlog.get_logger(__name__)


class HistorianWriter:
    """Writing the same frame twice changes nothing, so a replay after a crash is harmless."""

    name = "historian"
    durable = True

    def __init__(self, historian: Historian) -> None:
        self._historian = historian

    async def take(self, batch: list[Committed]) -> list[Committed]:
        """Write frames in ledger order; returns those that the store refuses, whatever is tried. Raises Unavailable."""
        try:
            await self._write(batch)
        except HistorianUnavailable as error:
            raise Unavailable(str(error)) from error
        except HistorianError as error:
            if len(batch) > 1:  # one bad frame must not take the others with it
                return [one for single in batch for one in await self.take([single])]
            _log.error("the historian refuses a frame", shard=batch[0].shard, leaf=batch[0].leaf, reason=str(error))
            return batch
        return []

    async def _write(self, batch: list[Committed]) -> None:
        await self._historian.write(
            *(
                HistorianBatch(one.opened.dictionary, one.opened.frame.samples)
                for one in batch
                if one.opened is not None and one.opened.frame is not None and one.opened.dictionary is not None
            )
        )
