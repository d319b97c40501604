"""The audit log judged: every step of the verifier's stands in it with what was before and after, in a chain of hashes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from verifier.evidence import canonical
from verifier.judging.case import dicts, mapping

FIELDS = ("n", "time_ms", "who", "role", "action", "object", "before", "after", "previous")


@dataclass
class Audit:
    """`entries` added since the check began; `broken` the number of the first that does not fit its chain; `unread` why the
    log could not be read, "" where it could."""

    entries: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    broken: str = ""
    unread: str = ""

    def step(self, object_: str, *, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> bool:
        """Whether an entry about an object says what it was and what it became, as far as given. None: there was nothing
        before, or it says no more than that."""
        return any(
            entry.get("object") == object_ and _says(entry.get("before"), before) and _says(entry.get("after"), after)
            for entry in self.entries
        )


def _says(said: Any, wanted: Mapping[str, Any] | None) -> bool:
    if wanted is None:
        return said is None
    return isinstance(said, dict) and all(k in said and said[k] == v for k, v in wanted.items())


def read_audit(raw: Mapping[str, Any] | None, enterprise: str) -> Audit:
    """The log out of the observation of an AuditTail."""
    out = Audit()
    if raw is None or raw.get("start") is None:
        out.unread = str(mapping((raw or {}).get("first")).get("status", "audit_not_asked"))
        return out
    pages = [mapping(p) for p in raw.get("pages") or []]
    if not pages or any(p.get("status") != 200 for p in pages):
        out.unread = str(next((p.get("status") for p in pages if p.get("status") != 200), 0))
        return out
    entries = [e for p in pages for e in dicts(mapping(p.get("body")).get("entries"))]
    out.broken = first_broken(entries, enterprise)
    out.entries = [e for e in entries if type(e.get("n")) is int and e["n"] > int(raw["start"])]
    if not out.broken and int(raw["start"]) > 0 and (not entries or entries[0].get("n") != raw["start"]):
        out.broken = str(raw["start"])  # what stood at the end is gone
    return out


def first_broken(entries: Sequence[Mapping[str, Any]], enterprise: str) -> str:
    """The number of the first entry whose hash, predecessor or number does not fit; "" where all do."""
    last: Mapping[str, Any] | None = None
    for entry in entries:
        n = entry.get("n")
        fits = type(n) is int and entry.get("hash") == digest(entry, enterprise)
        if fits and n == 1:
            fits = set(str(entry.get("previous"))) <= {"0"}
        if fits and last is not None:
            fits = n == last["n"] + 1 and entry.get("previous") == last.get("hash")
        if not fits:
            return str(n)
        last = entry
    return ""


def digest(entry: Mapping[str, Any], enterprise: str) -> str:
    """SHA-256 (hex) of the canonical JSON of all other fields and the enterprise."""
    body = {name: entry.get(name) for name in FIELDS} | {"enterprise": enterprise}
    try:
        return hashlib.sha256(canonical(body)).hexdigest()
    except (ValueError, RecursionError):
        return ""
