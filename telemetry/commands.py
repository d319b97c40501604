"""What the services' command lines share: mistakes are said in red on standard error, and end with a code."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import typer
from rich.console import Console

from telemetry.settings import SettingsError

console = Console(stderr=True, highlight=False, soft_wrap=True)
UNUSABLE = 2  # exit code: a file, a key or an argument cannot be used

_T = TypeVar("_T")


def fail(message: str) -> typer.Exit:
    """Say what is wrong; the caller raises what this returns."""
    console.print(message, style="red", markup=False)
    return typer.Exit(UNUSABLE)


def load(read: Callable[[Path], _T], path: Path) -> _T:
    """A configuration file, or the end of the command with its faults named."""
    try:
        return read(path)
    except SettingsError as error:
        raise fail(str(error)) from error
