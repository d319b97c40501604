"""One MQTT 5 connection for an asyncio process, on paho.

It reconnects by itself, for ever, with backoff; says once that it lost the broker and once that it is back; subscribes
anew each time; keeps no session at the broker (what must not be lost is receipted, not queued there).
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import Field

from telemetry.points import Strict

_log = structlog.get_logger(__name__)

_KEEPALIVE_S = 15
_BACKOFF_S = (1, 30)


class TlsSettings(Strict):
    """TLS to the broker. `ca_file`: the authority that signed its certificate; default: the system's."""

    ca_file: str | None = None
    certificate: str | None = None
    private_key: str | None = None


class BrokerSettings(Strict):
    """An MQTT 5 broker. A user name needs a password file; a password never stands in the configuration itself."""

    host: str = "127.0.0.1"
    port: int = Field(default=1883, ge=1, le=65535)
    username: str | None = None
    password_file: str | None = None
    tls: TlsSettings | None = None


class BrokerRefused(ConnectionError):
    """The broker cannot be used as configured: bad credentials file or TLS files. Being away is not an error."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class LastWill:
    """What the broker publishes when the connection breaks."""

    topic: str
    payload: bytes


@dataclass
class Session:
    """A connection. Handlers run in the event loop, one message at a time, and must not block.

    `on_message` gets every message; `on_connect` runs after each successful (re)connection, subscriptions asked for;
    `will` is asked for anew before each connection, in the connection's own thread, and must not raise.
    """

    broker: BrokerSettings
    client_id: str
    subscriptions: tuple[tuple[str, int], ...] = ()
    on_message: Callable[[Incoming], None] = lambda _: None
    on_connect: Callable[[], None] = lambda: None
    on_disconnect: Callable[[], None] = lambda: None
    will: Callable[[], LastWill] | None = None
    connected: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> "Session":
        self._loop = asyncio.get_running_loop()
        self._client = self._make_client()
        self._said_lost = False
        self._client.connect_async(self.broker.host, self.broker.port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.on_disconnect = None
        with contextlib.suppress(OSError):
            self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> bool:
        """Hand a message to the connection. False if there is none: the caller keeps the data and tries again."""
        if not self.connected.is_set():
            return False
        return self._client.publish(topic, payload, qos=qos, retain=retain).rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def subscribe(self, topic: str, qos: int = 1) -> None:
        """Subscribe now and after every reconnection."""
        self.subscriptions = (*self.subscriptions, (topic, qos))
        if self.connected.is_set():
            self._client.subscribe(topic, qos)

    def _make_client(self) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, client_id=self.client_id, protocol=MQTTProtocolVersion.MQTTv5)
        client.reconnect_delay_set(*_BACKOFF_S)
        client.max_inflight_messages_set(20)
        if self.broker.username is not None:
            client.username_pw_set(self.broker.username, _password(self.broker.password_file))
        if self.broker.tls is not None:
            client.tls_set_context(_tls(self.broker.tls))
        client.on_pre_connect = self._connecting
        client.on_connect = self._connected
        client.on_connect_fail = self._failed
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        return client

    # ---- called in paho's thread: each but the first only hands over to the loop

    def _connecting(self, client: Client, _data: Any) -> None:
        if self.will is not None:
            will = self.will()
            client.will_set(will.topic, will.payload, qos=1)  # read when the CONNECT packet is made, right after this

    def _connected(
        self, client: Client, _data: Any, _flags: ConnectFlags, reason: ReasonCode, _props: Properties | None
    ) -> None:
        if reason.is_failure:
            self._later(self._say_lost, f"refused: {reason}")
            return
        for topic, qos in self.subscriptions:
            client.subscribe(topic, qos)
        self._later(self._set_connected)

    def _failed(self, _client: Client, _data: Any) -> None:
        self._later(self._say_lost, "cannot be reached")

    def _disconnected(self, _client: Client, _data: Any, _flags: Any, reason: ReasonCode, _props: Any) -> None:
        self._later(self._set_disconnected, str(reason))

    def _received(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._later(self.on_message, Incoming(message.topic, bytes(message.payload), message.retain))

    def _later(self, call: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop closed while a message was on its way
            self._loop.call_soon_threadsafe(call, *args)

    # ---- in the loop

    def _set_connected(self) -> None:
        if self._said_lost:
            _log.info("broker is back", broker=f"{self.broker.host}:{self.broker.port}")
        self._said_lost = False
        self.connected.set()
        self.on_connect()

    def _set_disconnected(self, reason: str) -> None:
        self.connected.clear()
        self._say_lost(reason)
        self.on_disconnect()

    def _say_lost(self, reason: str) -> None:
        if not self._said_lost:
            _log.warning("no broker, trying again", broker=f"{self.broker.host}:{self.broker.port}", reason=reason)
            self._said_lost = True


def _password(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BrokerRefused(f"password_file {path}: {error.strerror}") from error


def _tls(settings: TlsSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.certificate is not None:
            context.load_cert_chain(settings.certificate, settings.private_key)
    except (OSError, ssl.SSLError) as error:
        raise BrokerRefused(f"TLS files cannot be used: {error}") from error
    return context
