"""The text that goes to InfluxDB, line by line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.historian.fields import Part, decode_name, encode_name, field_name, parse_field
from ingest.historian.line_protocol import Encoder, bodies
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.samples import Kind, Quality, Reason, concat, from_rows, quality

DICTIONARY = Dictionary(
    "91350100M000100Y43",
    "edge-1",
    (
        DeviceSpec(
            "boiler-1",
            "boiler",
            tags=(TagSpec("p"), TagSpec("n", Kind.INT), TagSpec("run", Kind.BOOL), TagSpec("id", Kind.STRING)),
        ),
        DeviceSpec("motor 2", "motor", tags=(TagSpec("i"), TagSpec("u", Kind.UINT))),
    ),
)


def lines(*rows: tuple[int, int, object, int, Kind]) -> list[str]:
    return [line.decode() for line in Encoder(DICTIONARY).lines(from_rows(rows))]  # type: ignore[arg-type]


def test_tags_scanned_together_share_a_line():
    got = lines(
        (4, 5, 1.5, 0, Kind.FLOAT),
        (0, 7, 0.1, 0, Kind.FLOAT),
        (1, 7, -3, 0, Kind.INT),
        (2, 7, True, 0, Kind.BOOL),
        (3, 7, 'a "b" \\', 0, Kind.STRING),
        (0, 8, 0.2, 0, Kind.FLOAT),
        (5, 5, (1 << 64) - 1, 0, Kind.UINT),
    )
    e = "enterprise=91350100M000100Y43"
    assert got == [
        f'boiler,{e},device=boiler-1 p=0.1,n__int=-3i,run__bool=true,id__text="a \\"b\\" \\\\" 7',
        f"boiler,{e},device=boiler-1 p=0.2 8",
        f"motor,{e},device=motor\\ 2 i=1.5,u__uint=-1i 5",
    ]


def test_quality_stands_only_where_it_is_not_good():
    unsure = quality(Quality.UNCERTAIN, Reason.CLOCK)
    bad = quality(Quality.BAD, Reason.DEVICE_BAD)
    gone = quality(Quality.BAD, Reason.NO_REPLY, has_value=False)
    rows = [(0, i, 1.0, code, Kind.FLOAT) for i, code in enumerate((0, unsure, bad))] + [(0, 3, None, gone, Kind.FLOAT)]
    assert [line.split(" ")[1] for line in lines(*rows)] == [
        "p=1.0",
        f"p=1.0,p__q={unsure}i",
        f"p__q={bad}i,p__bad=1.0",
        f"p__q={gone}i",
    ]


def test_the_last_row_of_a_time_stands():
    gone = quality(Quality.BAD, Reason.NO_REPLY, has_value=False)
    assert lines((0, 1, None, gone, Kind.FLOAT), (0, 1, 2.0, 0, Kind.FLOAT), (0, 1, 3.0, 0, Kind.FLOAT)) == [
        "boiler,enterprise=91350100M000100Y43,device=boiler-1 p=3.0 1"
    ]


def test_nothing_is_nothing():
    assert lines() == []
    assert bodies([]) == []


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=30), st.integers(1, 40))
def test_bodies_hold_every_line_and_keep_their_limit(some: list[bytes], limit: int):
    some = [line.replace(b"\n", b"-") for line in some]
    made = bodies(some, limit)
    assert b"\n".join(made) == b"\n".join(some)
    assert all(len(body) <= limit or b"\n" not in body for body in made)


NAMES = st.text(max_size=12) | st.text("_%qinttme \\", max_size=8)


@given(NAMES, NAMES, st.sampled_from(list(Kind)), st.sampled_from(list(Part)))
def test_names_are_one_to_one(one: str, other: str, kind: Kind, part: Part):
    assert decode_name(encode_name(one)) == one
    assert parse_field(field_name(one, kind, part)) == (one, kind, part)
    assert (encode_name(one) == encode_name(other)) == (one == other)


@pytest.mark.parametrize("name", ["", "a__", "a__x", "a__int__int", "a__q__int", "__q", "time", "_x", "a\\"])
def test_fields_of_others_are_left_alone(name: str):
    assert parse_field(name) is None


def test_templates_are_not_mixed_up():
    encoder = Encoder(DICTIONARY)
    a = from_rows([(0, 1, 1.0, 0, Kind.FLOAT), (1, 1, 2, 0, Kind.INT)])
    b = from_rows([(0, 2, 1.0, 0, Kind.FLOAT), (1, 3, 2, 0, Kind.INT)])
    separate = encoder.lines(a) + encoder.lines(b)
    assert encoder.lines(concat([a, b])) == separate
