"""The nine named equipment types: tags, alarms, controls, physical relations, from the package's equipment.yaml.

Every key of that file is a typed field; an unknown key, a key given twice or a reference to a tag that does not exist
is an EquipmentError naming file, line and key. The file's own header defines the meaning of every field.
"""

from collections.abc import Mapping
from functools import cache, cached_property
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from telemetry import settings
from telemetry.equipment_parts import (
    STRICT,
    Alarm,
    Challenge,
    Control,
    ControlKind,
    Direction,
    Relation,
    RelationKind,
    Response,
    SentinelCode,
    Sentinels,
    Stat,
    State,
    Status,
    Tag,
    TagKind,
)
from telemetry.sunspec_chain import SunSpec, SunSpecModel, resolution_of

__all__ = [
    "Alarm",
    "Challenge",
    "Control",
    "ControlKind",
    "Direction",
    "EquipmentError",
    "EquipmentFile",
    "EquipmentType",
    "Meta",
    "Relation",
    "RelationKind",
    "Response",
    "SentinelCode",
    "Sentinels",
    "Stat",
    "State",
    "Status",
    "SunSpec",
    "SunSpecModel",
    "Tag",
    "TagKind",
    "equipment_file",
    "equipment_types",
    "parse",
]


class EquipmentError(settings.SettingsError):
    """The equipment file cannot be used."""


@dataclass(frozen=True, config=STRICT)
class EquipmentType:
    """One kind of machine. `reference` is the plate of the reference machine that the normal values belong to."""

    id: str
    zh: str
    category: str
    reference: Mapping[str, bool | int | float | str]
    basis: str
    status: Status
    tags: tuple[Tag, ...]
    alarms: tuple[Alarm, ...]
    controls: tuple[Control, ...]
    never_remote: tuple[str, ...]
    relations: tuple[Relation, ...]
    sentinels: Sentinels | None = None
    sunspec: SunSpec | None = None

    @model_validator(mode="after")
    def _refers_to_its_own_tags(self) -> "EquipmentType":
        unknown = sorted(_references(self) - self.tag_by_id.keys())
        if unknown:
            raise ValueError(f"no such tag: {', '.join(unknown)}")
        if len(self.tag_by_id) != len(self.tags) or len(self.control_by_id) != len(self.controls):
            raise ValueError("a tag or control is declared twice")
        if bad := [c.id for c in self.controls if not self.tag_by_id[c.write].writable]:
            raise ValueError(f"controls that write no set-point: {', '.join(bad)}")
        if lost := [c.id for c in self.controls if c.undo not in (None, "self", "local", *self.control_by_id)]:
            raise ValueError(f"undo names no control: {', '.join(lost)}")
        return self

    @cached_property
    def tag_by_id(self) -> Mapping[str, Tag]:
        """Tags by id, in the file's order."""
        return {t.id: t for t in self.tags}

    @cached_property
    def control_by_id(self) -> Mapping[str, Control]:
        """Controls by id."""
        return {c.id: c for c in self.controls}

    def tag(self, tag_id: str) -> Tag:
        """Raises KeyError."""
        return self.tag_by_id[tag_id]

    def control(self, control_id: str) -> Control:
        """Raises KeyError."""
        return self.control_by_id[control_id]


@dataclass(frozen=True, config=STRICT)
class Fresh:
    """A value may be at most `periods` of its tag old, but `min_s` always will do."""

    periods: float
    min_s: float


@dataclass(frozen=True, config=STRICT)
class Meta:
    """What holds for all types. `run_state_names` gives the Chinese of each run-state name."""

    schema_version: int
    control_chain: str
    run_state_names: Mapping[str, str]
    echo_s: float
    fresh: Fresh
    note: str


class EquipmentFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    meta: Meta
    sources: Mapping[str, str]
    equipment: Mapping[str, EquipmentType]

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, raw: Any) -> Any:
        if not isinstance(raw, dict) or not isinstance(raw.get("equipment"), dict):
            return raw
        meta = raw.get("meta")
        echo_s = meta.get("echo_s") if isinstance(meta, dict) else None
        filled = {k: _with_defaults(str(k), v, echo_s) for k, v in raw["equipment"].items()}
        return {**raw, "equipment": filled}

    @model_validator(mode="after")
    def _run_states_are_named(self) -> "EquipmentFile":
        for kind in self.equipment.values():
            names = {s.name for s in kind.tag(kind.status.run_state).states.values()}
            if unknown := names - self.meta.run_state_names.keys():
                raise ValueError(f"{kind.id}: unknown run states {sorted(unknown)}")
        return self


def _references(kind: EquipmentType) -> set[str]:
    """Every tag id that the type mentions anywhere."""
    used = {kind.status.run_state, kind.status.remote_mode, kind.status.local_lockout, kind.status.trip}
    for alarm in kind.alarms:
        used |= {alarm.tag, *alarm.pack, *(alarm.inhibit.names if alarm.inhibit else ())}
        used |= {alarm.op.removeprefix("ratio<")} if alarm.op.startswith("ratio<") else set()
    for control in kind.controls:
        used |= {control.write, control.echo, control.readback, *control.together}
        formulas = list(control.pre)
        for r in control.responses:
            used.add(r.tag)
            formulas += [r.when, *r.expected]
        used |= frozenset[str]().union(*(f.names for f in formulas)) - {"value"}
    used |= frozenset[str]().union(*(r.names for r in kind.relations))
    if kind.sentinels:
        used |= {*kind.sentinels.often_missing, *kind.sentinels.without_current}
        used |= {t for tags in kind.sentinels.widths.values() for t in tags}
    if kind.sunspec:
        used |= kind.sunspec.tag_ids
    return used


def _with_defaults(type_id: str, raw: Any, echo_s: Any) -> Any:
    """A type as the file has it, with its id, every tag's resolution and every control's echo time written out."""
    if not isinstance(raw, dict):
        return raw
    out = {"id": type_id, **raw}
    tags, controls = raw.get("tags"), raw.get("controls")
    if isinstance(tags, list):
        out["tags"] = [{"res": resolution_of(t, raw.get("sunspec")), **t} if isinstance(t, dict) else t for t in tags]
    if isinstance(controls, list):
        out["controls"] = [{"echo_s": echo_s, **c} if isinstance(c, dict) else c for c in controls]
    return out


def parse(text: str, *, name: str = "<text>") -> EquipmentFile:
    """Read equipment text; `name` stands for the file in messages. Raises EquipmentError."""
    try:
        return settings.parse(text, EquipmentFile, name=name)
    except settings.SettingsError as error:
        raise EquipmentError(error.faults) from error


@cache
def equipment_file() -> EquipmentFile:
    """The package's equipment file. Raises EquipmentError."""
    source = resources.files("telemetry") / "data" / "equipment.yaml"
    return parse(source.read_text(encoding="utf-8"), name="equipment.yaml")


def equipment_types() -> Mapping[str, EquipmentType]:
    """All types by id. Raises EquipmentError."""
    return equipment_file().equipment
