"""Running an asyncio service as a process: uvloop where it exists, SIGTERM and Ctrl-C end it cleanly."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from telemetry import logs


def run(main: Callable[[], Coroutine[Any, Any, None]], *, log_level: str = "info") -> None:
    """Run `main` until it ends or the process is told to stop. What `main` raises is raised here, an ExceptionGroup with
    one exception as that exception."""
    logs.set_up(log_level)
    os.umask(0o077)  # whatever a service writes, a plant's data or a key, is for its own user only
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_until_told(main))
    except BaseExceptionGroup as group:
        raise _single(group) from group


async def _until_told(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(main(), name="service")
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # not on Windows: Ctrl-C raises KeyboardInterrupt there
            loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _single(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
