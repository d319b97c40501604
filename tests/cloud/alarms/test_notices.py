"""Notices over a real web hook: what it is told, when, again if it refuses, and no secret anywhere."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import select, update

from cloud.alarms import channels, store, tables
from cloud.alarms.notices import Sender
from telemetry import clock
from tests.cloud.alarms.conftest import Alarming
from tests.ingest.edge_kit import ENTERPRISE

SECRET = "a-very-secret-word"


@asynccontextmanager
async def hook(*statuses: int) -> AsyncIterator[tuple[int, list[dict[str, Any]]]]:
    """A web hook that answers with these states, the last for ever; gives its port and what it was sent."""
    heard: list[dict[str, Any]] = []
    answers = list(statuses)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(re.search(r"(?i)content-length: *(\d+)", head)[1])  # type: ignore[index]
        heard.append(json.loads(await reader.readexactly(length)))
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


def enter(alarming: Alarming, port: int, **fields: Any) -> channels.Channel:
    url = f"json://user:{SECRET}@127.0.0.1:{port}/hook"
    with alarming.database.begin() as db:
        return channels.create(
            db, ENTERPRISE, **{"name": "hook", "url": url, "owner": "me", "until_ms": None, **fields}
        )


async def test_a_notice_goes_out_with_its_times(alarming: Alarming) -> None:
    async with hook(200) as (port, heard):
        channel = enter(alarming, port)
        rule = alarming.rule(en="pressure high")
        alarming.commit(9.0, 11.0)
        engine = await alarming.take()
        sender = Sender(alarming.database, engine.raised)
        assert await sender.send_due() == 1
        assert await sender.send_due() == 0
    [alarm], [message] = alarming.alarms(), heard
    [notice] = alarm["notices"]
    assert notice["t_sample"] <= notice["t_detect"] + 2000 and notice["channel"] == channel.id
    assert notice["t_detect"] <= notice["t_send"] <= notice["t_accepted"] and notice["attempts"] == 1
    said = json.loads(message["message"].splitlines()[-1])["starproof"]
    assert said == {
        "alarm": alarm["id"],
        "rule": rule.id,
        "rule_version": 1,
        "device": alarming.device,
        "tag": "p",
        "level": "high",
        "what": "raised",
        "value": 11.0,
        "limit": 10.0,
        "t_sample": alarm["t_sample"],
        "t_detect": notice["t_detect"],
        "t_send": notice["t_send"],
        "simulated": False,
    }
    assert "压力过高" in message["title"]


async def test_a_refused_notice_is_tried_again_later(alarming: Alarming) -> None:
    async with hook(500, 200) as (port, heard):
        enter(alarming, port)
        alarming.rule()
        alarming.commit(11.0)
        sender = Sender(alarming.database, (await alarming.take()).raised)
        await sender.send_due()
        [notice] = alarming.alarms()[0]["notices"]
        assert notice["t_accepted"] is None and notice["error"] and SECRET not in notice["error"]
        assert await sender.send_due() == 0  # not at once
        with alarming.database.begin() as db:
            db.execute(update(tables.notices).values(next_ms=clock.now_ms()))
        assert await sender.send_due() == 1
    [notice] = alarming.alarms()[0]["notices"]
    assert notice["t_accepted"] is not None and notice["attempts"] == 2 and notice["error"] is None
    assert len(heard) == 2


async def test_a_sender_that_died_is_replaced(alarming: Alarming) -> None:
    async with hook(200) as (port, heard):
        enter(alarming, port)
        alarming.rule()
        alarming.commit(11.0)
        engine = await alarming.take()
        Sender(alarming.database, engine.raised)._claim()  # and dies
        other = Sender(alarming.database, engine.raised)
        assert await other.send_due() == 0
        with alarming.database.begin() as db:
            db.execute(update(tables.notices).values(next_ms=clock.now_ms()))
        assert await other.send_due() == 1
        assert len(heard) == 1


async def test_who_is_not_told(alarming: Alarming) -> None:
    enter(alarming, 1, until_ms=clock.now_ms() - 1)
    gone = enter(alarming, 1)
    with alarming.database.begin() as db:
        channels.remove(db, ENTERPRISE, gone.id, now_ms=clock.now_ms())
        left = db.execute(select(tables.channels.c.url).where(tables.channels.c.channel == gone.id)).scalar_one()
        assert SECRET not in left
    other, wanted = enter(alarming, 1, name="other"), enter(alarming, 1, name="wanted")
    alarming.rule(channels=[wanted.id])
    alarming.commit(11.0)
    engine = await alarming.take()
    [alarm] = alarming.alarms()
    assert [one["channel"] for one in alarm["notices"]] == [wanted.id] and other.id != wanted.id
    with alarming.database.begin() as db:
        now = clock.now_ms()
        store.shelve(db, ENTERPRISE, alarm["id"], by="me", until_ms=now + 60_000, reason="tests", now_ms=now)
    alarming.commit(9.0, 11.0, at_ms=alarming.now + 1000)
    await alarming.take(engine)
    again = alarming.alarms()[-1]
    assert again["id"] != alarm["id"] and again["notices"] == [] and again["shelved"]["by"] == "me"


async def test_no_secret_is_shown_or_logged(
    alarming: Alarming, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    channel = enter(alarming, 1)
    assert SECRET not in channel.url_shown
    alarming.rule()
    alarming.commit(11.0)
    sender = Sender(alarming.database, (await alarming.take()).raised)
    await sender.send_due()
    with alarming.database.connect() as db:
        shown = repr(channels.listed(db, ENTERPRISE)) + repr(store.notices(db, ENTERPRISE))
    out = capsys.readouterr()
    assert SECRET not in shown + caplog.text + out.out + out.err
    for bad in ("", "nothing", "xyz://host", "file:///etc/passwd"):
        with pytest.raises(channels.ChannelError):
            channels.shown(bad)
