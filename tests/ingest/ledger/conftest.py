"""What the ledger's tests share."""

import resource
import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def limited_files() -> Iterator[int]:
    """No file may grow beyond this many bytes: the nearest to a full disk that needs no rights."""
    limit = 1 << 20
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)
