"""Open challenges: nonces that inspectors sent, until they stand in the header of a frame."""

from dataclasses import dataclass, field

from telemetry import clock
from telemetry.keys import VerifyingKey
from telemetry.messages import Certificate, Challenge, MessageError, certified
from telemetry.mqtt import Incoming
from telemetry.seal import MAX_NONCES

OLDEST_MS = 15 * 60_000  # an inspector's laptop may be minutes off
MAX_REMEMBERED = 10_000


@dataclass
class Challenges:
    """At most MAX_NONCES wait at a time; one that waited longer than it was open is dropped. A nonce is taken once: this
    process remembers it for as long as its certificate is valid, MAX_REMEMBERED at most and then takes no more; what was
    sent to an earlier process is known by its age."""

    command_key: VerifyingKey
    topic: str
    enterprise: str
    refused: int = 0
    _open: dict[bytes, int] = field(default_factory=dict[bytes, int])
    _taken: dict[bytes, int] = field(
        default_factory=dict[bytes, int]
    )  # nonce -> wall ms until which it could come again

    def take(self, message: Incoming) -> Challenge:
        """Check a challenge and keep its nonce. Raises MessageError for one that is not certified, retained, a repeat,
        older than OLDEST_MS by this edge's clock, sent when its certificate was not valid, or one too many."""
        try:
            if message.retained:
                raise MessageError("a retained challenge is refused")
            now_ms = clock.now_ms()
            challenge, certificate = certified(
                message.payload,
                Challenge,
                command_key=self.command_key,
                topic=self.topic,
                now_ms=now_ms,
                enterprise=self.enterprise,
            )
            self._check_time(challenge, certificate, now_ms)
            self._check_new(challenge, now_ms)
        except MessageError:
            self.refused += 1
            raise
        self._taken[challenge.nonce] = certificate.not_after_ms
        self._open[challenge.nonce] = clock.mono_ms() + int(challenge.open_s * 1000)
        return challenge

    def _check_time(self, challenge: Challenge, certificate: Certificate, now_ms: int) -> None:
        if not certificate.not_before_ms <= challenge.sent_ms < certificate.not_after_ms:
            raise MessageError("sent when the inspector's certificate was not valid")
        if now_ms - challenge.sent_ms > OLDEST_MS:
            raise MessageError(f"sent {(now_ms - challenge.sent_ms) // 60_000} minutes ago by this edge's clock")

    def _check_new(self, challenge: Challenge, now_ms: int) -> None:
        self._expire()
        if challenge.nonce in self._taken:
            raise MessageError("nonce repeated")
        if len(self._open) >= MAX_NONCES:
            raise MessageError("too many challenges are open")
        if len(self._taken) >= MAX_REMEMBERED:
            self._taken = {nonce: until for nonce, until in self._taken.items() if until > now_ms}
        if len(self._taken) >= MAX_REMEMBERED:
            raise MessageError("too many challenges were taken under certificates that are still valid")

    def nonces(self) -> tuple[bytes, ...]:
        """The nonces for the next frame."""
        self._expire()
        return tuple(self._open)

    def answered(self, nonces: tuple[bytes, ...]) -> None:
        """A frame with these nonces is stored."""
        for nonce in nonces:
            self._open.pop(nonce, None)

    def _expire(self) -> None:
        now = clock.mono_ms()
        for nonce in [n for n, until in self._open.items() if until < now]:
            del self._open[nonce]
