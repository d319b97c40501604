"""The address space of an OPC UA machine: one object with a variable per tag, and its nameplate.

    Objects / <Machine> / <Tag>             value; EngineeringUnits and EURange, or EnumStrings, as properties (Part 8)
                        / Identification    Manufacturer, Model, SerialNumber, … (after OPC 10000-100, 4.5)

Node ids are those of the machine's list of points, with each name's path after the machine for the nameplate.
"""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportArgumentType=false
# (asyncua's annotations contradict its use: NodeId wants an Int32 for an int, `ua` re-exports nothing.)

from collections.abc import Mapping

from asyncua import Server, ua
from asyncua.common.node import Node

from telemetry.equipment import EquipmentType, Tag, TagKind

UNITS_NAMESPACE = "http://www.opcfoundation.org/UA/units/un/cefact"
# UN/ECE Recommendation 20 common codes; -1 where a unit has none (Part 8, 5.6.3).
_UNECE = {
    "MPa": "MPA", "kPa": "KPA", "Pa": "PAL", "degC": "CEL", "A": "AMP", "V": "VLT", "kW": "KWT", "%": "P1", "Hz": "HTZ",
    "h": "HUR", "s": "SEC", "rpm": "RPM", "mm/s": "C16", "mm/min": "H81", "Nm": "NU", "kWh": "KWH", "m/s": "MTS",
}  # fmt: skip
_NAMEPLATE = {"maker": "Manufacturer", "model": "Model", "serial": "SerialNumber", "version": "SoftwareRevision"}
_LOCALIZED = ("Manufacturer", "Model")


def variant_type(tag: Tag) -> ua.VariantType:
    """How the machine types a tag."""
    if tag.kind is TagKind.BOOLEAN or tag.unit == "0/1":
        return ua.VariantType.Boolean
    if tag.kind is TagKind.ENUM and tag.states:
        return ua.VariantType.Int32
    if tag.kind is TagKind.ENUM or tag.unit in ("count", "pcs") or tag.hi > 1 << 31:
        return ua.VariantType.UInt32
    return ua.VariantType.Double


def unit_id(unit: str) -> int:
    """UnitId of a unit: its common code read as a big-endian number."""
    return int.from_bytes(_UNECE[unit].encode("ascii"), "big") if unit in _UNECE else -1


async def build(
    server: Server,
    kind: EquipmentType,
    *,
    index: int,
    name: str,
    nodes: Mapping[str, str],
    nameplate: Mapping[str, str],
) -> dict[str, ua.NodeId]:
    """Make the machine's object in namespace `index`; `nodes` gives each tag's node id. Gives the node ids by tag."""
    machine = await server.nodes.objects.add_object(ua.NodeId(name, index), ua.QualifiedName(name, index))
    made: dict[str, ua.NodeId] = {}
    for tag in kind.tags:
        node_id = ua.NodeId.from_string(nodes[tag.id])
        browse = ua.QualifiedName(str(node_id.Identifier).rpartition(".")[2], index)
        kind_of = variant_type(tag)
        first = ua.Variant(False if kind_of is ua.VariantType.Boolean else 0, kind_of)
        variable = await machine.add_variable(node_id, browse, first, kind_of)
        await variable.write_attribute(
            ua.AttributeIds.DisplayName, ua.DataValue(ua.Variant(ua.LocalizedText(tag.zh, "zh")))
        )
        if tag.writable:
            await variable.set_writable()
        await _properties(variable, tag, kind_of)
        made[tag.id] = variable.nodeid
    await _identification(machine, name, index, nameplate)
    return made


async def _properties(variable: Node, tag: Tag, kind_of: ua.VariantType) -> None:
    path, index = variable.nodeid.Identifier, variable.nodeid.NamespaceIndex

    async def add(name: str, value: object, vtype: ua.VariantType) -> None:
        await variable.add_property(ua.NodeId(f"{path}.{name}", index), ua.QualifiedName(name, 0), value, vtype)

    if tag.states:
        texts = [
            ua.LocalizedText(tag.states[i].zh if i in tag.states else "", "zh") for i in range(max(tag.states) + 1)
        ]
        await add("EnumStrings", texts, ua.VariantType.LocalizedText)
    elif kind_of is not ua.VariantType.Boolean:
        unit = ua.EUInformation(
            NamespaceUri=UNITS_NAMESPACE,
            UnitId=unit_id(tag.unit),
            DisplayName=ua.LocalizedText(tag.unit),
            Description=ua.LocalizedText(tag.zh, "zh"),
        )
        await add("EngineeringUnits", unit, ua.VariantType.ExtensionObject)
        await add("EURange", ua.Range(Low=tag.lo, High=tag.hi), ua.VariantType.ExtensionObject)


async def _identification(machine: Node, name: str, index: int, nameplate: Mapping[str, str]) -> None:
    plate = await machine.add_object(
        ua.NodeId(f"{name}.Identification", index), ua.QualifiedName("Identification", index)
    )
    for key, value in nameplate.items():
        field = _NAMEPLATE.get(key, "".join(part.capitalize() for part in key.split("_")))
        text = ua.LocalizedText(value) if field in _LOCALIZED else value
        await plate.add_property(
            ua.NodeId(f"{name}.Identification.{field}", index), ua.QualifiedName(field, index), text
        )
