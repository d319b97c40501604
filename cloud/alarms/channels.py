"""Channels: where notices go. An address may hold secrets: it is never logged and never answered, only its shown form."""

import logging
import secrets
from dataclasses import dataclass

import apprise
from sqlalchemy import Connection, select, update

from cloud.alarms import tables

logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it may say addresses

SHORT_LIVED = ("json", "jsons")  # what an inspector may enter: web hooks of his own
_WEB_HOOKS = ("json", "jsons", "form", "forms", "xml", "xmls")
MAX_SHORT_MS = 12 * 3_600_000


class ChannelError(ValueError):
    """This channel cannot be kept. `code`: bad_url, unknown_channel."""

    def __init__(self, code: str, zh: str, en: str) -> None:
        super().__init__(en)
        self.code, self.zh, self.en = code, zh, en


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as it may be shown."""

    id: str
    name: str
    url_shown: str
    until_ms: int | None
    owner: str
    enabled: bool


def shown(url: str) -> str:
    """An address without its secrets. Raises ChannelError if it is none that apprise knows. A web hook's path, query and
    headers may all be secrets: only its host is shown."""
    made = _made(url)
    if scheme(url) in _WEB_HOOKS:
        port = f":{made.port}" if made.port else ""
        return f"{scheme(url)}://{made.host}{port}/…"
    return str(made.url(privacy=True))


def scheme(url: str) -> str:
    """What stands before ://, in lower case."""
    return url.partition("://")[0].strip().lower()


def _made(url: str) -> apprise.NotifyBase:
    made = apprise.Apprise.instantiate(url.strip())
    if made is None or isinstance(made, list):
        raise ChannelError("bad_url", "通知地址无法使用", "not an address that notices can be sent to")
    return made


def create(db: Connection, enterprise: str, *, name: str, url: str, owner: str, until_ms: int | None) -> Channel:
    """Enter a channel. Raises ChannelError."""
    channel = Channel(f"c-{secrets.token_hex(6)}", name, shown(url), until_ms, owner, True)
    db.execute(
        tables.channels.insert().values(
            channel=channel.id,
            enterprise=enterprise,
            name=name,
            url=url.strip(),
            owner=owner,
            until_ms=until_ms,
            enabled=True,
        )
    )
    return channel


def listed(db: Connection, enterprise: str) -> list[Channel]:
    """All channels of an enterprise that have not been removed."""
    table = tables.channels
    query = select(table).where(table.c.enterprise == enterprise, table.c.removed_ms.is_(None)).order_by(table.c.name)
    return [
        Channel(row.channel, row.name, shown(row.url), row.until_ms, row.owner, row.enabled)
        for row in db.execute(query)
    ]


def get(db: Connection, enterprise: str, channel: str) -> Channel:
    """One channel. Raises ChannelError."""
    found = next((one for one in listed(db, enterprise) if one.id == channel), None)
    if found is None:
        raise ChannelError("unknown_channel", f"没有通知渠道 {channel}", f"there is no channel {channel}")
    return found


def remove(db: Connection, enterprise: str, channel: str, *, now_ms: int) -> Channel:
    """End a channel; its address is forgotten, what still waits for it is given up. Raises ChannelError."""
    found = get(db, enterprise, channel)
    table, notices = tables.channels, tables.notices
    db.execute(
        update(table).where(table.c.channel == channel).values(removed_ms=now_ms, enabled=False, url="json://removed")
    )
    db.execute(
        update(notices)
        .where(notices.c.channel == channel, notices.c.next_ms.is_not(None))
        .values(next_ms=None, error="the channel was removed")
    )
    return found
