"""What a machine's server really sent, line by line: the oracle of the crash tests.

One JSON line per reply or notification, written (unbuffered) in the same call that hands the bytes to the socket and
only where there was a socket to hand them to. `peer` tells the agent's connection from the verifier's. Formats:

    {"t": ms, "peer": "ip:port", "how": "modbus", "fc": 3, "address": 0, "count": 10, "values": {tag: value}}
    {"t": ms, "peer": "ip:port", "how": "modbus_write", "fc": 16, "address": 100, "count": 2, "values": {tag: value}}
    {"t": ms, "peer": "ip:port", "how": "opcua_read", "rows": [[tag, source_ms, value, status]]}
                                        or "opcua_notify", "opcua_republish"
    {"t": ms, "peer": "ip:port", "how": "opcua_write", "rows": [[tag, null, value, status]]}

Modbus: every tag wholly inside the reply, as the engineering value its registers stand for; null where they stand for
none (NaN, a sentinel). A tag that is computed over a SunSpec repeating group lies in no single reply and is left out. A
write is journalled once acted on, before its answer; refused requests are not. `t` is true time, whatever a fault makes
of the machine's clock. Handed to the socket is not yet read: a client that dies in between never had the last lines.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from telemetry import clock

MAX_BYTES = 256 << 20
Row = Sequence[Any]


class Journal:
    """Appends to one file; beyond MAX_BYTES the file moves to `<name>.1`, replacing an older one."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("ab", buffering=0)
        self._size = path.stat().st_size

    def _line(self, entry: dict[str, Any]) -> None:
        if self._file.closed:
            return
        line = orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
        self._file.write(line)
        self._size += len(line)
        if self._size > MAX_BYTES:
            self._file.close()
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            self._file = self.path.open("ab", buffering=0)
            self._size = 0

    def modbus(self, *, peer: str, how: str, fc: int, address: int, count: int, values: dict[str, float]) -> None:
        """A reply to a read, or a write that was acted on."""
        entry = {"t": clock.now_ms(), "peer": peer, "how": how}
        self._line({**entry, "fc": fc, "address": address, "count": count, "values": values})

    def opcua(self, *, peer: str, how: str, rows: Sequence[Row]) -> None:
        """Rows of tag, source time in ms (None: the server gave none), value, status code."""
        if rows:
            self._line({"t": clock.now_ms(), "peer": peer, "how": how, "rows": rows})

    def close(self) -> None:
        """Nothing is journalled after this."""
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a journal, oldest first; a torn last line is left out."""
    older = path.with_name(path.name + ".1")
    text = (older.read_bytes() if older.exists() else b"") + (path.read_bytes() if path.exists() else b"")
    return [orjson.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]
