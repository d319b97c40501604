"""Raw rows as files, exact in both formats."""

import csv
import io
import math

import numpy as np
import pyarrow.parquet as pq

from cloud import export
from telemetry.samples import Kind, Quality, Reason, from_rows, quality
from tests.cloud.conftest import House
from tests.cloud.history_kit import fill, float_rows
from tests.ingest.edge_kit import WALL

GONE = quality(Quality.BAD, Reason.NO_REPLY, has_value=False)
STRETCH = {"from": WALL, "to": WALL + 100_000_000}


async def test_csv_and_parquet_hold_every_row(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    times = WALL + 1000 * np.arange(1, 50_001)  # several pages
    values = np.random.default_rng(1).normal(0, 1e6, len(times))
    await fill(house, float_rows(times, values), rolled=False)
    await fill(
        house, from_rows([(1, WALL + 5, (1 << 60) + 1, 0, Kind.INT), (1, WALL + 6, None, GONE, Kind.INT)]), rolled=False
    )
    series = [f"{house.device}:p", f"{house.device}:n"]
    answer = await house.get("/export", series=series, **STRETCH)
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert rows[0] == ["device", "tag", "t", "value", "quality"]
    assert [(int(t), float(v)) for _, tag, t, v, _ in rows[1:] if tag == "p"] == [
        (WALL, 1.0),
        *zip(times.tolist(), values.tolist(), strict=True),
    ]
    assert rows[-2:] == [
        [house.device, "n", str(WALL + 5), str((1 << 60) + 1), "0"],
        [house.device, "n", str(WALL + 6), "", str(GONE)],
    ]
    answer = await house.get("/export", series=series, format="parquet", **STRETCH)
    table = pq.read_table(io.BytesIO(answer.content))
    assert table.column_names == ["device", "tag", "t", "value", "quality", "text"]
    assert table["t"].to_pylist()[:50_001] == [WALL, *times.tolist()]
    assert table["value"].to_pylist()[1:50_001] == values.tolist()
    assert table["text"].to_pylist()[-2:] == [str((1 << 60) + 1), None]
    assert table["value"].to_pylist()[-1] is None


async def test_nothing_is_an_empty_file(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    stretch = {"from": 0, "to": 1}
    answer = await house.get("/export", series=f"{house.device}:p", **stretch)
    assert answer.text == "device,tag,t,value,quality\r\n"
    answer = await house.get("/export", series=f"{house.device}:p", format="parquet", **stretch)
    assert pq.read_table(io.BytesIO(answer.content)).num_rows == 0
    answer = await house.get("/export", series="nobody:p", **stretch)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_device")


def test_values_are_written_exactly() -> None:
    values = [(0.1, Kind.FLOAT), (math.nan, Kind.FLOAT), (True, Kind.BOOL), ('say "hi"', Kind.STRING)]
    rows = from_rows([(0, i, v, 0, k) for i, (v, k) in enumerate(values)] + [(0, 9, (1 << 64) - 1, 0, Kind.UINT)])
    assert export.exact(rows) == [0.1, "nan", "true", 'say "hi"', (1 << 64) - 1]
