"""A demo from its first to its last moment: it passes, its folder is its own and for its user only, and however it ends,
it leaves no process behind.
"""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from starproof.demo import folder
from tests.chain.test_demo import everything_passed

DEMO = [sys.executable, "-W", "ignore", "-m", "starproof", "demo", "--dir"]
SERVICES = 5


def processes_of(plant: Path) -> list[list[str]]:
    """Command lines of all processes that work on a plant's folder, the demo itself among them."""
    found = [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline", "status"]) if alive(one)]
    return [line for line in found if any(str(plant) in word for word in line)]


def alive(one: psutil.Process) -> bool:
    return one.info["status"] != psutil.STATUS_ZOMBIE


def until_gone(plant: Path, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while left := processes_of(plant):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def until_free(plant: Path, within_s: float = 20.0) -> None:
    """The kernel closes a process's files after its command line is gone."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            os.close(folder.take(plant, fresh=False))
            return
        except folder.FolderRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def at_terminal() -> None:
    """In the new process: the terminal is its own, and Ctrl-C is not ignored, though the tests may run in the background."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A demo at a terminal of its own."""

    def __init__(self, plant: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*DEMO, str(plant)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=at_terminal,
        )
        os.close(theirs)
        self.said = ""

    def read_until(self, words: str, within_s: float) -> None:
        """Read on until the demo has said `words`, or to its end where `words` is empty."""
        deadline = time.monotonic() + within_s
        while not words or words not in self.said:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"not within {within_s:g} s: {words!r}; the demo said:\n{self.said[-3000:]}"
            try:
                data = os.read(self._ours, 1 << 16)
            except OSError:  # its end of the terminal is closed
                data = b""
            if not data:
                assert not words, f"the demo ended before it said {words!r}; it said:\n{self.said[-3000:]}"
                return
            # Colours, cursor movements and line breaks may stand anywhere between words.
            self.said += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode("utf-8", "replace")).replace("\r\n", "\n")

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@contextmanager
def started(plant: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A demo whose output goes to a file."""
    with log.open("wb") as output:
        process = subprocess.Popen([*DEMO, str(plant)], stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(log: Path, words: str, process: subprocess.Popen[bytes], within_s: float = 90.0) -> None:
    deadline = time.monotonic() + within_s
    while words not in log.read_text(encoding="utf-8"):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.05)


@pytest.mark.timeout(240)
def test_a_demo_at_a_terminal_passes_and_ctrl_c_ends_it_with_the_code_of_the_verdict(tmp_path: Path) -> None:
    plant = tmp_path / "plant"
    terminal = Terminal(plant)
    try:
        terminal.read_until("Ctrl-C ends it", 170)
        everything_passed(plant, terminal.said)
        assert len(processes_of(plant)) == 1 + SERVICES
        assert [path for path in plant.iterdir() if path.is_dir() and path.stat().st_mode & 0o077] == []
        assert plant.stat().st_mode & 0o077 == 0
        a_second_demo_is_refused(plant)
        assert len(processes_of(plant)) == 1 + SERVICES
        terminal.type(b"\x03")
        terminal.read_until("", 60)
        assert terminal.process.wait(20) == int(terminal.said.split("exit code ")[1].split()[0]) == 0
        assert "Traceback" not in terminal.said and "Abort" not in terminal.said
        until_gone(plant)
    finally:
        terminal.close()


def a_second_demo_is_refused(plant: Path) -> None:
    """It says why, and changes nothing of the first one's files."""
    kept = {path: path.read_bytes() for path in (plant / "config").iterdir()}
    kept |= {path: path.read_bytes() for path in (plant / "state" / "inspector").iterdir() if path.is_file()}
    for more in ([], ["--fresh"]):
        second = subprocess.run([*DEMO, str(plant), *more], capture_output=True, text=True, check=False, timeout=60)
        assert second.returncode == 2, second.stdout + second.stderr
        assert "a demo is already running in" in second.stderr
    assert {path: path.read_bytes() for path in kept} == kept


@pytest.mark.timeout(180)
def test_sigterm_stops_everything_in_order(tmp_path: Path) -> None:
    plant, log = tmp_path / "plant", tmp_path / "demo.log"
    with started(plant, log) as process:
        wait_for(log, "watch", process)  # in the middle of the verification
        assert len(processes_of(plant)) == 1 + SERVICES
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
        assert processes_of(plant) == []
    said = log.read_text(encoding="utf-8")
    assert "ended by SIGTERM before the verdict" in said and "Traceback" not in said
    assert "plant stops" in (plant / "logs" / "plant.log").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
@pytest.mark.timeout(180)
def test_kill_9_leaves_nothing_behind(tmp_path: Path) -> None:
    plant, log = tmp_path / "plant", tmp_path / "demo.log"
    with started(plant, log) as process:
        wait_for(log, "motor-1 is live", process)
        assert len(processes_of(plant)) == 1 + SERVICES
        process.kill()
        process.wait()
        until_gone(plant)
    until_free(plant)
