"""The nameplate a Modbus device gives of itself: Read Device Identification, function 43/14."""

from edge_agent.drivers.modbus_client import Client, Refused

OBJECTS = {
    0x00: "maker",
    0x01: "product_code",
    0x02: "version",
    0x03: "url",
    0x04: "product",
    0x05: "model",
    0x06: "application",
    # 0x80 and up are the maker's own; a serial number is what nearly every maker puts first.
    0x80: "serial",
}
_REGULAR, _EXTENDED = 2, 3


async def read_nameplate(client: Client) -> dict[str, str]:
    """Names to texts; empty where the device does not know the function. Raises CannotReach."""
    objects: dict[int, bytes] = {}
    for code in (_REGULAR, _EXTENDED):
        try:
            objects |= await client.identity(code)
        except Refused:
            break
    texts = {OBJECTS[number]: _text(data) for number, data in sorted(objects.items()) if number in OBJECTS}
    return {name: text for name, text in texts.items() if text}


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace").strip("\0 ")
