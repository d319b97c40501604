"""The agent's configuration file.

Devices are written as in a point list (telemetry.points), so that the two can be compared line by line; what only the
agent needs (deadband, limits, another period) may stand beside a point. Everything that can be known to be wrong before
the first connection is refused here, with file, line and key.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from edge_agent.drivers.modbus_plan import BIT_TABLES, WIDTHS
from edge_agent.drivers.modbus_sunspec import check_point
from telemetry import enterprise, settings
from telemetry.equipment import EquipmentType, equipment_types
from telemetry.mqtt import BrokerSettings
from telemetry.points import Machine, ModbusConnection, ModbusPoint, OpcUaConnection, OpcUaPoint, Strict, SunSpecPoint

_NODE_ID = re.compile(r"(ns=\d+;)?([is]=.+|g=[0-9A-Fa-f-]{36}|b=.+)")  # OPC UA Part 6, 5.3.1.10
PROFILES_S = {"live": 0.2, "normal": 1.0, "economy": 10.0}


class Frame(Strict):
    """How often a frame is made: a profile, or a period of one's own."""

    profile: Literal["live", "normal", "economy"] = "normal"
    period_s: float | None = Field(default=None, ge=0.05, le=600)

    @property
    def seconds(self) -> float:
        """The period in force."""
        return self.period_s if self.period_s is not None else PROFILES_S[self.profile]


class Outbox(Strict):
    """The store on disk that bridges outages."""

    max_bytes: int = Field(default=2 << 30, ge=1 << 20)


class RingSettings(Strict):
    """The raw ring in memory that the packages of alarms are cut from."""

    minutes: float = Field(default=15.0, ge=15, le=24 * 60)
    max_bytes: int = Field(default=64 << 20, ge=1 << 20)


class PipelineSettings(Strict):
    """What happens to every value between driver and frame, unless a point says otherwise."""

    deadband: bool = True
    """Whether deadbands are applied at all."""
    deadband_percent: float = Field(default=0.0, ge=0, le=20)
    """Deadband of analogue tags in percent of their type's typical range; 0: every value goes up."""
    max_interval_s: float = Field(default=10.0, gt=0)
    """A value goes up at least this often, however little it changes."""
    max_future_s: float = Field(default=5.0, gt=0)
    """A source time farther ahead of its arrival is replaced by the arrival's."""
    max_past_s: float = Field(default=30 * 86400.0, gt=0)
    """The same for one that lies behind: long, since a server may rightly say that a value last changed days ago."""
    range_margin: float | None = Field(default=None, ge=0)
    """Values outside the typical range widened on both sides by this multiple of its width are flagged; null: none."""


class Extras(Strict):
    """What the agent may say of a point beyond where it is read."""

    deadband: float | None = Field(default=None, ge=0, description="absolute, in the tag's unit")
    period_ms: int | None = Field(default=None, ge=50)
    lo: float | None = None
    hi: float | None = None


class AgentModbusPoint(ModbusPoint, Extras):
    """A tag in registers."""


class AgentSunSpecPoint(SunSpecPoint, Extras):
    """A tag in a SunSpec model."""


class AgentOpcUaPoint(OpcUaPoint, Extras):
    """A tag at a node. `kind` where the node holds 64-bit integers or text."""

    kind: Literal["float", "int", "uint", "string", "array"] | None = None


def _which(raw: Any) -> str:
    has: Any = raw if isinstance(raw, dict) else vars(raw) if isinstance(raw, Strict) else ()
    return "opcua" if "node" in has else "sunspec" if "model" in has else "modbus"


AgentPoint = Annotated[
    Annotated[AgentModbusPoint, Tag("modbus")]
    | Annotated[AgentSunSpecPoint, Tag("sunspec")]
    | Annotated[AgentOpcUaPoint, Tag("opcua")],
    Discriminator(_which),
]


class Device(Machine):
    """One machine. Every tag must be one of its equipment type, and every point one that its connection can read."""

    points: list[AgentPoint] = Field(min_length=1)  # pyright: ignore[reportIncompatibleVariableOverride]

    @field_validator("type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        if value not in equipment_types():
            raise ValueError(f"no such equipment type; known are {', '.join(sorted(equipment_types()))}")
        return value

    @model_validator(mode="after")
    def _points_fit(self) -> "Device":
        faults = [*_connection_faults(self), *_point_faults(self, equipment_types()[self.type])]
        if faults:
            raise ValidationError.from_exception_data("Device", [_detail(*fault) for fault in faults])
        return self

    @property
    def equipment(self) -> EquipmentType:
        """Its equipment type."""
        return equipment_types()[self.type]


class AgentSettings(Strict):
    """The whole file. Paths may be relative to it (see `load`)."""

    enterprise: Annotated[str, AfterValidator(enterprise.check)]
    edge: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    state_dir: Path
    broker: BrokerSettings
    keys: Path
    cloud_keys: Path
    frame: Frame = Frame()
    outbox: Outbox = Outbox()
    pipeline: PipelineSettings = PipelineSettings()
    ring: RingSettings = RingSettings()
    devices: list[Device] = Field(min_length=1)

    @model_validator(mode="after")
    def _uids_differ(self) -> "AgentSettings":
        seen: set[str] = set()
        for i, device in enumerate(self.devices):
            if device.uid in seen:
                fault = _detail(("devices", i, "uid"), "this uid is given twice", device.uid)
                raise ValidationError.from_exception_data("AgentSettings", [fault])
            seen.add(device.uid)
        return self


_Fault = tuple[tuple[str | int, ...], str, Any]


def _detail(location: tuple[str | int, ...], message: str, found: Any) -> InitErrorDetails:
    # The message goes in as a value: braces in it must not be read as placeholders.
    return InitErrorDetails(type=PydanticCustomError("value", "{why}", {"why": message}), loc=location, input=found)


def _connection_faults(device: Device) -> list[_Fault]:
    connection = device.connection
    if not isinstance(connection, OpcUaConnection):
        return []
    where = ("connection", "opcua")
    faults: list[_Fault] = []
    secure = connection.policy != "None"
    if secure != (connection.mode != "None"):
        faults.append(((*where, "mode"), f"mode {connection.mode} does not go with policy {connection.policy}", None))
    if secure and connection.server_certificate is None:
        faults.append(
            ((*where, "server_certificate"), f"policy {connection.policy} needs the server's certificate", None)
        )
    if (connection.certificate is None) != (connection.private_key is None):
        faults.append(((*where, "certificate"), "certificate and private_key go together", None))
    if (connection.username is None) != (connection.password_file is None):
        faults.append(((*where, "username"), "username and password_file go together", None))
    return faults


def _point_faults(device: Device, kind: EquipmentType) -> list[_Fault]:
    faults: list[_Fault] = []
    seen: set[str] = set()
    for i, point in enumerate(device.points):
        where = ("points", i)
        if point.tag not in kind.tag_by_id:
            faults.append(((*where, "tag"), f"equipment type {device.type} has no such tag", point.tag))
        elif point.tag in seen:
            faults.append(((*where, "tag"), "this tag is given twice", point.tag))
        seen.add(point.tag)
        faults += _reading_faults(point, device.connection, where)
        if point.lo is not None and point.hi is not None and point.lo >= point.hi:
            faults.append(((*where, "lo"), f"lo is not below hi ({point.hi})", point.lo))
    return faults


def _reading_faults(
    point: AgentModbusPoint | AgentSunSpecPoint | AgentOpcUaPoint,
    connection: ModbusConnection | OpcUaConnection,
    where: tuple[str, int],
) -> list[_Fault]:
    if isinstance(point, AgentOpcUaPoint):
        if not isinstance(connection, OpcUaConnection):
            return [((*where, "node"), "a node needs an opcua connection", point.node)]
        wrong = _NODE_ID.fullmatch(point.node) is None
        return [((*where, "node"), 'expected a node id such as "ns=2;s=Name"', point.node)] if wrong else []
    if not isinstance(connection, ModbusConnection):
        return [((*where, "tag"), "an opcua connection needs a node for each tag", point.tag)]
    if isinstance(point, AgentSunSpecPoint):
        if connection.sunspec_base is None:
            return [((*where, "model"), "a SunSpec point needs sunspec_base in the connection", point.model)]
        unknown = check_point(point)
        return [((*where, "point"), unknown, point.point)] if unknown else []
    if connection.sunspec_base is not None:
        return [((*where, "tag"), "a connection with sunspec_base reads SunSpec points only", point.tag)]
    return _register_faults(point, connection, where)


def _register_faults(point: AgentModbusPoint, connection: ModbusConnection, where: tuple[str, int]) -> list[_Fault]:
    if point.table in BIT_TABLES:
        wrong = point.type != "bool" or point.bit is not None
        return [((*where, "type"), f"a {point.table} is a bool without bit", point.type)] if wrong else []
    if point.bit is not None and point.type not in ("bool", "uint16", "int16"):
        return [((*where, "bit"), "a bit is taken from one 16-bit register (type bool or uint16)", point.bit)]
    width = point.length if point.type == "string" else WIDTHS[point.type]
    if width > connection.max_registers:
        return [((*where, "type"), f"{width} registers do not fit a request of {connection.max_registers}", point.type)]
    if point.address + width > 65536:
        return [((*where, "address"), "reaches beyond register 65535", point.address)]
    return [((*where, "scale"), "a scale of 0 loses the value", point.scale)] if point.scale == 0 else []


def load(path: Path | str) -> AgentSettings:
    """Read the agent's configuration; relative paths in it become relative to the file's folder. Raises SettingsError."""
    path = Path(path)
    read = settings.load(path, AgentSettings)
    return _absolute(read, path.parent.absolute())


_PATHS = frozenset({"password_file", "certificate", "private_key", "server_certificate", "ca_file"}) | frozenset(
    {"state_dir", "keys", "cloud_keys"}
)


def _absolute(model: Any, folder: Path) -> Any:
    """A copy with every path made absolute."""
    changed: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if name in _PATHS and value is not None:
            changed[name] = type(value)(folder / value) if isinstance(value, Path) else str(folder / value)
        elif isinstance(value, Strict):
            changed[name] = _absolute(value, folder)
        elif isinstance(value, list) and name == "devices":
            changed[name] = [_absolute(device, folder) for device in value]
    return model.model_copy(update=changed)
