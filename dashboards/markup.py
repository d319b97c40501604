"""Field's names and units as markup: SO2 with a lowered 2, m3/h with a raised 3, so that no font lacks a character."""

import re

from markupsafe import Markup, escape

_FORMULA = re.compile(r"(?<![A-Za-z])(SO|NO|CO|O|H|CH|N|NH|H2S)([2-4x])(?![A-Za-z0-9_])")
_POWER = re.compile(r"(?<=m)([23])(?=$|[/)·])")
_UNITS = {"degC": "℃", "uS/cm": "µS/cm", "kohm": "kΩ", "deg": "°", "enum": "", "0/1": "", "count": ""}


def unit(text: str | None) -> Markup:
    """A unit: m3/h → m³/h."""
    shown = _UNITS.get(text or "", text or "")
    return Markup(_POWER.sub(r"<sup>\1</sup>", str(escape(shown))))


def chemical(text: str | None) -> Markup:
    """A name that may hold formulas: 烟气CO2 → CO₂."""
    return Markup(_FORMULA.sub(r"\1<sub>\2</sub>", str(escape(text or ""))))
