"""A process that ends with the one that started it, however that one ends.

The starter marks the child's environment with its own process id. The child asks the kernel, first thing, for SIGTERM as
soon as its parent is gone: not even kill -9 of the parent leaves it behind. Linux only; elsewhere the mark does nothing.
"""

import ctypes
import os
import signal
import sys

_MARK = "STARPROOF_PARENT"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def mark() -> dict[str, str]:
    """What to add to the environment of a child that shall end with this process. The kernel means the *thread* that
    starts the child, so start it from one that lives as long as the process."""
    return {_MARK: str(os.getpid())}


def end_with_parent() -> None:
    """Do as the mark says, if there is one; ends the process where the parent is gone already."""
    parent = os.environ.pop(_MARK, None)
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM.value)
    if str(os.getppid()) != parent:  # it went before the kernel knew
        sys.exit("the process that started this one is gone")
