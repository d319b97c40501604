"""Rows of a machine straight into the historian of a house, with and without rollups."""

import numpy as np

from ingest.historian.base import HistorianBatch
from ingest.historian.moments import MINUTE_MS
from ingest.rolling import DueMarks, Roller
from telemetry.samples import Int64s, Samples, float_slots, make
from tests.cloud.conftest import House
from tests.ingest.edge_kit import ENTERPRISE


def float_rows(times: Int64s, values: "np.ndarray", quality: int = 0) -> Samples:
    """Rows of tag p."""
    return make(np.zeros(len(times)), times, float_slots(values), kind=1, quality=quality)


async def fill(house: House, rows: Samples, *, rolled: bool = True) -> None:
    """Rows as the historian writer would bring them; `rolled`: and their rollups made."""
    marks = DueMarks(house.services.database)
    minutes = np.unique(rows.time // MINUTE_MS * MINUTE_MS).tolist()
    due = {(house.edge.address.shard, ENTERPRISE, house.device, minute) for minute in minutes}
    marks.mark(due)
    await house.services.historian.write(HistorianBatch(house.edge.words, rows))
    marks.written(due)
    roller = Roller(house.services.historian, marks, lambda: range(64))
    while rolled and await roller.step(idle_ms=0):
        pass
