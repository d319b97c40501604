"""The consumer that brings committed frames into the historian."""

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ingest.consuming import Unavailable
from ingest.historian.base import Historian, HistorianBatch, HistorianError, HistorianUnavailable
from ingest.index import Committed
from ingest.rolling import DueMarks, minutes_of

_log = structlog.get_logger(__name__)


class HistorianWriter:
    """Writing the same frame twice changes nothing, so a replay after a crash is harmless. With `marks`, the minutes that it
    writes to are marked first, so that their rollups are made anew."""

    name = "historian"
    durable = True

    def __init__(self, historian: Historian, marks: DueMarks | None = None) -> None:
        self._historian = historian
        self._marks = marks

    async def take(self, batch: list[Committed]) -> list[Committed]:
        """Write frames in ledger order; returns those that the store refuses, whatever is tried. Raises Unavailable."""
        minutes = minutes_of(batch) if self._marks is not None else set()
        if self._marks is not None:
            try:
                await asyncio.to_thread(self._marks.mark, minutes)
            except SQLAlchemyError as error:
                raise Unavailable(str(error)) from error
        try:
            return await self._take(batch)
        finally:
            if self._marks is not None:
                self._marks.written(minutes)

    async def _take(self, batch: list[Committed]) -> list[Committed]:
        try:
            await self._write(batch)
        except HistorianUnavailable as error:
            raise Unavailable(str(error)) from error
        except HistorianError as error:
            if len(batch) > 1:  # one bad frame must not take the others with it
                return [one for single in batch for one in await self._take([single])]
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
