"""The trial of each machine out of the evidence: raw rows, clocks, packages and sealed windows, ready to be judged."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from telemetry.keys import from_text
from telemetry.topics import Address
from verifier import clocks
from verifier.clocks import Offset
from verifier.evidence import Evidence, EvidenceError, from_b64, make
from verifier.judging.alarms import AlarmCase, Provoked
from verifier.judging.case import MAX_TIME, MachineCase, build, device_of, mapping
from verifier.judging.link import edge_offset
from verifier.judging.packages import Package, open_package
from verifier.judging.records import Record, read_record
from verifier.judging.rules_eval import counted, has_value
from verifier.judging.sealed import SealedWindows, read_windows
from verifier.judging.values import compare_all
from verifier.rules.types import Threshold

Thresholds = Mapping[str, Threshold]


def edge_of(evidence: Evidence, uid: str) -> str:
    """The edge through which the cloud says that a machine comes."""
    device = device_of(evidence, uid)
    return str(device.get("edge", "")) if device else ""


def pinned(evidence: Evidence, edge: str) -> bytes | None:
    """The key that the plan pins for an edge."""
    found = evidence["scope"]["edge_keys"].get(edge)
    return None if found is None else from_text(found)


def cloud_offset(evidence: Evidence) -> Offset | None:
    """The cloud's clock against the verifier's."""
    times = evidence["cloud"]["times"]
    said = [(t["before"], mapping(t["body"]).get("now_ms"), t["after"]) for t in times]
    return clocks.estimate((a, now, b) for a, now, b in said if type(now) is int and abs(now) < MAX_TIME)


def records(evidence: Evidence) -> dict[str, Record]:
    """The signed record of each edge."""
    out: dict[str, Record] = {}
    for edge, public, address, head_key in _edges(evidence):
        raw = evidence.get(f"record/{edge}")
        if raw is not None:
            out[edge] = read_record(raw, edge=address, public=public, head_key=head_key)
    return out


def windows(evidence: Evidence) -> dict[str, SealedWindows]:
    """The sealed windows of each edge."""
    return {
        edge: read_windows(evidence.get(f"windows/{edge}"), edge=address, public=public, head_key=head_key)
        for edge, public, address, head_key in _edges(evidence)
    }


def _edges(evidence: Evidence) -> Iterable[tuple[str, bytes, Address, bytes]]:
    scope = evidence["scope"]
    head_key = from_text(scope["head_key"])
    for edge in sorted(scope["edge_keys"]):
        public = pinned(evidence, edge)
        if public is not None:
            yield edge, public, Address(scope["enterprise"], edge), head_key


def case_of(evidence: Evidence, uid: str, found: Mapping[str, Record]) -> AlarmCase:
    """The case of one machine."""
    scope, edge = evidence["scope"], edge_of(evidence, uid)
    declared = scope["machines"][uid]
    address = Address(scope["enterprise"], edge)
    link = evidence.get(f"edge/{edge}")
    offset = edge_offset(link, edge=address, public=pinned(evidence, edge))
    machine = clocks.estimate(mapping(evidence.get(f"machine/{uid}")).get("clock", []))
    by_source = declared.get("protocol") == "opcua"
    record = evidence.get(f"alarm/{uid}") or {}
    signed = _signed(found.get(edge), uid)
    raw = signed or _shown(record)
    rows = {tag: counted(some) for tag, some in raw.items()}
    return AlarmCase(
        uid=uid,
        declared=declared,
        record=record,
        rows=rows,
        times=sorted({r[0] for some in raw.values() for r in some if has_value(r[2]) and r[1] is not None}),
        signed=bool(signed),
        device_offset=(machine or offset) if by_source else offset,
        cloud_offset=cloud_offset(evidence),
        frame_ms=_longest_pause(link, scope["ended_ms"]),
        source_time=by_source,
    )


def _signed(record: Record | None, uid: str) -> dict[str, list[list[Any]]]:
    if record is None:
        return {}
    rows = record.rows_of(uid, (0, MAX_TIME))
    return {tag: [[t, v, q] for t, said in some.items() for v, q in said] for tag, some in rows.items()}


def _shown(record: Mapping[str, Any]) -> dict[str, list[list[Any]]]:
    """What the cloud's history says of the tags that were tried."""
    out: dict[str, list[list[Any]]] = {}
    for tag, answer in mapping(record.get("rows")).items():
        rows = mapping(mapping(answer).get("body")).get("rows")
        if isinstance(rows, list):
            out[tag] = [r for r in rows if isinstance(r, list) and len(r) == 3 and type(r[0]) is type(r[2]) is int]
    return out


def _longest_pause(link: Mapping[str, Any] | None, ended_ms: int) -> int:
    """Between two frames of an edge that the verifier heard itself; 0 where it did not listen."""
    if not link or not isinstance(link.get("heard"), list):
        return 0
    times = [link["sent_ms"], *link["heard"], max(ended_ms, link["sent_ms"])]
    return max(b - a for a, b in itertools.pairwise(sorted(times)))


def packed(found: Sequence[Provoked]) -> Provoked | None:
    """The alarm whose package is judged: that of the plant's own rule, else that of the verifier's."""
    return next((p for p in reversed(found) if p.alarm is not None), None)


def package_of(kept: Mapping[str, Any] | None) -> Package | None:
    """The package that was fetched; None where there is none, or too large a one."""
    try:
        return open_package(from_b64(kept["zip"])) if kept and kept.get("zip") else None
    except EvidenceError:
        return None


def contradicted(evidence: Evidence, case: AlarmCase, package: Package | None, limits: Thresholds) -> tuple[str, ...]:
    """Tags whose rows in the package contradict what the machine told the verifier directly, where the two overlap."""
    reads = evidence.get(f"machine/{case.uid}")
    if package is None or not reads:
        return ()
    known = {tag: rows for tag, rows in package.rows.items() if tag in case.declared["tags"]}
    history = {tag: [{"status": 200, "body": {"rows": rows}}] for tag, rows in known.items()}
    names = ("scope", "cloud", f"machine/{case.uid}", f"edge/{edge_of(evidence, case.uid)}")
    seen = {name: data for name in names if (data := evidence.get(name)) is not None}
    other = make(evidence.criterion, {**seen, f"shown/{case.uid}": {"history": history}})
    built: MachineCase = build(
        other, case.uid, edge=case.device_offset, machine=case.device_offset, cloud=case.cloud_offset, limits=limits
    )
    built = replace(built, frame_ms=case.frame_ms)
    compared = compare_all(built, limits)
    return tuple(tag for tag, one in compared.by_tag.items() if one.persists(limits))
