"""One agent a state folder: two would number their items from the same place, which is a fork."""

import os
from dataclasses import dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: the lock is not taken there
    fcntl = None

LOCK_FILE = "lock"


class AlreadyRunning(RuntimeError):
    """Another process works on this state folder."""


@dataclass
class StateLock:
    """Held from `take` to `release`, or until the process ends, however it ends."""

    folder: Path

    def take(self) -> "StateLock":
        """Raises AlreadyRunning; OSError where the folder cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.folder / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        if fcntl is None:
            return self
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise AlreadyRunning(f"{self.folder}: another agent runs on this state folder") from error
        return self

    def release(self) -> None:
        """Let another process have the folder."""
        os.close(self._file)
