"""The demo's processes: each service is a process of its own, with its own log."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from starproof import parent

_STOP_S = 10.0


class ProcessEnded(RuntimeError):
    """A service ended by itself. The message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process used: seconds of CPU, of wall time, and resident megabytes."""

    name: str
    cpu_s: float
    wall_s: float
    rss_mb: float


class Processes:
    """Starts, watches and stops `python -m starproof …`, which on Linux end with this process however it ends.
    `environment` is added to this process's own; `keep` are descriptors that stay open in each service."""

    def __init__(self, logs: Path, environment: dict[str, str] | None = None, keep: tuple[int, ...] = ()) -> None:
        self._logs = logs
        self._environment = environment or {}
        self._keep = keep
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, *arguments: str | Path, environment: dict[str, str] | None = None) -> None:
        """Start a service; its log is appended to. Call it from the main thread: see starproof.parent."""
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "starproof", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"RUST_LOG": "error"} | parent.mark() | self._environment | (environment or {}),
                pass_fds=self._keep,
                start_new_session=True,  # Ctrl-C reaches this process, which then stops them in order
            )
        self._started[name] = time.monotonic()

    def log(self, name: str) -> Path:
        """The log of a service."""
        return self._logs / f"{name}.log"

    def is_running(self, name: str) -> bool:
        """Whether it was started and has not ended."""
        return name in self._running and self._running[name].poll() is None

    def pid(self, name: str) -> int:
        """The process of a service that was started."""
        return self._running[name].pid

    def check(self) -> None:
        """Raises ProcessEnded if a service that should run does not."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise ProcessEnded(
                    f"{name} ended with code {process.returncode}; its log ends with:\n{self.tail(name)}"
                )

    def tail(self, name: str, lines: int = 12) -> str:
        """The last lines of a log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log(name).read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        return ""

    def stop(self, name: str) -> None:
        """End a service and wait; killed if it does not end."""
        self._end(name, signal.SIGTERM)

    def kill(self, name: str) -> None:
        """kill -9."""
        self._end(name, signal.SIGKILL)

    def stop_all(self) -> None:
        """End all, the last started first."""
        for name in reversed(list(self._running)):
            self.stop(name)

    def usage(self) -> list[Usage]:
        """What each running service used so far."""
        found: list[Usage] = []
        for name, process in self._running.items():
            with contextlib.suppress(psutil.Error):
                seen = psutil.Process(process.pid)
                family = [seen, *seen.children(recursive=True)]
                cpu = sum(sum(one.cpu_times()[:2]) for one in family)
                rss = sum(one.memory_info().rss for one in family)
                found.append(Usage(name, cpu, time.monotonic() - self._started[name], rss / 1e6))
        return found

    def _end(self, name: str, how: signal.Signals) -> None:
        process = self._running.pop(name, None)
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
