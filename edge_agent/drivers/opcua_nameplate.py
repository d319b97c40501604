"""The nameplate an OPC UA server gives of its machine: its ApplicationUri, and the identification object (OPC 40001-1)."""

from asyncua import ua
from asyncua.client.client import Client
from asyncua.common.node import Node
from asyncua.ua.object_ids import ObjectIds

_NAMES = {
    "Manufacturer": "maker",
    "Model": "model",
    "SerialNumber": "serial",
    "SoftwareRevision": "version",
    "ProductInstanceUri": "product_uri",
    "YearOfConstruction": "year",
}
_DEPTH = 3


async def read_nameplate(client: Client) -> dict[str, str]:
    """Names to texts, empty where the server has none. Raises what reading raises."""
    plate: dict[str, str] = {}
    servers = await client.get_node(ua.NodeId(ua.Int32(ObjectIds.Server_ServerArray))).read_value()
    if servers:
        plate["application_uri"] = str(servers[0])
    found = await _identification([client.nodes.objects])
    if found is not None:
        plate |= await _read(client, found)
    return plate


async def _identification(level: list[Node]) -> Node | None:
    """The first object with the browse name Identification, nearest first."""
    for _ in range(_DEPTH):
        below: list[Node] = []
        for parent in level:
            for reference in await parent.get_children_descriptions(nodeclassmask=ua.NodeClass.Object):
                child = Node(parent.session, reference.NodeId)
                if reference.BrowseName.Name == "Identification":
                    return child
                if reference.NodeId.NamespaceIndex != 0:  # the standard's own objects have none
                    below.append(child)
        level = below
    return None


async def _read(client: Client, identification: Node) -> dict[str, str]:
    references = await identification.get_children_descriptions(nodeclassmask=ua.NodeClass.Variable)
    wanted = [r for r in references if r.BrowseName.Name in _NAMES]
    if not wanted:
        return {}
    values = await client.read_values([client.get_node(r.NodeId) for r in wanted])
    texts = {_NAMES[r.BrowseName.Name]: _text(v) for r, v in zip(wanted, values, strict=True)}
    return {name: text for name, text in texts.items() if text}


def _text(value: object) -> str:
    return "" if value is None else str(value.Text if isinstance(value, ua.LocalizedText) else value).strip()
