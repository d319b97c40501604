"""Which challenges are answered: certified ones, once each, not old ones."""

import os
from collections.abc import Iterator

import pytest

from edge_agent import challenges
from edge_agent.challenges import Challenges
from telemetry import clock, keys
from telemetry.messages import Certificate, Challenge, MessageError
from telemetry.mqtt import Incoming
from tests.edge_agent.agent_kit import ENTERPRISE, signing_key

TOPIC = "starproof/v1/E/01/edge/challenge"
COMMAND, INSPECTOR = signing_key(), signing_key()
HOUR = 3_600_000


def taker() -> Challenges:
    return Challenges(keys.verifying_key(COMMAND.public), TOPIC, ENTERPRISE)


def certificate(*, since_ms: int = -HOUR, until_ms: int = 8 * HOUR) -> bytes:
    now = clock.now_ms()
    made = Certificate(
        public=INSPECTOR.public,
        name="inspector",
        enterprise=ENTERPRISE,
        not_before_ms=now + since_ms,
        not_after_ms=now + until_ms,
    )
    return made.sign(COMMAND, Certificate.TOPIC)


def challenge(*, sent_ms: int = 0, open_s: float = 30, certified: bytes | None = None) -> Incoming:
    made = Challenge(
        nonce=os.urandom(16),
        sent_ms=clock.now_ms() + sent_ms,
        open_s=open_s,
        certificate=certified or certificate(),
    )
    return Incoming(TOPIC, made.sign(INSPECTOR, TOPIC), retained=False)


def test_a_challenge_is_answered_once_however_often_it_comes() -> None:
    taken, message = taker(), challenge()
    nonce = taken.take(message).nonce
    with pytest.raises(MessageError, match="repeated"):
        taken.take(message)
    taken.answered(taken.nonces())
    with pytest.raises(MessageError, match="repeated"):  # by whoever recorded it
        taken.take(message)
    assert nonce not in taken.nonces() and taken.refused == 2


@pytest.mark.parametrize("sent_ms", [-16 * 60_000, -7 * HOUR])
def test_an_old_one_is_refused_by_any_process(sent_ms: int) -> None:
    with pytest.raises(MessageError, match="minutes ago"):
        taker().take(challenge(sent_ms=sent_ms, certified=certificate(since_ms=-8 * HOUR)))


@pytest.mark.parametrize("sent_ms", [-14 * 60_000, 14 * 60_000])
def test_an_inspectors_clock_may_be_minutes_off(sent_ms: int) -> None:
    taken = taker()
    assert taken.take(challenge(sent_ms=sent_ms)).nonce in taken.nonces()


@pytest.mark.parametrize("sent_ms", [-60_000, HOUR])
def test_one_sent_outside_its_certificates_validity_is_refused(sent_ms: int) -> None:
    with pytest.raises(MessageError, match="was not valid"):
        taker().take(challenge(sent_ms=sent_ms, certified=certificate(since_ms=-30_000, until_ms=30_000)))


@pytest.fixture
def few() -> Iterator[None]:
    before, challenges.MAX_REMEMBERED = challenges.MAX_REMEMBERED, 3
    yield
    challenges.MAX_REMEMBERED = before


def test_what_is_remembered_is_bounded(few: None) -> None:
    taken = taker()
    for _ in range(3):
        taken.take(challenge())
        taken.answered(taken.nonces())
    with pytest.raises(MessageError, match="still valid"):
        taken.take(challenge())
    for nonce in list(taken._taken)[:2]:
        taken._taken[nonce] = clock.now_ms() - 1  # their certificate has run out since
    taken.take(challenge())
    assert len(taken._taken) == 2
