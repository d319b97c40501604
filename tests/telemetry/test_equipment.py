"""The equipment file: everything in it is typed, everything wrong with it is named."""

from importlib import resources

import pytest
import yaml

from telemetry.dictionary import split_resolution
from telemetry.equipment import (
    Challenge,
    ControlKind,
    Direction,
    EquipmentError,
    RelationKind,
    Stat,
    TagKind,
    equipment_file,
    equipment_types,
    parse,
)

TEXT = (resources.files("telemetry") / "data" / "equipment.yaml").read_text(encoding="utf-8")
RAW = yaml.safe_load(TEXT)


def test_all_nine_types_are_there() -> None:
    types = equipment_types()
    assert len(types) == 9 and types is equipment_types()
    for type_id, raw in RAW["equipment"].items():
        kind = types[type_id]
        assert (kind.id, kind.zh, kind.category) == (type_id, raw["zh"], raw["category"])
        assert [t.id for t in kind.tags] == [t["id"] for t in raw["tags"]]
        assert [a.id for a in kind.alarms] == [a["id"] for a in raw["alarms"]]
        assert [c.id for c in kind.controls] == [c["id"] for c in raw["controls"]]
        assert [r.id for r in kind.relations] == [r["id"] for r in raw["relations"]]
        assert list(kind.never_remote) == raw["never_remote"]


def test_fields_as_the_file_has_them() -> None:
    boiler = equipment_types()["industrial_boiler"]
    pressure = boiler.tag("steam_pressure")
    assert (pressure.unit, pressure.lo, pressure.hi, pressure.normal, pressure.period_s) == ("MPa", 0.8, 1.12, 1.0, 2.0)
    assert pressure.kind is TagKind.ANALOGUE and not pressure.writable and boiler.tag("run_sp").writable
    assert boiler.tag("run_state").states[4].name == "limited" and boiler.tag("run_state").states[4].zh == "小火保持"
    control = boiler.control("steam_pressure_sp")
    assert control.kind is ControlKind.SETPOINT and control.challenge is Challenge.FREE
    assert (control.max_step, control.min_step, control.max_rate, control.echo_s) == (0.02, 0.012, 0.0005, 0.3)
    response = control.responses[0]
    assert response.direction is Direction.TOWARD and [e.text for e in response.expected] == ["value"]
    hold = boiler.control("low_fire_hold")
    assert [r.at for r in hold.responses] == [1.0, 0.0] and hold.undo == "self" and hold.revert_s == 60.0
    down, up = hold.response_to(1.0), hold.response_to(0.0)
    assert down is not None and [e.text for e in down.expected] == ["30"]
    assert up is not None and up.direction is Direction.UP and up.expected == ()
    relation = boiler.relations[2]
    assert relation.kind is RelationKind.WINDOW and relation.over_s == 1800.0 and relation.when.window
    assert relation.allowed(-10.0) == pytest.approx(0.2)
    alarm = boiler.alarms[3]
    assert alarm.op == "==" and alarm.warn is None and alarm.inhibit is not None
    types = equipment_types()
    assert types["air_compressor"].control("unload_pressure_sp").responses[0].stat is Stat.PEAK
    assert types["photovoltaic"].control("power_limit_sp").together == {"power_limit_ena_sp": 1.0}
    assert types["construction_machinery"].control("auto_idle").echo_s == 30.0
    codes = types["diesel_engine"].sentinels
    assert codes is not None and codes.codes[0].u16 == 0xFFFF and codes.codes[9].u16 == (0xFF00, 0xFFFF)
    sunspec = types["photovoltaic"].sunspec
    assert sunspec is not None and sunspec.base == 40000 and sunspec.marker == (0x5375, 0x6E53)
    assert [m.model for m in sunspec.models] == [1, 103, 120, 121, 123, 160, 302, 303, 307, 64900]
    assert equipment_file().meta.fresh.periods == 3 and equipment_file().sources["if97"]


@pytest.mark.parametrize(
    ("type_id", "tag", "text"),
    [
        ("industrial_boiler", "steam_pressure", "0.0001"),
        ("industrial_boiler", "steam_temp", "0.01"),
        ("industrial_boiler", "furnace_pressure", "1"),
        ("industrial_boiler", "run_hours", "0.1"),
        ("industrial_boiler", "run_state", "1"),
        ("industrial_boiler", "steam_pressure_sp", "0.001"),
        ("blast_furnace", "oxygen_flow_sp", "10"),
        ("air_compressor", "oil_separator_dp", "0.00001"),
        ("cnc_machine", "spindle_speed", "10"),
        ("cnc_machine", "program_hash_ack", "1"),
        ("photovoltaic", "ac_power", "0.01"),
        ("photovoltaic", "ac_voltage", "0.1"),
        ("photovoltaic", "power_factor", "0.001"),
        ("photovoltaic", "total_energy", "0.0001"),
        ("photovoltaic", "daily_energy", "0.1"),
        ("photovoltaic", "module_temp", "0.1"),
        ("photovoltaic", "poa_irradiance", "1"),
        ("photovoltaic", "string_current_avg", "0.01"),
        ("photovoltaic", "wind_speed", "0.1"),
        ("photovoltaic", "performance_ratio", "0.001"),
    ],
)
def test_resolutions(type_id: str, tag: str, text: str) -> None:
    assert equipment_types()[type_id].tag(tag).resolution_text == text


def test_every_resolution_is_one_that_a_dictionary_takes() -> None:
    for kind in equipment_types().values():
        for tag in kind.tags:
            digits, power = split_resolution(tag.resolution_text)
            assert digits * 10.0**power == pytest.approx(tag.resolution, rel=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    zh: 工业锅炉\n", "    zh: 工业锅炉\n    colour: red\n", "industrial_boiler.colour"),
        ("unit: MPa, lo: 0.8, hi: 1.12", "unit: MPa, low: 0.8, hi: 1.12", "tags.0"),
        ("s: 2}\n      - {id: steam_temp", "s: 2, k: x}\n      - {id: steam_temp", "tags.0.k"),
        ("settle_s: 240}, challenge: free", "settles: 240}, challenge: free", "settles"),
        ("challenge: never, pre: [remote_mode==1", "challenge: sometimes, pre: [remote_mode==1", "challenge"),
        ("tag: drum_level, zh: 低水位", "tag: drum_levle, zh: 低水位", "drum_levle"),
        ('when: "steam_pressure>0.1"', 'when: "steam_pressure>open(1)"', "relations.0.when"),
        ('eq: "steam_temp = Tsat', 'eq: "steam_temp == Tsat', "relations.0.eq"),
        ("tol: 0.005, kind: instant", "tol: 0.005, kind: window", "over_s"),
        ("undo: remote_start, hold_s: 250", "undo: restart, hold_s: 250", "undo"),
        ("1: [starting, 前吹扫]", "1: [purging, 前吹扫]", "purging"),
        ("  echo_s: 0.3\n", "", "meta.echo_s"),
        ('zh: 水温高, op: ">"', 'zh: 水温高, op: "=>"', "op"),
        (
            "write: run_sp, echo: run_sp, readback: flame_on",
            "write: flame_on, echo: run_sp, readback: flame_on",
            "normal_stop",
        ),
    ],
)
def test_faults_are_named(old: str, new: str, says: str) -> None:
    assert TEXT.count(old) >= 1
    with pytest.raises(EquipmentError) as caught:
        parse(TEXT.replace(old, new, 1), name="equipment.yaml")
    assert says in str(caught.value) and "equipment.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "meta: 3", "equipment: {a: 3}", "equipment: {a: {tags: 3}}", "a: [", "a: 1\na: 2"]
)
def test_what_is_no_equipment_file_is_an_error(text: str) -> None:
    with pytest.raises(EquipmentError):
        parse(text)
