"""Errors in a configuration name the file, the line, the key and what was expected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import settings
from telemetry.points import Machine
from telemetry.settings import SettingsError

GOOD = """
uid: boiler-1
type: industrial_boiler
connection: {protocol: modbus_tcp, host: 127.0.0.1, port: 1502, order: CDAB}
points:
  - {tag: steam_pressure, address: 0, type: int32, scale: 0.0001}
  - {tag: steam_temp, node: "ns=2;s=T"}
"""


def test_a_good_file_loads() -> None:
    machine = settings.parse(GOOD, Machine)
    assert machine.connection.protocol == "modbus_tcp"
    assert [type(p).__name__ for p in machine.points] == ["ModbusPoint", "OpcUaPoint"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("port: 1502", "prot: 1502"), "f.yaml:4: connection.prot: unknown key"),
        (("port: 1502", "port: many"), "f.yaml:4: connection.port: .*integer"),
        (("uid: boiler-1\n", ""), "f.yaml:2: uid: this key is required"),
        (("order: CDAB", "order: ACBD"), "f.yaml:4: connection.order: .*'ABCD'"),
        (("address: 0", "adress: 0"), "f.yaml:6: points.0.adress: unknown key"),
        (
            ("type: industrial_boiler", "type: industrial_boiler\nuid: again"),
            "f.yaml:4: not YAML: key 'uid' is given twice",
        ),
        (("points:", "points: ["), "f.yaml:.*: not YAML"),
    ],
)
def test_faults_say_where_and_what(change: tuple[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings.parse(GOOD.replace(*change), Machine, name="f.yaml")


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read: No such file"):
        settings.load(tmp_path / "none.yaml", Machine)


@given(st.text(max_size=80))
def test_any_text_gives_settings_or_the_one_error(text: str) -> None:
    with pytest.raises(SettingsError):
        settings.parse(text, Machine)
