"""A package holds what the edge sealed, exactly; its features are what they say; the same input gives the same bytes."""

import csv
import io
import itertools
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alarms import fluctuation, package
from telemetry import plain, samples
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.samples import Kind
from telemetry.windows import Window
from verifier.judging import packages

AT = 1_700_000_000_000
TAGS = (TagSpec("speed", unit="r/min"), TagSpec("load_pct", unit="%"), TagSpec("starts", Kind.INT))
WORDS = Dictionary("E", "edge", (DeviceSpec("motor-1", "large_motor", "1号电机", simulated=True, tags=TAGS),))
RULE = {"id": "r", "version": 3, "tag": "speed", "high": 1490.0, "related": ["load_pct", "none"]}
ALARM: dict[str, Any] = {
    "id": "ab" * 16,
    "rule": "r",
    "rule_version": 3,
    "device": "motor-1",
    "tag": "speed",
    "zh": "转速高 <&>",
    "en": "speed high",
    "level": "high",
    "limit": 1490.0,
    "trigger": {"t": AT, "v": 1495.0, "q": 0},
    "package": {"state": "asked"},
    "notices": [],
}


def rows() -> list[tuple[int, int, samples.Value, int, Kind]]:
    """Speed steps at the trigger; the load has risen 10 s before."""
    out: list[tuple[int, int, samples.Value, int, Kind]] = []
    for n in range(-60, 11):
        t = AT + 1000 * n
        out.append((0, t, 1480.0 + 0.1 * (n % 3) if n < 0 else 1495.0 + n, 0, Kind.FLOAT))
        out.append((1, t, 70.0 + 0.1 * (n % 2) + (20.0 if n >= -10 else 0.0), 0, Kind.FLOAT))
        out.append((2, t, (1 << 60) + n, 0, Kind.INT))
    return out


def window(part: int = 0, parts: int = 1, ring_from_ms: int = AT - 900_000) -> Window:
    some = [row for n, row in enumerate(rows()) if n % parts == part]
    made = samples.from_rows(some)
    return Window(b"i" * 16, "motor-1", AT - 60_000, AT + 10_000, ring_from_ms, part, parts, False, made, WORDS)


def build(*windows: Window) -> bytes:
    sealed = [{"edge": "edge", "stream": "00", "sequence": 7, "hash": "11"}]
    return package.build(ALARM, RULE, windows, sealed=sealed, made_ms=AT + 20_000)


def test_the_same_input_gives_the_same_bytes_and_checks() -> None:
    data = build(window())
    assert data == build(window())
    assert package.check(data) == []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["manifest.json", "samples.csv", "chart.svg", "README.txt"]


def test_rows_are_exact_and_parts_make_a_whole() -> None:
    with zipfile.ZipFile(io.BytesIO(build(*(window(n, 3) for n in (2, 0, 1))))) as archive:
        read = list(csv.reader(io.StringIO(archive.read("samples.csv").decode())))
    ids = [spec.id for spec in TAGS]
    expected = sorted((ids[tag], t, v) for tag, t, v, _, _ in rows())
    assert sorted((tag, int(t), int(v) if tag == "starts" else float(v)) for tag, t, v, _ in read[1:]) == expected


def test_the_manifest_tells_whose_it_is_and_what_moved() -> None:
    told = package.manifest(build(window()))
    assert (told["alarm"]["id"], told["rule"], told["trigger"]) == (ALARM["id"], RULE, ALARM["trigger"])
    assert told["window"]["complete"] and told["simulated"] and told["device"] == "motor-1"
    assert told["tags"]["speed"]["rows"] == 71 and told["tags"]["speed"]["largest_gap_ms"] == 1000
    speed = told["features"]["speed"]
    assert speed["deviation"] == pytest.approx(1495.0 - 1480.1)
    assert speed["slope_after_per_s"] == pytest.approx(1.0)
    assert abs(speed["slope_before_per_s"]) < 0.01
    first = told["first_out"]
    assert (first["tag"], first["t"], first["why"]) == ("load_pct", AT - 10_000, "left_normal_band")
    assert first["z"] == pytest.approx(19.95 / (1.4826 * 0.05), rel=1e-6)


def test_what_is_missing_is_said() -> None:
    assert not package.manifest(build(window(0, 2)))["window"]["complete"]
    assert not package.manifest(build(window(ring_from_ms=AT - 30_000)))["window"]["complete"]
    with pytest.raises(ValueError, match="no part"):
        build()


def test_the_chart_is_plain_svg_that_says_what_it_shows() -> None:
    with zipfile.ZipFile(io.BytesIO(build(window()))) as archive:
        text = archive.read("chart.svg").decode()
    drawn = ElementTree.fromstring(text)
    words = " ".join(drawn.itertext())
    for said in ("仿真数据 SIMULATED", "转速高 <&>", "限值 limit 1490", "触发 trigger", "UTC+8", "06:13:20", "speed"):
        assert said in words, said
    assert not [one for one in drawn.iter() if one.tag.endswith(("script", "image", "foreignObject"))]
    assert len([one for one in drawn.iter() if one.tag.endswith("polyline")]) == 2


def altered(data: bytes, name: str, change: bytes | None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for one in old.namelist():
            if one != name or change is not None:
                new.writestr(one, old.read(one) if one != name else change or b"")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("samples.csv", b"tag\n", "samples.csv: its checksum or size differs"),
        ("chart.svg", None, "chart.svg: missing"),
        ("manifest.json", json.dumps({"files": []}).encode(), "samples.csv: not in the manifest"),
        ("manifest.json", b"[]", "manifest.json: not an alarm's package"),
    ],
)
def test_a_changed_package_is_found(name: str, change: bytes | None, fault: str) -> None:
    assert fault in package.check(altered(build(window()), name, change))


def seconds(values: Callable[[int], float | bool], count: int = 65) -> list[list[Any]]:
    """Rows from 60 s before the trigger on."""
    return [[AT + 1000 * n, values(n), 0] for n in range(-60, count - 60)]


def first_out(rows: dict[str, list[list[Any]]]) -> dict[str, Any]:
    return fluctuation.first_out(rows, list(rows), {"t": AT, "v": 9.0}, AT - 60_000)


def test_first_out_is_the_trigger_where_nothing_else_moved_before() -> None:
    found = first_out({"speed": seconds(lambda n: 1.0 if n < 0 else 9.0), "still": seconds(lambda n: 5.0)})
    assert (found["tag"], found["t"], found["why"], found["z"]) == ("speed", AT, "limit", None)


def test_first_out_of_two_is_the_earlier_a_switch_too() -> None:
    pump = seconds(lambda n: n < -5)
    level = seconds(lambda n: 50.0 + 0.1 * (n % 3) - (8.0 if n >= -3 else 0.0))
    found = first_out({"speed": seconds(lambda n: 1.0), "level": level, "pump": pump})
    assert (found["tag"], found["t"]) == ("pump", AT - 5000)
    assert first_out({"speed": seconds(lambda n: 1.0), "level": level})["t"] == AT - 3000


def test_bad_rows_and_rows_without_a_value_do_not_count() -> None:
    rows = [[AT - 3, 1.0, 0], [AT - 2, 99.0, 0x8000], [AT - 1, None, 0xA001], [AT, 3.0, 0x4000], [AT + 1, "x", 0]]
    found = fluctuation.features(rows, AT, None)
    assert (found["rows"], found["mean"], found["deviation"]) == (2, 2.0, 2.0)


def test_values_at_the_end_of_a_float_do_not_stop_a_package() -> None:
    huge = samples.from_rows([(0, AT + n, 1.7e308 * (-1) ** n, 0, Kind.FLOAT) for n in range(-9, 9)])
    told = package.manifest(build(replace(window(), samples=huge)))
    assert told["features"]["speed"]["std"] is None and told["features"]["speed"]["max"] == 1.7e308


def test_of_two_answers_the_whole_one_is_taken() -> None:
    """The edge was started anew while the parts were under way; its second answer knows little."""
    young = replace(window(ring_from_ms=AT), samples=samples.from_rows(rows()[-3:]))
    old = [window(n, 2) for n in (1, 0)]
    places = [{"edge": "edge", "stream": "00", "sequence": n, "hash": "11"} for n in range(3)]
    for order in itertools.permutations([0, 1, 2]):
        given_in = [[*old, young][at] for at in order]
        data = package.build(ALARM, RULE, given_in, sealed=[places[at] for at in order], made_ms=AT)
        told = package.manifest(data)
        assert told["window"]["complete"] and told["tags"]["speed"]["rows"] == 71
        assert [one["sequence"] for one in told["sealed"]] == [1, 0]
    half = package.manifest(package.build(ALARM, RULE, [young, old[0]], sealed=places[:2], made_ms=AT))
    assert half["tags"]["speed"]["rows"] == 1 and not half["window"]["complete"]


@pytest.mark.parametrize(
    ("rule", "drawn"),
    [
        ({}, [1490.0]),
        ({"absolute": True}, [1490.0, -1490.0]),
        ({"divisor": "load_pct"}, []),
        ({"kind": "rate"}, []),
    ],
)
def test_only_a_limit_in_the_tags_own_unit_is_drawn(rule: dict[str, Any], drawn: list[float]) -> None:
    text = picture(package.build(ALARM, {**RULE, **rule}, [window()], sealed=[], made_ms=AT))
    assert [float(one) for one in re.findall(r"limit (-?[0-9.]+)<", text)] == drawn


def picture(data: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read("chart.svg").decode()


def test_no_line_is_drawn_where_nothing_was_known() -> None:
    def lines(some: list[Any]) -> int:
        return picture(build(replace(window(), samples=samples.from_rows(some)))).count("<polyline")

    speed = [row for row in rows() if row[0] == 0]
    assert lines(speed) == 1
    void = (0, AT - 30_500, None, 0xA001, Kind.FLOAT)
    assert lines(sorted([*speed, void], key=lambda row: row[1])) == 2
    assert lines([row for row in speed if not AT - 30_000 < row[1] < AT - 20_000]) == 2


@pytest.mark.parametrize("name", ["a\x00b", "\ufffe", "]]>", "</svg><script/>"])
def test_odd_names_leave_the_chart_well_formed(name: str) -> None:
    made = package.build({**ALARM, "zh": name}, RULE, [window()], sealed=[], made_ms=AT)
    drawn = ElementTree.fromstring(picture(made))
    assert not [one for one in drawn.iter() if one.tag.endswith("script")]


def test_a_silent_machine_has_a_package_too() -> None:
    silent = {**ALARM, "tag": "", "limit": None, "trigger": {"t": AT, "v": None, "q": 0}}
    data = package.build(silent, {"id": "r", "version": 1, "kind": "stale"}, [window()], sealed=[], made_ms=AT)
    assert package.check(data) == [] and package.manifest(data)["first_out"]["t"] == AT
    empty = replace(window(), samples=samples.empty())
    assert package.check(build(empty)) == [] and "窗口内无数值" in picture(build(empty))


@given(st.data())
def test_any_bytes_are_checked_without_a_crash(data: st.DataObject) -> None:
    good = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    for raw in (bytes(good), data.draw(st.binary(max_size=60))):
        assert all(isinstance(fault, str) for fault in package.check(raw))


GOOD = build(window())

ODD: list[tuple[Kind, samples.Value]] = [
    (Kind.FLOAT, 0.1 + 0.2),
    (Kind.FLOAT, -1e-300),
    (Kind.UINT, (1 << 63) + 1),
    (Kind.INT, -(1 << 63)),
    (Kind.BOOL, True),
    (Kind.ENUM, 3),
    (Kind.STRING, 'true, "x"\n'),
    (Kind.STRING, "12"),
    (Kind.STRING, ""),
    (Kind.ARRAY, np.array([0.1, -2.0])),
    (Kind.FLOAT, None),
]


def test_every_kind_of_value_is_read_back_exactly_by_the_verifiers_own_reader() -> None:
    tags = tuple(TagSpec(f"t{n}", kind) for n, (kind, _) in enumerate(ODD))
    words = Dictionary("E", "edge", (DeviceSpec("motor-1", "large_motor", tags=tags),))
    made = samples.from_rows([(n, AT, value, 0, kind) for n, (kind, value) in enumerate(ODD)])
    data = build(replace(window(), samples=made, dictionary=words))
    read = packages.open_package(data)
    assert read.faults == [] and read.span == (AT - 60_000, AT + 10_000)
    expected = plain.rows_by_device(made, words)["motor-1"]
    assert dict(read.rows) == {tag: [[t, v, q]] for tag, t, v, q in expected}


def test_slope_of_nothing_is_none() -> None:
    assert fluctuation.features([], AT, None)["slope_before_per_s"] is None
    assert fluctuation.features([[AT, 1.0, 0]], AT, 1.0)["deviation"] is None
