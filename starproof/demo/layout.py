"""The demo plant: which machines, on which ports, under which folder."""

import contextlib
import itertools
import random
import socket
from dataclasses import dataclass, field
from pathlib import Path

ENTERPRISE = "91320594MA2DEM0T12"  # made up; only its check character is right
EDGE = "edge-1"

MACHINES: tuple[tuple[str, str, str], ...] = (
    ("boiler-1", "industrial_boiler", "1号蒸汽锅炉"),
    ("motor-1", "large_motor", "1号循环水泵电机"),
    ("compressor-1", "air_compressor", "1号空压机"),
    ("pv-1", "photovoltaic", "1号光伏逆变器"),
    ("cnc-1", "cnc_machine", "1号加工中心"),
)


_LOWEST = 10_000
_EPHEMERAL = 32_768, 65_535  # what systems that do not tell give to outgoing connections, at most


@dataclass(frozen=True)
class Layout:
    """Where everything of a demo lies. `ports` are free ones, drawn when it is made; `machines` are (uid, type, name)."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict[str, int])
    machines: tuple[tuple[str, str, str], ...] = MACHINES

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def verification(self) -> Path:
        return self.folder / "verification"

    def file(self, name: str) -> Path:
        """A configuration file."""
        return self.config / name


def make(folder: Path, extra: tuple[str, ...] = (), machines: tuple[tuple[str, str, str], ...] = MACHINES) -> Layout:
    """A layout with a free port for each service and machine, and for each name in `extra`."""
    names = ["broker", "web", "control", "webhook", "notices", *(uid for uid, _, _ in machines), *extra]
    return Layout(folder.absolute(), dict(zip(names, free_ports(len(names)), strict=True)), machines)


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now, and that no outgoing connection will be given before our servers take them."""
    first, last = _EPHEMERAL
    with contextlib.suppress(OSError, ValueError):
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split())
    every = range(_LOWEST, 1 << 16)
    candidates = [port for port in every if not first <= port <= last] or list(every)
    random.SystemRandom().shuffle(candidates)
    free = (port for port in candidates if _is_free(port))
    return list(itertools.islice(free, count))


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
