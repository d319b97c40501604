"""The case of one machine: what was declared, read and shown, out of raw observations.

Whatever the cloud sent is read as data of an untrusted party: a row that is no row is left out and counted.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from telemetry.samples import SEVERITY_MASK, Quality, Reason
from verifier.clocks import Offset
from verifier.evidence import Evidence
from verifier.readers.base import TagRead, Value
from verifier.rules.types import Threshold

Shown = Value | None
MAX_TIME = 1 << 53
MAX_ROWS = 20_000  # of one answer: more than was asked for
WAYS = ("history", "latest", "live")
EXACT = ("counter", "enum", "boolean")  # kinds whose values are not rounded away
UNKNOWN_CLOCK = Offset(0.0, 1000.0)


@dataclass(frozen=True, slots=True)
class Row:
    """A sample as the cloud shows it: device time, value, quality; `at` is when the verifier had received it."""

    t: int
    v: Shown
    q: int
    at: int | None = None

    @property
    def usable(self) -> bool:
        """Whether it claims to be a value: good or uncertain."""
        return self.v is not None and self.q & SEVERITY_MASK != Quality.BAD and not self.q & Quality.NO_VALUE

    @property
    def key(self) -> tuple[int, str, int]:
        """The same on every way it is shown."""
        return self.t, repr(self.v), self.q

    @property
    def good(self) -> bool:
        return self.usable and self.q & SEVERITY_MASK == 0


@dataclass(frozen=True, slots=True)
class TagCase:
    """One tag. `resolution`, `deadband` and `source_time` come from the plant's signed list and the catalogue, narrowed by
    what the cloud declares and never widened by it; `cloud_deadband` and `cloud_period_ms` are what the cloud declares, good
    only to tell an accusation from a question. `ways` are the usable and other rows by the way they were shown (history,
    live, latest); `rows` all of them, each once, by time; `future` rows stamped later than their receipt, which count
    nowhere else."""

    id: str
    kind: str | None
    span: float | None
    resolution: float
    deadband: float
    cloud_deadband: float
    period_ms: int
    cloud_period_ms: int
    source_time: bool
    in_cloud: bool
    reads: tuple[TagRead, ...]
    ways: Mapping[str, tuple[Row, ...]]
    rows: tuple[Row, ...]
    future: tuple[Row, ...] = ()

    @property
    def by_exception(self) -> bool:
        """Whether the tag may honestly stay silent while its value does not change."""
        return self.source_time or self.deadband > 0

    @property
    def valued(self) -> tuple[TagRead, ...]:
        """The verifier's own reads that brought a value."""
        return tuple(r for r in self.reads if r.value is not None)

    @property
    def live(self) -> tuple[Row, ...]:
        return self.ways["live"]

    @property
    def latest(self) -> Row | None:
        """What the cloud showed as the latest value at the end of the watch."""
        return self.ways["latest"][-1] if self.ways["latest"] else None

    @property
    def newest(self) -> Row | None:
        """The newest sample the cloud showed in any way."""
        return max(self.rows, key=lambda r: r.t, default=None)


@dataclass(frozen=True, slots=True)
class MachineCase:
    """One machine, and the clocks that its samples carry."""

    uid: str
    declared: Mapping[str, Any]
    device: Mapping[str, Any] | None
    identity: Mapping[str, Any]
    silent: tuple[tuple[int, str], ...]
    scans: int
    live: Mapping[str, Any]
    tags: Mapping[str, TagCase]
    edge: str
    link: Mapping[str, Any] | None
    began_ms: int
    ended_ms: int
    edge_offset: Offset | None
    machine_offset: Offset | None
    cloud_offset: Offset | None
    frame_ms: int = 0
    """The longest pause between two frames that the verifier heard the edge send."""

    def offset_of(self, tag: TagCase, row: Row) -> Offset:
        """The clock that stamped a row, against the verifier's: the machine's own where the tag carries source times and
        they were not replaced, else the edge's. A clock that could not be measured is taken as equal, give or take 1 s."""
        own = tag.source_time and row.q & 0xFF != Reason.CLOCK
        found = (self.machine_offset or self.edge_offset) if own else self.edge_offset
        return found or UNKNOWN_CLOCK

    def clocked(self, tag: TagCase, row: Row) -> bool:
        """Whether the clock that stamped a row was measured."""
        own = tag.source_time and row.q & 0xFF != Reason.CLOCK
        return (self.machine_offset if own else self.edge_offset) is not None

    def mine(self, tag: TagCase, row: Row) -> float:
        """A row's time on the verifier's clock."""
        return row.t - self.offset_of(tag, row).ms

    def newest(self, tag: TagCase) -> Row | None:
        """The newest sample of the watch that the cloud showed in any way: younger ones were fetched after it."""
        until = self.ended_ms
        within = [r for r in tag.rows if self.mine(tag, r) <= until + self.offset_of(tag, r).uncertainty]
        return max(within, key=lambda r: r.t, default=tag.newest)


def cloud_fault(evidence: Evidence) -> str:
    """Why the cloud's list of machines could not be used; "" where it could."""
    devices = evidence["cloud"]["devices"]
    if devices["status"] == 0:
        return "cloud_unreachable"
    if devices["status"] in (401, 403):
        return "token_refused"
    return "" if devices["status"] == 200 and devices["body"] else "cloud_refused"


def is_simulated(evidence: Evidence, uid: str) -> bool:
    """Said by the machine itself, by the cloud, or by the plant's list: any one suffices."""
    identity = mapping((evidence.get(f"machine/{uid}") or {}).get("identity"))
    said = (evidence["scope"]["machines"][uid], device_of(evidence, uid) or {}, identity)
    return any(bool(one.get("simulated")) for one in said)


def device_of(evidence: Evidence, uid: str) -> Mapping[str, Any] | None:
    """What the cloud's list says of a machine."""
    body = mapping(evidence["cloud"]["devices"]["body"])
    return next((d for d in dicts(body.get("devices")) if d.get("uid") == uid), None)


def mapping(raw: Any) -> Mapping[str, Any]:
    """A JSON object, an empty one for anything else."""
    return raw if isinstance(raw, dict) else {}


def dicts(raw: Any) -> Iterator[dict[str, Any]]:
    """The objects in a JSON array, none for anything else."""
    return (x for x in raw if isinstance(x, dict)) if isinstance(raw, list) else iter(())


def build(
    evidence: Evidence,
    uid: str,
    *,
    edge: Offset | None,
    machine: Offset | None,
    cloud: Offset | None,
    limits: Mapping[str, Threshold],
) -> MachineCase:
    """The case of one machine out of the evidence. Rows stamped more than `future_s` after their receipt, beyond the
    uncertainty of the clock that stamped them, are set apart."""
    share = limits["deadband_of_range"].value
    scope = evidence["scope"]
    record = evidence.get(f"machine/{uid}") or {}
    shown = evidence.get(f"shown/{uid}") or {}
    live = evidence.get(f"live/{uid}") or {}
    device = device_of(evidence, uid)
    declared = scope["machines"][uid]
    name = str(device.get("edge", "")) if device else ""
    heard = live_rows(live)
    specs = {str(s.get("id")): s for s in dicts(device.get("tags") if device else None)}
    link = evidence.get(f"edge/{name}")
    case = MachineCase(
        uid=uid,
        declared=declared,
        device=device,
        identity=record.get("identity") or {},
        silent=tuple((at, reason) for at, reason in record.get("silent", [])),
        scans=record.get("scans", 0),
        live=live,
        tags={
            tag: _tag(tag, declared, specs.get(tag), record, shown, heard.get(tag, []), share)
            for tag in declared["tags"]
        },
        edge=name,
        link=link,
        began_ms=scope["began_ms"],
        ended_ms=scope["ended_ms"],
        edge_offset=edge,
        machine_offset=machine,
        cloud_offset=cloud,
        frame_ms=_longest_pause(link, scope["ended_ms"]),
    )
    margin = limits["future_s"].value * 1000
    return replace(case, tags={name: _set_apart(case, tag, margin) for name, tag in case.tags.items()})


def _longest_pause(link: Mapping[str, Any] | None, ended_ms: int) -> int:
    """In the frames of an edge as the verifier heard them itself; 0 where it did not listen."""
    if not link or not isinstance(link.get("heard"), list):
        return 0
    times = [link["sent_ms"], *link["heard"], max(ended_ms, link["sent_ms"])]
    return max(b - a for a, b in itertools.pairwise(sorted(times)))


def _set_apart(case: MachineCase, tag: TagCase, future_ms: float) -> TagCase:
    def ahead(row: Row) -> bool:
        return case.clocked(tag, row) and row.usable and stamped_ahead(case, tag, row, future_ms)

    future = {row.key: row for way in WAYS for row in tag.ways[way] if ahead(row)}
    if not future:
        return tag
    ways = {way: tuple(row for row in tag.ways[way] if row.key not in future) for way in WAYS}
    return replace(tag, ways=ways, rows=_merged(ways), future=tuple(sorted(future.values(), key=lambda r: r.key)))


def _merged(ways: Mapping[str, tuple[Row, ...]]) -> tuple[Row, ...]:
    found = {row.key: row for way in WAYS for row in ways[way]}
    return tuple(found[key] for key in sorted(found))


def stamped_ahead(case: MachineCase, tag: TagCase, row: Row, margin_ms: float) -> bool:
    """Whether a row carries a time after its receipt, beyond the uncertainty of its clock."""
    return row.at is not None and case.mine(tag, row) > row.at + case.offset_of(tag, row).uncertainty + margin_ms


def _tag(
    tag: str,
    machine: Mapping[str, Any],
    spec: Mapping[str, Any] | None,
    record: Mapping[str, Any],
    shown: Mapping[str, Any],
    heard: list[Row],
    share: float,
) -> TagCase:
    declared = machine["tags"][tag]
    lo, hi = declared.get("lo"), declared.get("hi")
    span = None if lo is None or hi is None else hi - lo
    said = abs(_number(spec.get("deadband")) or 0.0) if spec else 0.0
    period = _number(spec.get("period_ms")) if spec else None
    history = [row for answer in (shown.get("history") or {}).get(tag, []) for row in _history(answer)]
    asked = [*(shown.get("polls") or []), *([shown["latest"]] if shown.get("latest") else [])]
    latest = [row for answer in asked if (row := _latest(answer, tag)) is not None]
    ways = {"history": tuple(history), "latest": tuple(latest), "live": tuple(heard)}
    return TagCase(
        id=tag,
        kind=declared.get("kind"),
        span=span,
        resolution=_resolution(spec, declared),
        deadband=_deadband(said, span, declared, share),
        cloud_deadband=said,
        period_ms=declared["period_ms"],
        cloud_period_ms=round(min(max(period or 0.0, 0.0), MAX_TIME)),
        source_time=machine.get("protocol") == "opcua",
        in_cloud=spec is not None,
        reads=tuple(TagRead(*read) for read in record.get("reads", {}).get(tag, [])),
        ways=ways,
        rows=_merged(ways),
    )


def _history(answer: Mapping[str, Any]) -> Iterator[Row]:
    rows = mapping(answer.get("body")).get("rows")
    found = (row_of(raw, answer.get("after")) for raw in rows[:MAX_ROWS]) if isinstance(rows, list) else ()
    return (row for row in found if row is not None)


def _latest(answer: Mapping[str, Any], tag: str) -> Row | None:
    said = mapping(mapping(mapping(answer).get("body")).get("values")).get(tag)
    return (
        row_of([said.get("t"), said.get("v"), said.get("q")], answer.get("after")) if isinstance(said, dict) else None
    )


def _number(raw: Any) -> float | None:
    try:
        found = float(raw)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _resolution(spec: Mapping[str, Any] | None, declared: Mapping[str, Any]) -> float:
    """The step of the register by the signed list, else the catalogue's; finer where the cloud declares a finer one, never
    coarser."""
    step = declared.get("step")
    allowed = (declared.get("resolution") if step is None else step) or 0.0
    said = _number(spec.get("resolution")) if spec else None
    return allowed if said is None or said <= 0 else min(said, allowed)


def _deadband(said: float, span: float | None, declared: Mapping[str, Any], share: float) -> float:
    """What the cloud declares, but no more than the signed list names; where it names none, nothing for what is counted
    or switched, and of a quantity at most the share of its range that the rules allow."""
    listed = declared.get("deadband")
    if listed is not None:
        return min(said, listed)
    return 0.0 if declared.get("kind") in EXACT or span is None else min(said, span * share)


def row_of(raw: Any, at: int | None = None) -> Row | None:
    """A row [t, v, q], None for anything else."""
    if not isinstance(raw, list | tuple) or len(raw) != 3:
        return None
    t, v, q = raw
    if type(t) is not int or type(q) is not int or not (v is None or isinstance(v, bool | int | float | str)):
        return None
    if abs(t) > MAX_TIME or not 0 <= q <= 0xFFFF or (isinstance(v, int) and not -(1 << 63) <= v < 1 << 64):
        return None
    return Row(t, v, q, at)


def live_rows(live: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Rows of the feed's data messages by tag, with their receipt; the first snapshot does not count."""
    out: dict[str, list[Row]] = {}
    for entry in live.get("messages", []):
        message = entry["m"]
        if message.get("type") != "data" or not isinstance(message.get("rows"), list):
            continue
        for raw in message["rows"]:
            row = row_of(raw[1:], entry["at"]) if isinstance(raw, list) and len(raw) == 4 else None
            if row is not None and isinstance(raw[0], str):
                out.setdefault(raw[0], []).append(row)
    return out
