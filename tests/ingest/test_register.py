"""Who may speak, who is there: approvals are for once, revocations for ever, old births and wills are no news."""

import os
from pathlib import Path

import pytest

from ingest import register
from ingest.catalogue import Catalogue, EdgeEntry
from ingest.presence import Presence
from telemetry import clock, enrolment, keys
from telemetry.enrolment import EnrolmentError, Request
from telemetry.messages import Birth, MessageError, Will
from telemetry.mqtt import Incoming
from telemetry.topics import Channel, TopicError
from tests.ingest.edge_kit import ENTERPRISE, Cloud, Edge


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path / "cloud")


@pytest.fixture
def edge(tmp_path: Path, cloud: Cloud) -> Edge:
    return Edge(tmp_path, cloud)


def request_of(edge: Edge, code: str) -> Request:
    asked = Request(enterprise=ENTERPRISE, edge=edge.address.edge, public_key=keys.to_text(edge.signer.public))
    return enrolment.with_mac(asked, code)


def test_a_request_is_approved_once(cloud: Cloud, edge: Edge) -> None:
    code = enrolment.make_code()
    register.approve(cloud.engine, request_of(edge, code), code)
    with pytest.raises(EnrolmentError, match="approved before"):
        register.approve(cloud.engine, request_of(edge, code), code)


def test_a_revoked_key_never_comes_back(cloud: Cloud, edge: Edge) -> None:
    cloud.enrol(edge)
    assert register.revoke(cloud.engine, edge.address)
    with pytest.raises(EnrolmentError, match="was revoked"):
        cloud.enrol(edge)


def test_another_key_needs_a_revocation_first(cloud: Cloud, edge: Edge, tmp_path: Path) -> None:
    cloud.enrol(edge)
    (tmp_path / "new").mkdir()
    new = Edge(tmp_path / "new", cloud)
    with pytest.raises(EnrolmentError, match="revoke that one first"):
        cloud.enrol(new)
    register.revoke(cloud.engine, edge.address)
    cloud.enrol(new)


def entry(cloud: Cloud) -> EdgeEntry:
    (found,) = Catalogue(cloud.engine).edges(ENTERPRISE)
    return found


def message(edge: Edge, said: Birth | Will, *, retained: bool = False) -> Incoming:
    topic = edge.address.topic(Channel.BIRTH if isinstance(said, Birth) else Channel.WILL)
    return Incoming(topic, said.sign(edge.signer, topic), retained)


def birth(edge: Edge, boot: bytes, mono_ms: int, wall_ms: int) -> Birth:
    return Birth(
        enterprise=ENTERPRISE,
        edge=edge.address.edge,
        boot=boot,
        wall_ms=wall_ms,
        mono_ms=mono_ms,
        synchronised=True,
        version="1",
        stream=bytes(16),
        dictionary=bytes(16),
        simulated=True,
    )


def will(edge: Edge, boot: bytes) -> Will:
    return Will(enterprise=ENTERPRISE, edge=edge.address.edge, boot=boot, connected_ms=1)


def test_births_and_wills_say_who_is_there_and_old_ones_are_no_news(cloud: Cloud, edge: Edge) -> None:
    cloud.enrol(edge)
    presence, boot, now = Presence(cloud.engine), os.urandom(16), clock.now_ms()
    assert not entry(cloud).online
    first = message(edge, birth(edge, boot, 100, now))
    presence.take(first)
    assert entry(cloud).online
    presence.take(message(edge, will(edge, boot)))
    assert not entry(cloud).online
    old = [
        first,
        message(edge, birth(edge, boot, 99, now + 1)),
        message(edge, birth(edge, os.urandom(16), 500, 1)),
        message(edge, birth(edge, boot, 200, now), retained=True),
        message(edge, will(edge, os.urandom(16))),
    ]
    for one in old:
        with pytest.raises(MessageError):
            presence.take(one)
    assert not entry(cloud).online
    presence.take(message(edge, birth(edge, boot, 200, now)))
    assert entry(cloud).online


def test_births_of_others_are_refused(cloud: Cloud, edge: Edge, tmp_path: Path) -> None:
    cloud.enrol(edge)
    presence, boot = Presence(cloud.engine), os.urandom(16)
    (tmp_path / "s").mkdir()
    stranger = Edge(tmp_path / "s", cloud)
    with pytest.raises(MessageError):
        presence.take(message(stranger, birth(stranger, boot, 1, clock.now_ms())))
    for topic in ("x", edge.topic):
        with pytest.raises((TopicError, MessageError)):
            presence.take(Incoming(topic, b"", retained=False))
