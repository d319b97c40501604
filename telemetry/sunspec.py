"""SunSpec models as data: which point stands where in a model's block of registers, and what "not available" looks like.

Data only. Whoever reads a device walks the chain itself: at the base the marker, then block after block (model id, length
L, L registers), until the id 0xFFFF; and decodes with code of its own, so that a mistake does not pass on both sides.
Every number is big endian. Source: see data/sunspec.yaml.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

SIGNED = frozenset({"int16", "int32", "int64", "sunssf"})
FLOATS = frozenset({"float32", "float64"})


@dataclass(frozen=True, slots=True)
class ModelPoint:
    """One point. `at` counts registers from the model's ID register, in a repeating group from the repetition's start.

    `sf` is the id of the scale-factor point, or the power of ten itself, or None; `unit` as the model file has it."""

    id: str
    at: int
    type: str
    size: int
    sf: str | int | None = None
    unit: str = ""
    rw: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A group that repeats until the model's length is used up. `size` is one repetition in registers."""

    name: str
    size: int
    points: dict[str, ModelPoint]


@dataclass(frozen=True, slots=True)
class ModelMap:
    """A model: `size` registers of fixed block (ID and L among them), then the repeating group if there is one."""

    id: int
    name: str
    size: int
    points: dict[str, ModelPoint]
    group: Group | None = None

    def repetitions(self, length: int) -> int:
        """How often the group stands in a block whose L register says `length`."""
        return 0 if self.group is None else max(0, (length + 2 - self.size) // self.group.size)

    def places(self, path: str, length: int) -> list[tuple[int, ModelPoint]]:
        """(offset from the ID register, point) of "W", or of each repetition of "module.DCA" in a block whose L register
        says `length`; a point beyond that length is left out. Raises KeyError where the model has no such point."""
        name, _, inner = path.rpartition(".")
        if not name:
            point = self.points[inner]
            found = [(point.at, point)]
        else:
            if self.group is None or self.group.name != name:
                raise KeyError(path)
            point = self.group.points[inner]
            found = [(self.size + i * self.group.size + point.at, point) for i in range(self.repetitions(length))]
        return [(at, p) for at, p in found if at + p.size <= length + 2]


@dataclass(frozen=True, slots=True)
class SunSpec:
    """Everything a reader needs: the marker's two registers, the id that ends the chain, the not-available value of each
    type as an unsigned number, and the models by id."""

    marker: tuple[int, int]
    end: int
    na: dict[str, int]
    models: dict[int, ModelMap]


@cache
def definitions() -> SunSpec:
    """The models of data/sunspec.yaml."""
    raw = yaml.safe_load(files("telemetry").joinpath("data/sunspec.yaml").read_text(encoding="utf-8"))
    return SunSpec(
        marker=(raw["marker"][0], raw["marker"][1]),
        end=raw["end"],
        na=raw["na"],
        models={number: _model(number, model) for number, model in raw["models"].items()},
    )


def _points(raw: Any) -> dict[str, ModelPoint]:
    return {p["id"]: ModelPoint(**p) for p in raw}


def _model(number: int, raw: Any) -> ModelMap:
    group = raw.get("group")
    return ModelMap(
        id=number,
        name=raw["name"],
        size=raw["size"],
        points=_points(raw["points"]),
        group=None if group is None else Group(group["name"], group["size"], _points(group["points"])),
    )
