"""Signed messages: only of their kind, for their topic, by their key; certificates of inspectors."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from telemetry import keys, messages
from telemetry.messages import Birth, Certificate, Challenge, Echo, MessageError, Receipt

CLOUD = keys.signing_key(Ed25519PrivateKey.generate())
CLOUD_KEY = keys.verifying_key(CLOUD.public)
INSPECTOR = keys.signing_key(Ed25519PrivateKey.generate())
RECEIPT = Receipt(
    edge="e", stream=bytes(16), contiguous=4, hash=bytes(16), highest=9, missing=((5, 6), (8, 8)), time_ms=1
)


def test_a_message_comes_back_and_only_for_its_topic_kind_and_key() -> None:
    data = RECEIPT.sign(CLOUD, "t")
    assert Receipt.verify(data, CLOUD_KEY, "t") == RECEIPT
    for model, key, topic in (
        (Receipt, CLOUD_KEY, "u"),
        (Echo, CLOUD_KEY, "t"),
        (Birth, CLOUD_KEY, "t"),
        (Receipt, keys.verifying_key(INSPECTOR.public), "t"),
    ):
        with pytest.raises(MessageError):
            model.verify(data, key, topic)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_the_one_error(data: bytes) -> None:
    with pytest.raises(MessageError):
        Receipt.verify(data, CLOUD_KEY, "t")
    with pytest.raises(MessageError):
        messages.certified(data, Challenge, command_key=CLOUD_KEY, topic="t", now_ms=5, enterprise="E")


def challenge(certificate: Certificate, signer: keys.SigningKey = INSPECTOR, topic: str = "t") -> bytes:
    signed = certificate.sign(CLOUD, Certificate.TOPIC)
    return Challenge(nonce=os.urandom(16), sent_ms=5, open_s=10.0, certificate=signed).sign(signer, topic)


def certificate(**change: object) -> Certificate:
    fields = {"public": INSPECTOR.public, "name": "王工", "enterprise": "E", "not_before_ms": 0, "not_after_ms": 10}
    return Certificate(**(fields | change))  # type: ignore[arg-type]


def certified(data: bytes, now_ms: int = 5) -> Challenge:
    return messages.certified(data, Challenge, command_key=CLOUD_KEY, topic="t", now_ms=now_ms, enterprise="E")[0]


def test_an_inspectors_challenge_is_taken_while_the_certificate_holds() -> None:
    data = challenge(certificate())
    assert certified(data).open_s == 10.0
    with pytest.raises(MessageError, match="not valid now"):
        certified(data, now_ms=10)


def test_challenges_that_are_refused() -> None:
    with pytest.raises(MessageError, match="another enterprise"):
        certified(challenge(certificate(enterprise="F")))
    with pytest.raises(MessageError, match="another key"):
        certified(challenge(certificate(), signer=CLOUD))
    with pytest.raises(MessageError):
        certified(challenge(certificate(), topic="u"))
    forged = Certificate.model_validate(certificate().model_dump()).sign(INSPECTOR, Certificate.TOPIC)
    data = Challenge(nonce=os.urandom(16), sent_ms=5, open_s=1.0, certificate=forged).sign(INSPECTOR, "t")
    with pytest.raises(MessageError):
        certified(data)
