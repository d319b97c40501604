"""The verifier's receiver of notices with a channel of its own in the cloud, for as long as the trial lasts."""

from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from verifier.chain import Chain, pause
from verifier.judging.case import mapping
from verifier.observing.receiver import Receiver
from verifier.plan import NoticeSettings

CHANNEL_MS = 30 * 60_000
TRIES = 5
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def settings_of(given: NoticeSettings | None, cloud_url: str) -> NoticeSettings | None:
    """Where to listen: as planned; any free port of this computer where the cloud runs on it too; else nowhere."""
    if given is not None:
        return given
    here = urlsplit(cloud_url).hostname in LOOPBACK
    return NoticeSettings(listen="127.0.0.1:0", url=None) if here else None


class Notified:
    """`channel` is the id of the own channel, None where none could be made; `record` what is kept (complete at the end)."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        found = settings_of(chain.plan.settings.notices, chain.plan.settings.cloud.url)
        self._receiver = None if found is None else Receiver(found.listen, found.url, chain.clock)
        self.record: dict[str, Any] | None = None if found is None else {"channel": {}}
        self.channel: str | None = None

    async def __aenter__(self) -> Self:
        receiver, record = self._receiver, self.record
        if receiver is None or record is None:
            return self
        await receiver.open()
        record["self_test"] = await receiver.self_test()
        if record["self_test"]:
            return self
        cloud = self._chain.cloud
        now = mapping((await cloud.get("/time"))["body"]).get("now_ms")  # until when is said in the cloud's own time
        until = (now if type(now) is int else self._chain.clock()) + CHANNEL_MS
        body = {"name": "核验 verifier", "url": receiver.url, "until_ms": until}
        made = await cloud.send("POST", "/channels", body)
        record["channel"]["created"] = made
        name = mapping(mapping(made["body"]).get("channel")).get("id")
        if isinstance(name, str):
            self.channel = name
            record["channel"]["tested"] = await cloud.send("POST", f"/channels/{name}/test")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        receiver, record = self._receiver, self.record
        if receiver is None or record is None:
            return
        try:
            if self.channel is not None:
                for _ in range(TRIES):
                    gone = await self._chain.cloud.send("DELETE", f"/channels/{self.channel}")
                    record["channel"]["removed"] = gone
                    if gone["status"] not in (0, 429, 500, 502, 503, 504):
                        break
                    await pause(1.0)
        finally:
            await receiver.close()
            record |= receiver.record()
