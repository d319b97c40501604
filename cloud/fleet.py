"""The machines of an enterprise: who they are and which edges carry them, out of the edges' dictionaries."""

import asyncio
from dataclasses import dataclass

from cloud.errors import ApiError
from ingest.catalogue import Catalogue
from telemetry.dictionary import DeviceSpec, Dictionary
from telemetry.topics import Address


@dataclass(frozen=True, slots=True)
class Carried:
    """A machine, the dictionary that describes it now, and every edge that carries it (one, unless it was moved)."""

    spec: DeviceSpec
    dictionary: Dictionary
    edges: tuple[Address, ...]

    @property
    def edge(self) -> str:
        """The edge that carries it now."""
        return self.edges[-1].edge


async def devices(catalogue: Catalogue, enterprise: str) -> dict[str, Carried]:
    """All machines by uid."""
    out: dict[str, Carried] = {}
    for words in await asyncio.to_thread(catalogue.dictionaries, enterprise):
        address = Address(words.enterprise, words.edge)
        for spec in words.devices:
            before = out[spec.uid].edges if spec.uid in out else ()
            out[spec.uid] = Carried(spec, words, (*before, address))
    return out


async def device(catalogue: Catalogue, enterprise: str, uid: str) -> Carried:
    """One machine. Raises ApiError for one that the enterprise does not have (which may be another's)."""
    found = (await devices(catalogue, enterprise)).get(uid)
    if found is None:
        raise ApiError(404, "unknown_device", f"没有设备 {uid}", f"there is no device {uid}")
    return found
