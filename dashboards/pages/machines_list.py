"""The enterprise's machines and their tags, as pages offer them for choosing."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cloud import fleet
from cloud.auth import Principal
from cloud.fleet import Carried
from cloud.services import Services
from telemetry.equipment import equipment_types
from telemetry.samples import Kind

_NOT_DRAWN = (Kind.STRING, Kind.ARRAY)


@dataclass(frozen=True, slots=True)
class TagShown:
    """A tag: its id, its name where the equipment file has one, its unit."""

    id: str
    name: str
    unit: str


async def machines(house: Services, caller: Principal) -> dict[str, Carried]:
    """All machines of the caller's enterprise by uid, in the order of their uids."""
    found = await fleet.devices(house.catalogue, caller.enterprise)
    return dict(sorted(found.items()))


def tags_of(machine: Carried, *, drawn: bool = False) -> list[TagShown]:
    """A machine's tags; `drawn`: those that a curve can be drawn of."""
    kind = equipment_types().get(machine.spec.type)
    names = {tag.id: tag.zh for tag in kind.tags} if kind is not None else {}
    return [
        TagShown(tag.id, names.get(tag.id, tag.id), tag.unit)
        for tag in machine.spec.tags
        if not (drawn and tag.kind in _NOT_DRAWN)
    ]


def tags_of_type(type_id: str) -> list[TagShown]:
    """The tags of an equipment type; none for an unknown one."""
    kind = equipment_types().get(type_id)
    return [TagShown(tag.id, tag.zh, tag.unit) for tag in kind.tags] if kind is not None else []


def tag_names(found: Iterable[Carried]) -> dict[tuple[str, str], TagShown]:
    """Tags by (machine, tag)."""
    return {(one.spec.uid, tag.id): tag for one in found for tag in tags_of(one)}


def options(found: Iterable[Carried]) -> list[dict[str, str]]:
    """Machines for a list to choose from."""
    return [{"uid": one.spec.uid, "name": one.spec.name} for one in found]


def type_names() -> dict[str, str]:
    """Equipment types by id, in Chinese."""
    return {name: kind.zh for name, kind in equipment_types().items()}


def plain(tags: Iterable[TagShown]) -> list[dict[str, Any]]:
    """Tags as JSON."""
    return [{"id": tag.id, "name": tag.name, "unit": tag.unit} for tag in tags]
