"""A real InfluxDB for tests: found, started on free ports in a folder of its own, ended with the test.

influxd 1.8 is looked for in STARPROOF_INFLUXD, on the PATH and where `go install` puts it. Without it tests marked
`influxdb` are skipped, unless STARPROOF_REQUIRE_INFLUXDB=1 says that they must run.
"""

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from starproof.demo.layout import free_ports

_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
series-id-set-cache-size = 100
query-log-enabled = false
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{http}"
flux-enabled = false
log-enabled = false
auth-enabled = {auth}
"""


def find() -> str | None:
    """Path of influxd, or None."""
    named = os.environ.get("STARPROOF_INFLUXD") or shutil.which("influxd")
    if named and Path(named).exists():
        return named
    gopath = os.environ.get("GOPATH", "")
    go = shutil.which("go")
    if not gopath and go:
        gopath = subprocess.run([go, "env", "GOPATH"], capture_output=True, text=True, check=False).stdout.strip()
    installed = Path(gopath or Path.home() / "go") / "bin" / "influxd"
    return str(installed) if installed.exists() else None


def binary() -> str:
    """Path of influxd; skips the test where there is none, or fails it where one is required."""
    found = find()
    if found is None:
        reason = "no influxd: go install github.com/influxdata/influxdb/cmd/influxd@v1.8.10, or set STARPROOF_INFLUXD"
        if os.environ.get("STARPROOF_REQUIRE_INFLUXDB") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextmanager
def server(folder: Path, *, auth: bool = False, port: int | None = None) -> Iterator[str]:
    """A running server; yields its URL. `folder` keeps its data, `port` its place, if it is to be started again."""
    program = binary()
    http = port or free_ports(1)[0]
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "influxdb.conf"
    config.write_text(_CONFIG.format(folder=folder, rpc=free_ports(1)[0], http=http, auth=str(auth).lower()))
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([program, "-config", str(config)], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{http}"
    try:
        _wait(url, process, folder / "log")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/ping", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"influxd did not start: {log.read_text(errors='replace')[-2000:]}")
