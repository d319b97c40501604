"""The two clocks everything reads: wall time for what is stored, monotonic time for what is waited for.

Both are integer milliseconds. No other module asks the operating system for the time, so one place decides its unit.
"""

import time


def now_ms() -> int:
    """UTC wall time in milliseconds since 1970-01-01."""
    return time.time_ns() // 1_000_000


def mono_ms() -> int:
    """Monotonic time in milliseconds; its zero means nothing, and it never steps."""
    return time.monotonic_ns() // 1_000_000
