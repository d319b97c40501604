"""Put on PYTHONPATH of a process whose clock is to be wrong: shifts time.time and time.time_ns by STARPROOF_TEST_SHIFT_S."""

import os
import time

_shift_s = float(os.environ.get("STARPROOF_TEST_SHIFT_S", "0"))
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _shift_s
time.time_ns = lambda: _time_ns() + int(_shift_s * 1e9)
