"""What was observed, kept so that anyone can judge it again.

Every observation is canonical JSON (sorted keys, no spaces, UTF-8, no NaN) in a file named by its SHA-256; an index names
the observations of each criterion. Judging reads nothing else. A file whose bytes do not fit its name is refused.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

INDEX = "index.json"
FOLDER = "evidence"


class EvidenceError(ValueError):
    """Evidence is missing, damaged or not of this shape."""


def canonical(data: Any) -> bytes:
    """The one way to write some JSON. Raises ValueError for a float that is no number."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", errors="backslashreplace")


def to_b64(data: bytes) -> str:
    """Bytes as text."""
    return base64.b64encode(data).decode()


def from_b64(text: Any) -> bytes:
    """Inverse of `to_b64`. Raises EvidenceError."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as error:
        raise EvidenceError("not base64") from error


@dataclass(frozen=True, slots=True)
class Observation:
    """Something that was seen, with the hash of its canonical bytes."""

    sha256: str
    data: Any


@dataclass(frozen=True)
class Evidence:
    """What the judge of a criterion needs: observations by name ("machine/boiler-1")."""

    criterion: str
    observations: Mapping[str, Observation] = field(default_factory=dict[str, Observation])

    def __getitem__(self, name: str) -> Any:
        """The data of an observation. Raises EvidenceError."""
        try:
            return self.observations[name].data
        except KeyError as error:
            raise EvidenceError(f"{self.criterion}: no observation {name}") from error

    def get(self, name: str) -> Any:
        """The data of an observation, None where there is none."""
        found = self.observations.get(name)
        return None if found is None else found.data

    def hashes(self, *names: str) -> tuple[str, ...]:
        """Hashes of those of the named observations that exist, in this order, each once."""
        return tuple(dict.fromkeys(self.observations[n].sha256 for n in names if n in self.observations))


def make(criterion: str, observations: Mapping[str, Any]) -> Evidence:
    """Evidence from plain data, as it would come back from disk."""
    return Evidence(criterion, {name: _observed(canonical(data)) for name, data in observations.items()})


def _observed(data: bytes) -> Observation:
    return Observation(hashlib.sha256(data).hexdigest(), json.loads(data))


def save(evidence: Evidence, out: Path) -> None:
    """Write evidence below `out`. Existing observations stay; the index gains this criterion."""
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for observation in evidence.observations.values():
        (folder / f"{observation.sha256}.json").write_bytes(canonical(observation.data))
    index = read_index(out) if (folder / INDEX).exists() else {}
    index[evidence.criterion] = {name: o.sha256 for name, o in evidence.observations.items()}
    (folder / INDEX).write_bytes(canonical(index) + b"\n")


def read_index(out: Path) -> dict[str, dict[str, str]]:
    """Observations by criterion and name. Raises EvidenceError."""
    try:
        raw = json.loads((out / FOLDER / INDEX).read_bytes())
    except (OSError, ValueError) as error:
        raise EvidenceError(f"{out / FOLDER / INDEX}: cannot be read") from error
    if not isinstance(raw, dict) or not all(isinstance(v, dict) for v in raw.values()):
        raise EvidenceError("not an index of evidence")
    return raw


def load(out: Path, criterion: str) -> Evidence:
    """The evidence of a criterion from disk. Raises EvidenceError."""
    names = read_index(out).get(criterion)
    if names is None:
        raise EvidenceError(f"no evidence of {criterion} in {out}")
    return Evidence(criterion, {name: _load(out / FOLDER, sha256) for name, sha256 in names.items()})


def _load(folder: Path, sha256: str) -> Observation:
    if len(sha256) != 64 or any(c not in "0123456789abcdef" for c in sha256):
        raise EvidenceError(f"{sha256!r} is not a SHA-256")
    try:
        data = (folder / f"{sha256}.json").read_bytes()
    except OSError as error:
        raise EvidenceError(f"{sha256}: missing") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise EvidenceError(f"{sha256}: the file was changed")
    try:
        return Observation(sha256, json.loads(data))
    except ValueError as error:
        raise EvidenceError(f"{sha256}: not JSON") from error
