"""Bringing the demo plant up, verifying it, and telling what came out."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from starproof.demo import files
from starproof.demo.files import Choices
from starproof.demo.layout import Layout
from starproof.demo.processes import ProcessEnded, Processes

SERVICES: dict[str, tuple[str, ...]] = {
    "broker": ("broker", "broker.yaml"),
    "plant": ("simulate", "run", "plant.yaml"),
    "ingest": ("ingest", "run", "ingest.yaml"),
    "web": ("web", "run", "web.yaml"),
    "edge": ("edge", "run", "edge.yaml"),
}

Say = Callable[[str], None]


class NotReady(RuntimeError):
    """A service did not come up in time. The message says what was waited for and has the end of its log."""


class DemoPlant:
    """Files and processes of one demo plant. `environment` and `keep` as in Processes."""

    def __init__(
        self,
        layout: Layout,
        choices: Choices,
        *,
        environment: dict[str, str] | None = None,
        keep: tuple[int, ...] = (),
    ) -> None:
        self.layout = layout
        self.choices = choices
        self.processes = Processes(layout.logs, environment, keep)
        self.first_password: str | None = None

    def write(self) -> None:
        """Write the plant's files. `first_password` is the web app's, where it has just been made."""
        self.first_password = files.write(self.layout, self.choices)

    def start(self, name: str, *, environment: dict[str, str] | None = None) -> None:
        """Start one service."""
        *command, config = SERVICES[name]
        self.processes.start(name, *command, self.layout.file(config), environment=environment)

    async def wait_for_port(self, name: str, port: str, within_s: float = 30.0) -> None:
        """Wait until a service listens. Raises NotReady or ProcessEnded."""

        async def listens() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.layout.ports[port])
            except OSError:
                return False
            writer.close()
            return True

        await self._until(listens, f"{name} to listen", name, within_s)

    async def start_all(self, say: Say, names: Iterable[str] = tuple(SERVICES)) -> None:
        """Start services in order and wait until each can be used."""
        waits = {
            "broker": ["broker"],
            "plant": ["control", *(uid for uid, _, _ in self.layout.machines)],
            "web": ["web"],
        }
        for name in names:
            say(f"starting {name}")
            self.start(name)
            for port in waits.get(name, ()):
                await self.wait_for_port(name, port)

    async def wait_for_data(self, say: Say, within_s: float = 45.0) -> None:
        """Wait until the cloud shows a good running state of every machine."""
        missing = {uid for uid, _, _ in self.layout.machines}

        async def all_there() -> bool:
            for uid in sorted(missing):
                if await asyncio.to_thread(self._has_values, uid):
                    missing.discard(uid)
                    say(f"{uid} is live")
            return not missing

        await self._until(all_there, "values of every machine", "edge", within_s)

    def _has_values(self, uid: str) -> bool:
        try:
            latest = self.get(f"/api/v1/devices/{uid}/latest")
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False
        return sum(1 for row in latest["values"].values() if row["q"] == 0) > 5

    def get(self, path: str) -> Any:
        """GET of the cloud's API, as the inspector."""
        return json.loads(self.fetch(path))

    def ask(self, method: str, path: str, body: dict[str, Any], token: str | None = None) -> Any:
        """Any other request to the API, as the inspector or the bearer of a token. Raises urllib.error.HTTPError."""
        return json.loads(self.fetch(path, method, json.dumps(body).encode(), token))

    def fetch(self, path: str, method: str = "GET", body: bytes | None = None, token: str | None = None) -> bytes:
        """The bytes of an answer of the API, as the inspector or the bearer of a token."""
        token = token or (self.layout.state / "inspector" / "token").read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.layout.ports['web']}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=10) as answer:
            return answer.read()

    async def _until(self, holds: Any, what: str, name: str, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not await holds():
            self.processes.check()
            if time.monotonic() > deadline:
                tail = self.processes.tail(name)
                raise NotReady(f"waited {within_s:g} s for {what}; the log of {name} ends with:\n{tail}")
            await asyncio.sleep(0.1)

    def stop(self) -> None:
        """Stop every service."""
        self.processes.stop_all()


def output_folder(layout: Layout) -> Path:
    """A new folder for one verification."""
    return layout.verification / time.strftime("%Y%m%d-%H%M%S", time.gmtime())


__all__ = ["DemoPlant", "NotReady", "ProcessEnded", "output_folder"]
