"""The demo's webhook takes what apprise sends, and nothing else."""

import asyncio
import json
from pathlib import Path
from typing import Any

import apprise
import pytest

from starproof.demo import webhook


async def test_a_notice_by_apprise_is_kept_and_shown(tmp_path: Path) -> None:
    shown: list[dict[str, Any]] = []
    async with webhook.listening(0, tmp_path / "notices.jsonl", shown.append) as port:
        sender = apprise.Apprise()
        sender.add(f"json://127.0.0.1:{port}/plant")
        assert await asyncio.to_thread(sender.notify, title="锅炉超压", body="1.62 MPa")
    (kept,) = [json.loads(line) for line in (tmp_path / "notices.jsonl").read_text(encoding="utf-8").splitlines()]
    assert shown == [kept]
    assert kept["title"] == "锅炉超压" and kept["message"] == "1.62 MPa" and kept["came_ms"] > 1_700_000_000_000


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nno!",
        b"\x00\r\n\r\n",
    ],
)
async def test_anything_else_is_refused(tmp_path: Path, request_bytes: bytes) -> None:
    shown: list[dict[str, Any]] = []
    async with webhook.listening(0, tmp_path / "notices.jsonl", shown.append) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes)
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
    assert shown == [] and not (tmp_path / "notices.jsonl").exists()
