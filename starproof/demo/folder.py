"""The folder of a demo: its own, for its user only, and held by one demo at a time.

The lock is on the mark that says whose the folder is. It is taken before anything is written and handed on to the demo's
services, so that it is free again only when the last of them has ended.
"""

import fcntl
import os
import shutil
from pathlib import Path

_MARK = ".starproof-demo"


class FolderRefusedError(RuntimeError):
    """The folder has other files, or another demo runs in it."""


def take(folder: Path, *, fresh: bool) -> int:
    """Make a demo's folder, or take over an earlier demo's; `fresh` removes what that one left. Gives the descriptor that
    holds the lock. Raises FolderRefusedError and OSError."""
    mark = folder / _MARK
    if folder.exists() and not mark.exists() and any(folder.iterdir()):
        raise FolderRefusedError(f"{folder} has files that no demo made; choose another --dir")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = os.open(mark, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        raise FolderRefusedError(f"a demo is already running in {folder}; end it, or choose another --dir") from error
    if fresh:
        for old in folder.iterdir():
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            elif old != mark:
                old.unlink()
    return held
