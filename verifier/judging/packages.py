"""An alarm's package opened by the verifier's own code: a zip of a manifest, exact rows and pictures (al.4).

Nothing in it is believed: sizes are limited before anything is unpacked, every file is hashed again, every row read again.
"""

import csv
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from verifier.findings import Figure, Outcome, figure
from verifier.judging.case import MAX_TIME, dicts, mapping
from verifier.judging.rules_eval import is_number, read_rule
from verifier.judging.values import names
from verifier.rules.types import Threshold
from verifier.states import State

Thresholds = Mapping[str, Threshold]
Rows = dict[str, list[list[Any]]]
Span = tuple[int, int]

MANIFEST, SAMPLES = "manifest.json", "samples.csv"
MAX_FILES = 32
MAX_UNPACKED = 32 << 20
MAX_ROWS = 400_000


@dataclass
class Package:
    """`rows` by tag, [t, v, q] by time; `faults` (reason, what) in the order found."""

    manifest: Mapping[str, Any] = field(default_factory=dict[str, Any])
    rows: Rows = field(default_factory=dict[str, list[list[Any]]])
    files: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @property
    def span(self) -> Span | None:
        """From when to when, by the manifest."""
        window = mapping(self.manifest.get("window"))
        ends = window.get("from_ms", window.get("from")), window.get("to_ms", window.get("to"))
        if type(ends[0]) is not int or type(ends[1]) is not int or not 0 <= ends[0] <= ends[1] < MAX_TIME:
            return None
        return ends[0], ends[1]


def open_package(data: bytes) -> Package:
    """What a package holds. Faults: package_unreadable, package_checksum, package_rows."""
    out = Package()
    try:
        parts = _unpacked(data)
        manifest = json.loads(parts[MANIFEST])
        out.manifest = mapping(manifest)
        out.files = len(parts)
        _check_files(out, parts)
        out.rows = _rows(parts.get(SAMPLES, b""))
    except (ValueError, KeyError, OSError, EOFError, RecursionError, NotImplementedError, RuntimeError) as error:
        out.faults.append(("package_unreadable", type(error).__name__))
    except (zipfile.BadZipFile, zlib.error, csv.Error) as error:
        out.faults.append(("package_unreadable", type(error).__name__))
    return out


def span_of(data: bytes) -> Span | None:
    """From when to when a package says it is; None where it cannot be read."""
    return open_package(data).span if data else None


def _unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        listed = archive.infolist()
        if len(listed) > MAX_FILES or sum(one.file_size for one in listed) > MAX_UNPACKED:
            raise ValueError("too large")
        if len({one.filename for one in listed}) != len(listed):
            raise ValueError("a name stands in it twice")
        out: dict[str, bytes] = {}
        for one in listed:
            with archive.open(one) as file:
                out[one.filename] = file.read(MAX_UNPACKED + 1)
        return out


def _check_files(out: Package, parts: Mapping[str, bytes]) -> None:
    listed = {str(one.get("name")): one for one in dicts(out.manifest.get("files"))}
    for name, data in parts.items():
        said = listed.get(name)
        if name == MANIFEST:
            continue
        if said is None:
            out.faults.append(("package_checksum", f"{name[:60]}: not in the manifest"))
        elif said.get("sha256") != hashlib.sha256(data).hexdigest() or said.get("bytes") != len(data):
            out.faults.append(("package_checksum", name[:60]))
    out.faults += [("package_checksum", f"{n[:60]}: missing") for n in listed if n not in parts]
    if SAMPLES not in parts or SAMPLES not in listed:
        out.faults.append(("package_checksum", f"{SAMPLES}: missing"))


def _rows(data: bytes) -> Rows:
    out: Rows = {}
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    for i, line in enumerate(reader):
        if i > MAX_ROWS:
            raise ValueError("too many rows")
        if not line or (i == 0 and not _whole(line[1] if len(line) > 1 else "")):
            continue  # the line of names
        if len(line) != 4 or not _whole(line[1]) or not _whole(line[3]):
            raise ValueError("not a row")
        out.setdefault(line[0], []).append([int(line[1]), value_of(line[2]), int(line[3])])
    for rows in out.values():
        rows.sort(key=lambda r: r[0])
    return out


def _whole(text: str) -> bool:
    return text.lstrip("-").isascii() and text.lstrip("-").isdigit() and len(text) <= 20


def value_of(text: str) -> Any:
    """A value as a package writes it: nothing, a whole number, a decimal number, true or false, a JSON list, or words."""
    if text in ("", "null", "None"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _whole(text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def same_value(a: Any, b: Any) -> bool:
    """Whether two values are one. A switch may be written as 0 and 1."""
    if isinstance(a, bool):
        a = int(a)
    if isinstance(b, bool):
        b = int(b)
    return a == b


def judge_package(
    kept: Mapping[str, Any] | None,
    package: Package | None,
    alarm: Mapping[str, Any] | None,
    rule: Mapping[str, Any] | None,
    *,
    periods_ms: Mapping[str, int],
    evidence: tuple[str, ...],
    limits: Thresholds,
) -> Outcome:
    """al.4: a package that names this alarm and the rule's version, has the trigger and the related tags, and whose files are
    the ones its manifest lists. `rule` is the version in force as the verifier knows it; a related tag whose period
    (`periods_ms`) is longer than the window may have no row in it."""
    if kept is None or alarm is None:
        return Outcome(State.NOT_CHECKED, "no_alarm_to_package", evidence=evidence)
    told = mapping(mapping(mapping(mapping(kept.get("alarm")).get("body")).get("alarm")).get("package"))
    if not kept.get("size"):
        answer = mapping(kept.get("answer"))
        if answer.get("status") == 0:
            return Outcome(State.NOT_CHECKED, "cloud_unreachable", evidence=evidence)
        return Outcome(State.FAIL, "no_package", evidence=evidence, details=str(told.get("state") or ""))
    if package is None:
        return Outcome(State.NOT_CHECKED, "package_too_large", evidence=evidence)
    figures: tuple[Figure, ...] = (
        figure("package_bytes", int(kept["size"]), unit="bytes"),
        figure("package_files", package.files, unit="files"),
        figure("package_rows", sum(map(len, package.rows.values())), unit="rows"),
        figure("package_tags", len(package.rows), unit="tags"),
        figure("package_faults", len(package.faults), limits["none_allowed"]),
    )

    def outcome(state: State, reason: str = "", details: str = "") -> Outcome:
        return Outcome(state, reason, figures, evidence, details)

    faults = list(package.faults)
    if told.get("sha256") != kept.get("sha256"):
        faults.append(("package_checksum", "the whole"))
    if faults:
        return outcome(State.FAIL, faults[0][0], names([what for _, what in faults]))
    fault = _belongs(package, alarm, rule, periods_ms)
    return outcome(State.FAIL, *fault) if fault else outcome(State.PASS)


def _belongs(
    package: Package, alarm: Mapping[str, Any], rule: Mapping[str, Any] | None, periods_ms: Mapping[str, int]
) -> tuple[str, str] | None:
    manifest, span = package.manifest, package.span
    if _name(manifest.get("alarm")) != alarm.get("id"):
        return "package_other_alarm", _name(manifest.get("alarm"))
    if _name(manifest.get("device"), "uid") != alarm.get("device"):
        return "package_other_alarm", _name(manifest.get("device"), "uid")
    said = mapping(manifest.get("rule"))
    wrong = [
        k
        for k in ("high", "high_high", "low", "low_low", "delay_s", "hysteresis", "tag")
        if rule and said.get(k) != rule.get(k)
    ]
    if said.get("id") != alarm.get("rule") or said.get("version") != alarm.get("rule_version") or wrong:
        return "package_other_rule", ", ".join([f"{said.get('id')} v{said.get('version')}", *wrong])
    trigger, raised = mapping(manifest.get("trigger")), mapping(alarm.get("trigger"))
    t, v = trigger.get("t"), trigger.get("v")
    if (t, v) != (raised.get("t"), raised.get("v")) or type(t) is not int or not is_number(v):
        return "package_other_trigger", f"{v} @ {t}"
    if span is None or not span[0] <= t <= span[1]:
        return "package_other_time", f"{span} ∌ {t}"
    tag = str(alarm.get("tag"))
    if not any(row[0] == t and same_value(row[1], v) for row in package.rows.get(tag, [])):
        return "package_without_trigger", f"{tag} @ {t}"
    read = read_rule(said)
    level = str(alarm.get("level"))
    if read is None or level not in read.limits or not is_number(v) or not read.holds(level, float(v or 0)):
        return "trigger_does_not_violate", f"{tag} = {v}, {level} {said.get(level)}"
    lasts = span[1] - span[0]
    related = [tag for tag in said.get("related") or [] if isinstance(tag, str) and periods_ms.get(tag, 0) < lasts]
    missing = [tag for tag in related if tag not in package.rows]
    return ("related_tags_missing", names(missing)) if missing else None


def _name(raw: Any, key: str = "id") -> str:
    """An id, or that of the object that has it."""
    return str(raw.get(key)) if isinstance(raw, dict) else str(raw)


def rows_between(rows: Mapping[str, Sequence[Sequence[Any]]], span: Span) -> dict[str, dict[int, tuple[Any, int]]]:
    """Rows of a stretch by tag and time."""
    return {tag: {r[0]: (r[1], r[2]) for r in some if span[0] <= r[0] <= span[1]} for tag, some in rows.items()}
