"""The tag dictionary: what the numbers in a frame mean.

One per edge and configuration. It travels as a numbered item of the edge's stream before its first use, is kept by its
hash for ever, and every frame names that hash. A tag's number is its position in the flattened list of all devices'
tags, so that a frame needs no names.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import cbor2
import numpy as np

from telemetry.samples import Float64s, Int32s, Kind, UInt8s

HASH_BYTES = 16
MAX_DICTIONARY_BYTES = 4 << 20


class DictionaryError(ValueError):
    """These bytes are not a dictionary."""


@dataclass(frozen=True, slots=True)
class TagSpec:
    """One tag. `resolution` is decimal text ("0.001") or None where values go up as float64; `period_ms` is how often it
    is acquired; `source_time` says whether its times are the source's own; `deadband` is absolute, in the tag's unit."""

    id: str
    kind: Kind = Kind.FLOAT
    unit: str = ""
    resolution: str | None = None
    period_ms: int = 1000
    source_time: bool = False
    deadband: float = 0.0


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One machine: `uid` outlives its gateway, `type` is an equipment type, `nameplate` as read from the machine itself."""

    uid: str
    type: str
    name: str = ""
    simulated: bool = False
    nameplate: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: tuple[TagSpec, ...] = ()


@dataclass(frozen=True)
class Dictionary:
    """All tags of an edge. Raises KeyError where an unknown tag is asked for."""

    enterprise: str
    edge: str
    devices: tuple[DeviceSpec, ...]

    @cached_property
    def tags(self) -> tuple[tuple[DeviceSpec, TagSpec], ...]:
        """(device, tag) by tag number."""
        return tuple((device, tag) for device in self.devices for tag in device.tags)

    @cached_property
    def _numbers(self) -> dict[tuple[str, str], int]:
        return {(device.uid, tag.id): i for i, (device, tag) in enumerate(self.tags)}

    def number(self, device: str, tag: str) -> int:
        """The number of a tag."""
        return self._numbers[device, tag]

    def first_number(self, device: str) -> int:
        """The number of a device's first tag."""
        start = 0
        for spec in self.devices:
            if spec.uid == device:
                return start
            start += len(spec.tags)
        raise KeyError(device)

    @cached_property
    def kinds(self) -> UInt8s:
        """Kind by tag number."""
        return np.array([tag.kind for _, tag in self.tags], dtype=np.uint8)

    @cached_property
    def device_of(self) -> Int32s:
        """Position of the device in `devices`, by tag number."""
        return np.repeat(np.arange(len(self.devices), dtype=np.int32), [len(d.tags) for d in self.devices])

    @cached_property
    def exponents(self) -> tuple[Float64s, Int32s]:
        """Resolution by tag number as (mantissa, power of ten): mantissa 0 where none is declared."""
        pairs = [split_resolution(tag.resolution) for _, tag in self.tags]
        return np.array([m for m, _ in pairs], dtype=np.float64), np.array([e for _, e in pairs], dtype=np.int32)

    def encode(self) -> bytes:
        """Canonical bytes: the same dictionary always gives the same hash."""
        return cbor2.dumps(
            {"v": 1, "enterprise": self.enterprise, "edge": self.edge, "devices": [asdict(d) for d in self.devices]},
            canonical=True,
        )

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the canonical bytes, cut to 16."""
        return digest(self.encode())


def digest(encoded: bytes) -> bytes:
    """Hash of an encoded dictionary."""
    return hashlib.sha256(encoded).digest()[:HASH_BYTES]


def split_resolution(text: str | None) -> tuple[float, int]:
    """ "0.25" → (25, -2): digits and power of ten. (0, 0) for None. Raises DictionaryError for anything but a positive
    finite decimal number."""
    if text is None:
        return 0.0, 0
    try:
        if len(text) > 40 or not (math.isfinite(float(text)) and float(text) > 0):
            raise ValueError
        mantissa, _, exponent = text.lower().partition("e")
        whole, _, fraction = mantissa.partition(".")
        digits, power = int(whole + fraction), int(exponent or 0) - len(fraction)
    except ValueError as error:
        raise DictionaryError(f"resolution {text!r} is not a positive decimal number") from error
    while digits % 10 == 0:
        digits, power = digits // 10, power + 1
    if abs(power) > 300 or digits >= 1 << 53:
        raise DictionaryError(f"resolution {text!r} is out of range")
    return float(digits), power


def decode(data: bytes) -> Dictionary:
    """Inverse of `Dictionary.encode`. Raises DictionaryError for anything else, whatever the bytes."""
    if len(data) > MAX_DICTIONARY_BYTES:
        raise DictionaryError("too large")
    try:
        raw = cbor2.loads(data)
        devices = tuple(_device(d) for d in raw["devices"])
        out = Dictionary(_text(raw["enterprise"]), _text(raw["edge"]), devices)
        if raw.get("v") != 1 or out.encode() != data:
            raise DictionaryError("not in canonical form")
    except DictionaryError:
        raise
    except (cbor2.CBORError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise DictionaryError(f"not a dictionary: {type(error).__name__}") from error
    except (MemoryError, LookupError, ArithmeticError) as error:
        raise DictionaryError(f"not a dictionary: {type(error).__name__}") from error
    return out


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DictionaryError("expected text")
    return value


def _device(raw: Any) -> DeviceSpec:
    return DeviceSpec(
        uid=_text(raw["uid"]),
        type=_text(raw["type"]),
        name=_text(raw["name"]),
        simulated=bool(raw["simulated"]),
        nameplate={_text(k): _text(v) for k, v in raw["nameplate"].items()},
        tags=tuple(_tag(t) for t in raw["tags"]),
    )


def _tag(raw: Any) -> TagSpec:
    resolution = raw["resolution"]
    split_resolution(resolution)
    return TagSpec(
        id=_text(raw["id"]),
        kind=Kind(raw["kind"]),
        unit=_text(raw["unit"]),
        resolution=resolution,
        period_ms=int(raw["period_ms"]),
        source_time=bool(raw["source_time"]),
        deadband=float(raw["deadband"]),
    )
