"""`starproof demo --exit`, as typed, on each historian: every statement passes for every machine, and says SIMULATED.

`make test` sees the demo on SQLite at a terminal, in test_demo_ends.
"""

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from tests import influx
from tests.chain.test_crashes import LIVE, check, rounds


def demo(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "starproof", "demo", "--exit", "--dir", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=175,
        env=os.environ | (environment or {}),
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def everything_passed(folder: Path, output: str) -> None:
    (path,) = (folder / "verification").glob("*/findings.json")
    findings = json.loads(path.read_text(encoding="utf-8"))["findings"]
    assert len(findings) == 3 * 25
    assert {finding["state"] for finding in findings} == {"pass"}
    assert all(finding["simulated"] and finding["evidence"] for finding in findings)
    assert "仿真数据" in output and "SIMULATED" in output
    for digest in {digest for finding in findings for digest in finding["evidence"]}:
        assert (path.parent / "evidence" / f"{digest}.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_demo_on_sqlite(tmp_path: Path) -> None:
    everything_passed(tmp_path / "plant", demo(tmp_path / "plant"))


@pytest.mark.influxdb
@pytest.mark.timeout(240)
def test_demo_on_influxdb_with_a_token(tmp_path: Path) -> None:
    with influx.server(tmp_path / "influx", auth=True) as url:
        statement = urllib.parse.urlencode({"q": "CREATE USER plant WITH PASSWORD 'secret-1' WITH ALL PRIVILEGES"})
        urllib.request.urlopen(f"{url}/query", data=statement.encode(), timeout=10).close()
        token = {"STARPROOF_INFLUX_TOKEN": "plant:secret-1"}
        output = demo(tmp_path / "plant", "--historian", "influxdb", "--influx-url", url, environment=token)
        everything_passed(tmp_path / "plant", output)


@pytest.mark.slow
@pytest.mark.influxdb
@pytest.mark.timeout(240)
async def test_crashes_on_influxdb(tmp_path: Path) -> None:
    with influx.server(tmp_path / "influx") as url:
        settings = {"kind": "influxdb", "url": url, "database": "crash"}
        check(await rounds(tmp_path / "plant", 2, seed=5, choices=replace(LIVE, historian=settings)))
