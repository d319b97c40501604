"""Topics: enterprise first, then a shard that never changes; nothing else passes for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import topics
from telemetry.topics import SHARDS, Address, Channel, TopicError

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@given(names, names, st.sampled_from(Channel))
def test_round_trip(enterprise: str, edge: str, channel: Channel) -> None:
    address = Address(enterprise, edge)
    topic = address.topic(channel)
    assert topics.parse(topic) == (address, channel)
    assert 0 <= address.shard < SHARDS
    assert topic.split("/")[2:4] == [enterprise, f"{address.shard:02d}"]


@given(st.text(max_size=60))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(TopicError):
        topics.parse(text)


@pytest.mark.parametrize("name", ["", "a/b", "a+b", "#", "é", "-a", "x" * 65])
def test_names_that_cannot_stand_in_a_topic(name: str) -> None:
    with pytest.raises(TopicError):
        Address("E", name).topic(Channel.UP)


def test_shards_spread() -> None:
    counts = [0] * SHARDS
    for n in range(6400):
        counts[Address("E", f"edge-{n}").shard] += 1
    assert min(counts) > 50 and max(counts) < 160


def test_filters_match_just_the_shard() -> None:
    assert topics.shard_filter(7, Channel.UP) == "starproof/v1/+/07/+/up"
