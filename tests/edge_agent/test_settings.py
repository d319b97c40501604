from pathlib import Path

import pytest

from edge_agent import settings
from edge_agent.describe import grid_text, to_dictionary, to_rules
from telemetry.samples import Kind
from telemetry.settings import SettingsError, parse

GOOD = """\
enterprise: 91350100M000100Y43
edge: edge-1
state_dir: state
broker: {host: 127.0.0.1, port: 1883}
keys: keys
cloud_keys: cloud.json
frame: {profile: live}
pipeline: {deadband_percent: 1, range_margin: 1.0}
devices:
  - uid: motor-1
    type: large_motor
    connection: {protocol: modbus_tcp, host: 10.0.0.5, order: CDAB}
    points:
      - {tag: speed, address: 0, type: int32, scale: 0.1, offset: 0.05}
      - {tag: current_a, address: 4, type: float32, deadband: 0.5, period_ms: 200, lo: 0, hi: 900}
      - {tag: energy, address: 8, type: uint64}
      - {tag: start_count, address: 12, type: uint32}
      - {tag: mo_trip, address: 20, type: bool, bit: 3}
      - {tag: run_state, address: 21}
      - {tag: remote_mode, address: 0, table: coil, type: bool}
  - uid: comp-1
    type: air_compressor
    connection: {protocol: opcua, endpoint: "opc.tcp://10.0.0.6:4840"}
    period_ms: 500
    points:
      - {tag: discharge_pressure, node: "ns=2;s=Compressor.DischargePressure"}
"""


def read(text: str = GOOD) -> settings.AgentSettings:
    return parse(text, settings.AgentSettings, name="edge.yaml")


def faults(old: str, new: str) -> list[str]:
    assert old in GOOD
    with pytest.raises(SettingsError) as caught:
        read(GOOD.replace(old, new))
    return caught.value.faults


def line_of(text: str) -> int:
    return next(i for i, line in enumerate(GOOD.splitlines(), start=1) if text in line)


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        ("host: 10.0.0.5", "hots: 10.0.0.5", "host: 10.0.0.5", "devices.0.connection.hots", "unknown key"),
        ("deadband_percent", "deadband_procent", "pipeline:", "pipeline.deadband_procent", "unknown key"),
        ("frame: {profile: live}", "frame: {profile: fast}", "frame:", "frame.profile", "'live'"),
        ("port: 1883", "port: many", "broker:", "broker.port", "integer"),
        ("tag: speed", "tag: sped", "tag: speed", "devices.0.points.0.tag", "no such tag, found 'sped'"),
        ("tag: run_state", "tag: speed", "tag: run_state", "devices.0.points.5.tag", "given twice"),
        ("type: large_motor", "type: lathe", "type: large_motor", "devices.0.type", "no such equipment type"),
        ("uid: comp-1", "uid: motor-1", "uid: comp-1", "devices.1.uid", "given twice"),
        ("Y43", "Y44", "enterprise:", "enterprise", "check character"),
        ("bit: 3", "bit: 3, colour: red", "tag: mo_trip", "devices.0.points.4.colour", "unknown key"),
        ("table: coil, type: bool", "table: coil", "tag: remote_mode", "devices.0.points.6.type", "a coil is a bool"),
        (
            "address: 8, type: uint64",
            "address: 65534, type: uint64",
            "tag: energy",
            "devices.0.points.2.address",
            "beyond",
        ),
        ("ns=2;s=C", "ns:2;s=C", "discharge_pressure", "devices.1.points.0.node", "expected a node id"),
        ("lo: 0, hi: 900", "lo: 5, hi: 5", "current_a", "devices.0.points.1.lo", "lo is not below hi"),
        ('4840"}', '4840", policy: Basic256Sha256}', "opc.tcp", "devices.1.connection.mode", "does not go with"),
        (
            'node: "ns=2;s=Compressor.DischargePressure"',
            "address: 5",
            "discharge_pressure",
            "devices.1.points.0.tag",
            "node",
        ),
    ],
)
def test_a_mistake_is_named_by_file_line_and_key(old: str, new: str, line: str, key: str, words: str) -> None:
    found = faults(old, new)
    start = f"edge.yaml:{line_of(line)}: {key}"
    assert any(f.startswith(start) and words in f for f in found), found


def test_a_secure_policy_needs_the_servers_certificate_and_halves_are_refused() -> None:
    found = faults('4840"}', '4840", policy: Basic256Sha256, mode: Sign, username: a, certificate: c}')
    assert len(found) == 3
    assert all("devices.1.connection" in f for f in found)


def test_kinds_and_resolutions() -> None:
    tags = {t.id: t for d in to_dictionary(read()).devices for t in d.tags}
    assert (tags["speed"].kind, tags["speed"].resolution) == (Kind.FLOAT, "0.05")
    assert (tags["energy"].kind, tags["energy"].resolution) == (Kind.UINT, None)
    assert tags["start_count"].kind == Kind.UINT
    assert tags["mo_trip"].kind == tags["remote_mode"].kind == Kind.BOOL
    assert tags["run_state"].kind == Kind.ENUM
    assert tags["current_a"].kind == Kind.FLOAT
    assert (tags["current_a"].period_ms, tags["current_a"].deadband) == (200, 0.5)
    pressure = tags["discharge_pressure"]
    assert (pressure.source_time, pressure.period_ms) == (True, 500)
    assert pressure.deadband > 0
    assert not tags["speed"].source_time


def test_a_scale_on_a_uint64_makes_it_a_float_with_that_resolution() -> None:
    text = GOOD.replace("type: uint64}", "type: uint64, scale: 0.001}")
    (energy,) = [t for d in to_dictionary(read(text)).devices for t in d.tags if t.id == "energy"]
    assert (energy.kind, energy.resolution) == (Kind.FLOAT, "0.001")


@pytest.mark.parametrize(
    ("scale", "offset", "step"),
    [
        (0.1, 0, "0.1"),
        (1, 0, "1"),
        (10, 0, "10"),
        (0.1, -40, "0.1"),
        (1, 0.5, "0.5"),
        (0.25, 0, "0.25"),
        (1e-6, 0, "0.000001"),
        (1 / 3, 0, None),
        (-0.1, 0, "0.1"),
        (0.3, 0.2, "0.1"),
    ],
)
def test_the_step_of_a_scaled_integer(scale: float, offset: float, step: str | None) -> None:
    assert grid_text(scale, offset) == step


def test_rules_by_tag_number() -> None:
    config = read()
    dictionary = to_dictionary(config)
    rules = to_rules(config, dictionary)
    assert len(rules) == len(dictionary.tags) == 8
    current = dictionary.number("motor-1", "current_a")
    assert (rules.lo[current], rules.hi[current], rules.deadband[current]) == (0, 900, 0.5)
    pressure = dictionary.number("comp-1", "discharge_pressure")
    assert rules.source_time[pressure]
    assert rules.lo[pressure] > -1e9


def test_a_device_that_calls_itself_simulated_is_simulated() -> None:
    plates = {"comp-1": {"application_uri": "urn:SIMULATED:compressor", "serial": "7"}}
    motor, compressor = to_dictionary(read(), plates).devices
    assert (motor.simulated, compressor.simulated) == (False, True)
    assert compressor.nameplate["serial"] == "7"


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(GOOD.replace('4840"}', '4840", username: a, password_file: secret}'), encoding="utf-8")
    config = settings.load(file)
    assert config.state_dir == tmp_path / "state"
    assert config.devices[1].connection.password_file == str(tmp_path / "secret")  # type: ignore[union-attr]
    assert config.frame.seconds == 0.2
