"""The true maps of the simulated machines: where each tag is read, as the maker's manual would say.

`point_list` gives what goes into the agent's configuration and into the list of points that the enterprise signs; the
servers build their address spaces from the same list. Register maps are written down below as lines

    table address type[*scale] tag ...      consecutive registers of one type; "-" leaves one out
    table address bits tag ...              consecutive bits of one register
    table address bool tag ...              consecutive coils or discrete inputs

An integer's scale is the tag's own resolution unless the line gives another.
"""

from typing import Any, Literal

from simulators.registers import WIDTHS
from telemetry.equipment import EquipmentType, equipment_types
from telemetry.points import (
    Machine,
    ModbusConnection,
    ModbusPoint,
    OpcUaConnection,
    OpcUaPoint,
    Order,
    Point,
    SunSpecPoint,
)

Protocol = Literal["modbus", "sunspec", "opcua"]

BOILER = """
input 0 float32 steam_pressure steam_temp steam_flow feedwater_flow
input 8 int16 feedwater_temp
input 9 uint16 feedwater_pressure
input 10 int16 drum_level
input 11 uint16 flue_gas_temp flue_o2
input 13 uint32 flue_co
input 20 uint16 flue_nox
input 21 int16 furnace_pressure
input 22 uint16 gas_flow gas_pressure burner_load fan_freq
input 26 int32 water_conductivity
input 28 float32 blowdown_flow efficiency
input 40 float64 gas_leak
input 44 uint32 run_hours
input 60 uint16 run_state
input 61 bits flame_on remote_mode local_lockout bl_trip stop_permit
discrete 0 bool feedwater_auto - o2_trim_auto
holding 100 float32 steam_pressure_sp
holding 102 uint16 burner_max_load_sp o2_trim_sp
holding 110 float64 blowdown_valve_sp
holding 120 uint16 low_fire_hold_sp run_sp
"""

# The status word keeps its bits where the manual draws them, whatever the order of the numbers: see `_line`.
MOTOR = """
holding 1000 float32 voltage_avg
holding 1002 int32 current_a current_b current_c
holding 1008 uint16 current_unbalance
holding 1010 float64 active_power
holding 1014 int16 power_factor
holding 1015 uint16 frequency
holding 1020 int32 speed
holding 1022 uint16 load_pct
holding 1023 int16 winding_temp_u winding_temp_v winding_temp_w bearing_temp_de bearing_temp_nde
holding 1028 float32 vibration_de vibration_nde
holding 1032 int16 ambient_temp
holding 1033 uint16 run_state
holding 1034 uint32*1 start_count
holding 1036 uint64 energy
holding 1040 float64 run_hours
holding 1050 uint16*1 starts_last_hour
holding 1051 bits mo_trip - - - - - - - start_ready stop_permit
coil 16 bool remote_mode
discrete 3 bool local_lockout
holding 1100 uint16 frequency_sp load_limit_sp
holding 1102 int16 run_sp
"""

_NAMES = {"air_compressor": "Compressor", "cnc_machine": "Cnc"}
_REGISTERS: dict[str, tuple[str, Order]] = {"industrial_boiler": (BOILER, "CDAB"), "large_motor": (MOTOR, "DCBA")}


def protocol_of(type_id: str) -> Protocol:
    """What the simulated machine of a type speaks. Raises KeyError for a type that is not simulated."""
    if type_id in _REGISTERS:
        return "modbus"
    if type_id == "photovoltaic":
        return "sunspec"
    if type_id not in _NAMES:
        raise KeyError(type_id)
    return "opcua"


def point_list(
    type_id: str,
    *,
    uid: str,
    port: int,
    host: str = "127.0.0.1",
    name: str = "",
    nameplate: dict[str, str] | None = None,
    **connection: Any,
) -> Machine:
    """The list of points of a simulated machine with every tag of its type. `connection` overrides fields of the
    connection (order, timeout_s, username, password_file, server_certificate, …); the nameplate is listed as the machine's
    protocol can say it. Raises KeyError for a type that is not simulated and pydantic's ValidationError for a connection
    that does not stand."""
    kind = equipment_types()[type_id]
    points: list[Point] = []
    if type_id in _REGISTERS:
        text, order = _REGISTERS[type_id]
        made = ModbusConnection.model_validate({"host": host, "port": port, "order": order, **connection})
        points += register_points(text, kind)
    elif kind.sunspec is not None:
        made = ModbusConnection.model_validate(
            {"host": host, "port": port, "sunspec_base": kind.sunspec.base, **connection}
        )
        points += sunspec_points(kind)
    else:
        prefix = _NAMES[type_id]
        secure = {"policy": "Basic256Sha256", "mode": "SignAndEncrypt"} if type_id == "air_compressor" else {}
        made = OpcUaConnection.model_validate(
            {"endpoint": f"opc.tcp://{host}:{port}/{prefix.lower()}", **secure, **connection}
        )
        points += [OpcUaPoint(tag=t.id, node=f"ns=2;s={prefix}.{camel(t.id)}") for t in kind.tags]
    return Machine.model_validate(
        {
            "uid": uid,
            "type": type_id,
            "name": name or kind.zh,
            "simulated": True,
            "nameplate": {k: v if made.protocol == "opcua" else ascii_text(v) for k, v in (nameplate or {}).items()},
            "connection": made,
            "points": points,
        }
    )


def ascii_text(text: str) -> str:
    """What is left of a text in a protocol whose strings are ASCII (Modbus 43/14, SunSpec)."""
    return text.encode("ascii", "ignore").decode("ascii").strip()


def camel(tag_id: str) -> str:
    """discharge_pressure → DischargePressure."""
    return "".join(part.capitalize() for part in tag_id.split("_"))


def object_name(type_id: str) -> str:
    """Browse name of an OPC UA machine. Raises KeyError."""
    return _NAMES[type_id]


def sunspec_points(kind: EquipmentType) -> list[SunSpecPoint]:
    """The points of a type's SunSpec chain."""
    if kind.sunspec is None:
        return []
    return [
        SunSpecPoint(
            tag=tag,
            model=model.model,
            point=point,
            scale=model.scale.get(tag, 1.0),
            how=None if tag not in model.how else "min" if model.how[tag].startswith("min") else "mean",
        )
        for model in kind.sunspec.models
        for tag, point in model.points.items()
    ]


def register_points(text: str, kind: EquipmentType) -> list[ModbusPoint]:
    """The points of a register map written as above. Raises ValueError unless it has every tag of the type once."""
    points = [p for line in text.strip().splitlines() for p in _line(line.split(), kind)]
    tags = [p.tag for p in points]
    if sorted(tags) != sorted(kind.tag_by_id):
        raise ValueError(f"{kind.id}: map and tags differ: {sorted(set(tags) ^ set(kind.tag_by_id))}")
    return points


def _line(words: list[str], kind: EquipmentType) -> list[ModbusPoint]:
    at = int(words[1])
    type_name, _, factor = words[2].partition("*")
    points: list[ModbusPoint] = []
    for i, tag in enumerate(words[3:]):
        if tag == "-":
            continue
        if type_name == "bits":
            # "ABCD": which bit of a swapped word is meant would be open to two readings.
            place: dict[str, Any] = {"address": at, "type": "bool", "bit": i, "order": "ABCD"}
        elif type_name == "bool":
            place = {"address": at + i, "type": "bool"}
        else:
            scale = 1.0 if type_name.startswith("float") else float(factor or kind.tag(tag).resolution)
            place = {"address": at + i * WIDTHS[type_name], "type": type_name, "scale": scale}
        points.append(ModbusPoint.model_validate({"tag": tag, "table": words[0], **place}))
    return points
