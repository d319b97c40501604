"""The verifier's own receiver of notices, over real sockets, told by apprise itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import apprise
import httpx
import pytest

from tests.plant import eventually
from tests.verifier import toy
from verifier.observing.notified import settings_of
from verifier.observing.receiver import MAX_BODY, Receiver, told
from verifier.plan import NoticeSettings
from verifier.readers.base import steady_clock

LINE = '{"starproof": {"alarm": "a-1", "device": "m1", "value": 3.5, "t_sample": 5, "nested": [1]}}'


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver("127.0.0.1:0", None, steady_clock())
    await made.open()
    yield made
    await made.close()


def address(receiver: Receiver) -> str:
    return receiver.url.replace("json://", "http://")


async def test_a_web_hook_of_apprise_is_heard_with_its_time(receiver: Receiver) -> None:
    assert await receiver.self_test() == ""
    assert receiver.notices == []
    service = apprise.Apprise()
    service.add(receiver.url)
    clock = steady_clock()
    before = clock()
    assert await service.async_notify(title="报警", body=f"数值 value 3.5\n{LINE}", interpret_escapes=False)
    (one,) = receiver.notices
    assert one["said"] == {"alarm": "a-1", "device": "m1", "value": 3.5, "t_sample": 5}
    assert (one["title"], receiver.strays) == ("报警", 0)
    assert before - 50 <= one["at"] <= clock() + 50
    assert receiver.url.rpartition("/")[2] not in str(receiver.record())


async def test_whoever_does_not_know_the_secret_is_not_heard(receiver: Receiver) -> None:
    other = address(receiver).rpartition("/")[0] + "/guess"
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(other, json={"message": LINE})).status_code == 404
        assert (await client.get(address(receiver))).status_code == 404
        assert (await client.post(address(receiver), content=b"x" * (MAX_BODY + 1))).status_code == 413
        assert (await client.post(address(receiver), content=b"no json")).status_code == 200
    assert receiver.strays == 3
    assert [n["said"] for n in receiver.notices] == [None]  # it came, and says nothing


async def test_what_is_no_http_at_all_hurts_nobody(receiver: Receiver) -> None:
    host, _, port = address(receiver).removeprefix("http://").partition("/")[0].partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    writer.write_eof()
    await eventually(lambda: receiver.strays == 1)
    writer.close()
    assert await receiver.self_test() == ""


async def test_a_receiver_that_cannot_be_reached_says_so() -> None:
    port = toy.free_port()
    elsewhere = Receiver("127.0.0.1:0", f"json://127.0.0.1:{port}/hook", steady_clock())
    await elsewhere.open()
    assert elsewhere.url.startswith(f"json://127.0.0.1:{port}/hook/")
    assert await elsewhere.self_test() == "ConnectError"
    taken = Receiver(address(elsewhere) and "nobody.invalid:1", None, steady_clock())
    await taken.open()
    assert await taken.self_test() == "cannot_listen"
    await elsewhere.close()
    await taken.close()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (f"words\n{LINE}\n", {"alarm": "a-1", "device": "m1", "value": 3.5, "t_sample": 5}),
        (LINE + "\nmore words", None),
        ("[1, 2]", None),
        ('{"starproof": 5}', None),
        ("", None),
        ("[" * 100_000, None),
    ],
)
def test_the_last_line_is_what_counts(message: str, said: Any) -> None:
    assert told(message) == said


def test_where_to_listen() -> None:
    given = NoticeSettings(listen="0.0.0.0:8099", url="json://10.0.0.5:8099")
    assert settings_of(given, "https://cloud.example") is given
    assert settings_of(None, "https://cloud.example") is None
    here = settings_of(None, "http://127.0.0.1:8000")
    assert here is not None and here.listen == "127.0.0.1:0"
