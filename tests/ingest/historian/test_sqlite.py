"""What only the embedded store has: several processes."""

import asyncio
import sys
from pathlib import Path

import pytest

from ingest.historian.base import HistorianBatch, HistorianUnavailable
from ingest.historian.sqlite import SqliteHistorian
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.samples import float_slots, make

DICTIONARY = Dictionary("e", "g", (DeviceSpec("d", "boiler", tags=(TagSpec("a"), TagSpec("b"))),))
READER = """
import asyncio, sys
from ingest.historian.sqlite import SqliteHistorian

async def main():
    historian, seen = SqliteHistorian(sys.argv[1]), 0
    print("ready", flush=True)
    while seen < 5000:
        a = len(await historian.range("e", "d", "a", 0, 1 << 50, 1 << 20))
        assert a % 500 == 0 and a >= seen, a  # whole transactions only
        seen = a
    await historian.close()

asyncio.run(main())
"""


async def test_others_read_while_one_writes(tmp_path: Path):
    path = tmp_path / "historian.db"
    readers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", READER, str(path), stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert (await reader.stdout.readline()).strip() == b"ready"
    historian = SqliteHistorian(path)
    for i in range(10):
        times = [i * 500 + j for j in range(500)]
        samples = make([0] * 500, times, float_slots([float(t) for t in times]), kind=1)
        await historian.write(HistorianBatch(DICTIONARY, samples))
    assert [await asyncio.wait_for(reader.wait(), 60) for reader in readers] == [0, 0]
    await historian.close()


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path):
    (tmp_path / "historian.db").write_bytes(b"not a database, but long enough to be looked at" * 50)
    historian = SqliteHistorian(tmp_path / "historian.db")
    with pytest.raises(HistorianUnavailable, match=r"historian\.db: file is not a database"):
        await historian.latest("e", "d")
    await historian.close()
    missing = SqliteHistorian(tmp_path / "no" / "folder.db")
    with pytest.raises(HistorianUnavailable, match="unable to open"):
        await missing.write(HistorianBatch(DICTIONARY, make(0, 0, 0, kind=1)))
    await missing.close()
