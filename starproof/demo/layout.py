"""The demo plant: which machines, on which ports, under which folder."""

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


@dataclass(frozen=True)
class Layout:
    """Where everything of a demo lies. `ports` are free ones, drawn when it is made."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict[str, int])

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


def make(folder: Path, extra: tuple[str, ...] = ()) -> Layout:
    """A layout with a free port for each service and machine, and for each name in `extra`."""
    names = ["broker", "web", "control", *(uid for uid, _, _ in MACHINES), *extra]
    sockets = [socket.socket() for _ in names]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = {name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)}
    finally:
        for one in sockets:
            one.close()
    return Layout(folder.absolute(), ports)
