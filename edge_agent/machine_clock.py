"""What the edge knows of its own clock: which boot this is, whether the wall clock is disciplined, whether it stepped."""

import ctypes
import functools
import os
from pathlib import Path

from telemetry import clock

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_ERROR = 5  # adjtimex(2): clock not synchronised
STEP_MS = 500


@functools.cache
def boot_id() -> bytes:
    """16 bytes that change with every boot of the computer; where the system tells none, with every process."""
    try:
        return bytes.fromhex(_BOOT_ID.read_text(encoding="ascii").strip().replace("-", ""))
    except (OSError, ValueError):
        return os.urandom(16)


def synchronised() -> bool:
    """Whether the kernel says that the wall clock is kept by NTP or PTP (adjtimex(2)); False where it cannot tell."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return False
    return state not in (-1, _TIME_ERROR)


class StepDetector:
    """Tells when the wall clock stepped against the monotonic one."""

    def __init__(self) -> None:
        self._offset = clock.now_ms() - clock.mono_ms()

    def step_ms(self) -> int:
        """Milliseconds the wall clock jumped since the last call, 0 if less than STEP_MS; slow slewing is followed."""
        offset = clock.now_ms() - clock.mono_ms()
        moved, self._offset = offset - self._offset, offset
        return moved if abs(moved) >= STEP_MS else 0
