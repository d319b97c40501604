"""How a tag stands in InfluxDB: measurement = equipment type, tags = enterprise and device, and these fields.

    <tag>            value of a FLOAT tag             <tag>__int   <tag>__enum   integer
    <tag>__bool      boolean                          <tag>__uint                integer with the same 64 bits: the number
    <tag>__text      string                                                      itself below 2^63 (1.8 has no unsigned)
    <tag>__array     string, base64 of float64 little-endian

The kind is the field's version: two machines of one type may differ, a tag whose type changes goes on in another field, and
a replay always lands where the first write did, without a register that could be lost. Beside each such field f:

    f__q     quality, only where it is not good; alone where there is no value
    f__bad   the value where quality is bad, instead of f, so that nobody's mean over f takes it for good
    f__bits  the 64 bits of a float that is no finite number, instead of f
    f__t0    the source's own time where it was replaced

Names are percent-encoded where line protocol or InfluxQL could misread them, so that any tag id is stored and none can be
taken for another's companion.
"""

import re
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from telemetry.samples import Kind


class Part(IntEnum):
    """What a field beside a tag holds."""

    VALUE = 0
    QUALITY = 1
    BAD = 2
    BITS = 3
    ORIGIN = 4


class Field(NamedTuple):
    """A field taken apart. `tag` is the tag's id as it was before encoding."""

    tag: str
    kind: Kind
    part: Part


KIND_SUFFIX = {
    Kind.FLOAT: "",
    Kind.INT: "__int",
    Kind.UINT: "__uint",
    Kind.BOOL: "__bool",
    Kind.ENUM: "__enum",
    Kind.STRING: "__text",
    Kind.ARRAY: "__array",
}
PART_SUFFIX = {Part.VALUE: "", Part.QUALITY: "__q", Part.BAD: "__bad", Part.BITS: "__bits", Part.ORIGIN: "__t0"}

_KINDS = {suffix.strip("_"): kind for kind, suffix in KIND_SUFFIX.items() if suffix}
_PARTS = {suffix.strip("_"): part for part, suffix in PART_SUFFIX.items() if suffix}
# Reserved or special in line protocol, InfluxQL, InfluxDB 2's own columns (leading _) or in the scheme above (__).
_TROUBLE = re.compile(r"""[%\\"'#\x00-\x1f\x7f]|^_|_(?=_)|_$|^(?=(?:time|enterprise|device)$).""")


def encode_name(name: str) -> str:
    """A name that means itself in every place of line protocol and InfluxQL; injective."""
    return _TROUBLE.sub(lambda found: f"%{ord(found[0]):02X}", name) or "%"


def decode_name(name: str) -> str:
    """Inverse of `encode_name`."""
    return "" if name == "%" else unquote(name)


@lru_cache(maxsize=50_000)
def field_name(tag: str, kind: Kind, part: Part) -> str:
    """Name of a field, not yet escaped for line protocol."""
    return encode_name(tag) + KIND_SUFFIX[kind] + PART_SUFFIX[part]


def parts_of(kind: Kind) -> tuple[Part, ...]:
    """The parts that a tag of this kind can have."""
    return tuple(part for part in Part if part is not Part.BITS or kind is Kind.FLOAT)


@lru_cache(maxsize=50_000)
def parse_field(name: str) -> Field | None:
    """Inverse of `field_name`; None for a name that is not ours."""
    tag, *suffixes = name.split("__")
    kind, part = Kind.FLOAT, Part.VALUE
    if suffixes and suffixes[0] in _KINDS:
        kind = _KINDS[suffixes.pop(0)]
    if suffixes and suffixes[0] in _PARTS:
        part = _PARTS[suffixes.pop(0)]
    field = Field(decode_name(tag), kind, part)
    return field if not suffixes and tag and field_name(*field) == name else None


def escape(name: str) -> bytes:
    """An encoded name as a measurement, tag or field key, or tag value of line protocol. Lone surrogates become '?'."""
    text = name.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")
    return text.encode(errors="replace")


def escape_measurement(name: str) -> bytes:
    """An encoded name as a measurement: its equals signs stand for themselves."""
    return name.replace(",", "\\,").replace(" ", "\\ ").encode(errors="replace")


def escape_string(text: str) -> bytes:
    """A string field's value, without its quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').encode(errors="replace")
