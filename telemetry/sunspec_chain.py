"""The SunSpec part of the equipment file: which model and point serves which tag, and what step a tag so gets.

Also the rule for a tag's resolution, because a SunSpec tag takes its step from a scale factor:
tag = raw * 10**SF * scale.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from telemetry.sunspec import definitions

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class SunSpecModel:
    """One block. `points` = tag id → point ("group.point" inside a repeating or named group); `scale` and `how` by tag;
    `types` and `fixed_sf` describe a vendor block; `nameplate` = plate field → point."""

    model: int
    name: str
    alt: int | None = None
    modules: int | None = None
    points: Mapping[str, str] = Field(default_factory=dict[str, str])
    nameplate: Mapping[str, str] = Field(default_factory=dict[str, str])
    sf: Mapping[str, int] = Field(default_factory=dict[str, int])
    scale: Mapping[str, float] = Field(default_factory=dict[str, float])
    how: Mapping[str, str] = Field(default_factory=dict[str, str])
    coarse: Mapping[str, str] = Field(default_factory=dict[str, str])
    types: Mapping[str, str] = Field(default_factory=dict[str, str])
    fixed_sf: Mapping[str, int] = Field(default_factory=dict[str, int])


@dataclass(frozen=True, config=_STRICT)
class SunSpec:
    """The chain of models from `base`, begun by `marker` and closed by `end`; `na` = not-available value by type."""

    basis: str
    base: int
    marker: tuple[int, int]
    end: int
    storage: str
    na: Mapping[str, int]
    note: str
    models: tuple[SunSpecModel, ...]

    @property
    def tag_ids(self) -> frozenset[str]:
        """Tags that some model serves."""
        return frozenset(t for m in self.models for t in (*m.points, *m.scale, *m.how, *m.coarse) if t != "ac_kw")


def scale_exponent(model: int, point: str, *, sf: Mapping[str, int], fixed_sf: Mapping[str, int]) -> int:
    """Power of ten of a point of a model: what `fixed_sf` says of it, else the value of the scale factor that the model's
    table names for it, or the constant that stands there; 0 for a point without one, or that no table has."""
    group, _, name = point.rpartition(".")
    if name in fixed_sf:
        return fixed_sf[name]
    table = definitions().models.get(model)
    if table is None:
        return 0
    points = table.points if not group else table.group.points if table.group else {}
    own = points[name].sf if name in points else None
    return sf.get(own, 0) if isinstance(own, str) else own or 0


def resolution_of(tag: Mapping[str, Any], sunspec: Any) -> float | None:
    """Resolution of a tag as the file has it, where it gives none: 1 for booleans and enums; the SunSpec step; 0.1 for
    counters; else the largest power of ten <= (hi - lo)/1000. None where the tag is malformed."""
    if tag.get("k") in ("b", "e"):
        return 1.0
    if isinstance(sunspec, dict):
        step = _sunspec_step(str(tag.get("id")), sunspec)
        if step is not None:
            return step
    if tag.get("k") == "c":
        return 0.1
    try:
        span = (Decimal(str(tag["hi"])) - Decimal(str(tag["lo"]))) / 1000
        return float(Decimal(1).scaleb(span.adjusted())) if span > 0 else None
    except (KeyError, ArithmeticError):
        return None


def _sunspec_step(tag_id: str, sunspec: Mapping[str, Any]) -> float | None:
    models = sunspec.get("models")
    for model in models if isinstance(models, list) else ():
        point = model.get("points", {}).get(tag_id) if isinstance(model, dict) else None
        if point is not None:
            sf, fixed_sf = model.get("sf", {}), model.get("fixed_sf", {})
            exponent = scale_exponent(model.get("model", 0), point, sf=sf, fixed_sf=fixed_sf)
            return float(Decimal(str(model.get("scale", {}).get(tag_id, 1))).scaleb(exponent))
    return None
