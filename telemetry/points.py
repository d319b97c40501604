"""Where a machine's tags are read: the schema of a point list (点表).

The agent's configuration and the list that the enterprise signs for the inspector share this schema, and nothing else:
each side decodes registers with code of its own, so a wrong byte order on one side does not pass on the other.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]
Table = Literal["holding", "input", "coil", "discrete"]
RegisterType = Literal["bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string"]
SecurityPolicy = Literal["None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"]


# In a signed list: what the plant lets its edge leave out, and so what a comparison may allow for.
DEADBAND: Any = Field(default=None, ge=0, description="absolute, in the tag's unit")


class Strict(BaseModel):
    """A key that nobody declared is a mistake, not a comment."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModbusConnection(Strict):
    """Modbus TCP. `order` is how a 32-bit value ABCD (A most significant) lies in two registers: ABCD big endian, CDAB
    words swapped, BADC bytes swapped, DCBA little endian; 64-bit values follow the same two rules, 16-bit values the
    byte rule. `sunspec_base` is the address of the SunSpec marker where the device has a SunSpec map."""

    protocol: Literal["modbus_tcp"] = "modbus_tcp"
    host: str
    port: int = Field(default=502, ge=1, le=65535)
    unit: int = Field(default=1, ge=0, le=255)
    order: Order = "ABCD"
    timeout_s: float = Field(default=1.0, gt=0, le=60)
    max_registers: int = Field(default=120, ge=1, le=125)
    max_gap: int = Field(default=8, ge=0, le=120)
    sunspec_base: int | None = Field(default=None, ge=0, le=65535)


class OpcUaConnection(Strict):
    """OPC UA over opc.tcp. With a policy other than None both sides' certificates are needed; the server's is pinned."""

    protocol: Literal["opcua"] = "opcua"
    endpoint: str = Field(pattern=r"^opc\.tcp://")
    policy: SecurityPolicy = "None"
    mode: Literal["None", "Sign", "SignAndEncrypt"] = "None"
    username: str | None = None
    password_file: str | None = None
    certificate: str | None = None
    private_key: str | None = None
    server_certificate: str | None = None
    method: Literal["subscribe", "poll"] = "subscribe"
    publishing_ms: int = Field(default=200, ge=50, le=60_000)
    timeout_s: float = Field(default=4.0, gt=0, le=60)


Connection = Annotated[ModbusConnection | OpcUaConnection, Field(discriminator="protocol")]


class ModbusPoint(Strict):
    """A tag in registers: value = raw * scale + offset. `address` is the zero-based protocol address."""

    tag: str
    table: Table = "holding"
    address: int = Field(ge=0, le=65535)
    type: RegisterType = "uint16"
    length: int = Field(default=1, ge=1, le=120, description="registers of a string")
    scale: float = 1.0
    offset: float = 0.0
    bit: int | None = Field(default=None, ge=0, le=15)
    order: Order | None = None
    deadband: float | None = DEADBAND


class SunSpecPoint(Strict):
    """A tag in a SunSpec model: `point` by its name in the model ("W", or "module.DCA" in a repeating group), scaled by
    the model's own scale factor and then by `scale`."""

    tag: str
    model: int
    point: str
    scale: float = 1.0
    how: Literal["min", "mean"] | None = None
    deadband: float | None = DEADBAND


class OpcUaPoint(Strict):
    """A tag at a node."""

    tag: str
    node: str
    deadband: float | None = DEADBAND


def _which(raw: Any) -> str:
    """A point is what its telling key makes it: so a mistake in it is reported once, not once per kind."""
    has = raw.keys() if isinstance(raw, dict) else type(raw).model_fields if isinstance(raw, BaseModel) else ()
    return "opcua" if "node" in has else "sunspec" if "model" in has else "modbus"


Point = Annotated[
    Annotated[ModbusPoint, Tag("modbus")]
    | Annotated[SunSpecPoint, Tag("sunspec")]
    | Annotated[OpcUaPoint, Tag("opcua")],
    Discriminator(_which),
]


class Machine(Strict):
    """One machine and where each of its tags is read."""

    uid: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    type: str
    name: str = ""
    simulated: bool = False
    nameplate: dict[str, str] = Field(default_factory=dict)
    connection: Connection
    period_ms: int | None = Field(
        default=None, ge=50, description="acquire every tag this often, not at its own period"
    )
    points: list[Point] = Field(min_length=1)
