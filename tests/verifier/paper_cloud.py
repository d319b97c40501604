"""A cloud on paper with a history: real frames, keys, ledger, proofs and heads in memory, and knobs.

`PaperCloud.get` answers as the API does; `PaperViewer` shows its trend page; `observed` runs the real observer on it.
"""

import asyncio
import hashlib
import json
import math
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from telemetry import entry, frame, head, items, keys, proof, samples, seal
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.seal import Header, ItemKind
from telemetry.streams import FIRST_PREVIOUS
from telemetry.topics import Address, Channel
from tests.verifier.scene import EDGE, EDGE_KEY, ENTERPRISE, HEAD_KEY, PACK, machine
from verifier.chain import Chain
from verifier.criteria import device_mon_trace
from verifier.evidence import make, to_b64
from verifier.findings import Finding
from verifier.plan import Plan, PlanSettings
from verifier.readers.opcua import Credentials
from verifier.run import judge_evidence
from verifier.states import State

Row = list[Any]
T0 = 1_700_000_000_000
SECONDS = 150
NOW = T0 + SECONDS * 1000 + 2000
KINDS = {"energy": samples.Kind.UINT, "run_state": samples.Kind.ENUM, "remote_mode": samples.Kind.BOOL}
ADDRESS = Address(ENTERPRISE, EDGE)
TOPIC = ADDRESS.topic(Channel.UP)
EXCHANGE = keys.exchange_public(X25519PrivateKey.generate())


def value(uid: str, tag: str, s: int) -> Any:
    """What a machine has in a second."""
    phase = len(uid) + ord(uid[-1])
    match tag:
        case "active_power":
            return 150 + 20 * math.sin(s / 7 + phase) + s / 100
        case "winding_temp_u":
            return round(80 + s / 10 + 3 * math.sin(s / 11), 1)
        case "energy":
            return 1000 + s
        case "run_state":
            return 1
        case _:
            return True


@dataclass
class Item:
    """A committed item."""

    header: Header
    sealed: bytes
    key: bytes | None
    arrival_ms: int

    @property
    def hash(self) -> bytes:
        return seal.item_hash(self.sealed)


@dataclass
class PaperCloud:
    """`stop` seconds in which the edge did not run (an OPEN item says so), `silent` seconds in which it runs and records
    nothing, `no_reply` seconds in which m1 did not answer, `late_ms` by which frames of a second arrive late. What the cloud
    then shows is changed in `rows`, `items` and `answers` (path → function of the body)."""

    uids: tuple[str, ...] = ("m1", "m2")
    seconds: int = SECONDS
    stop: range = range(0)
    silent: range = range(0)
    no_reply: range = range(0)
    late: Callable[[int], int] = lambda _: 300
    rows: dict[str, dict[str, list[Row]]] = field(default_factory=dict[str, dict[str, list[Row]]])
    items: list[Item] = field(default_factory=list[Item])
    answers: dict[str, Callable[[Any], Any]] = field(default_factory=dict[str, Callable[[Any], Any]])
    statuses: dict[str, int] = field(default_factory=dict[str, int])
    tree: tuple[list[bytes], proof.Nodes, bytes] | None = None
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])

    def __post_init__(self) -> None:
        self.machines = tuple(machine(uid).model_copy(update={"period_ms": 1000}) for uid in self.uids)
        self.tags = [p.tag for p in self.machines[0].points]
        self.words = Dictionary(
            ENTERPRISE,
            EDGE,
            tuple(
                DeviceSpec(m.uid, m.type, tags=tuple(TagSpec(t, KINDS.get(t, samples.Kind.FLOAT)) for t in self.tags))
                for m in self.machines
            ),
        )
        self.rows = {uid: {tag: [] for tag in self.tags} for uid in self.uids}
        self.stream = os.urandom(16)
        self.epoch_keys: list[bytes] = []
        self._epoch()
        for s in range(self.seconds):
            if s in self.stop or s in self.silent:
                continue
            if s and s == self.stop.stop:
                self._epoch(idle_since=T0 + (self.stop.start - 1) * 1000 + 300)
            self._second(s)

    # ---- the edge

    def _epoch(self, idle_since: int = 0) -> None:
        self.epoch, self.epoch_key = os.urandom(8), os.urandom(32)
        self.epoch_keys.append(self.epoch_key)
        at = T0 if not idle_since else T0 + self.stop.stop * 1000 - 500
        body = items.Opening(
            epoch=self.epoch,
            key=self.epoch_key,
            boot=bytes(16),
            wall_ms=at,
            reason="start",
            parent=None,
            idle_since_ms=idle_since,
            version="1",
        )
        self.add(ItemKind.OPEN, body.encode(), span=(at, at), arrival=at + 100)
        self.add(ItemKind.DICTIONARY, self.words.encode(), span=(at, at), arrival=at + 100)

    def _second(self, s: int) -> None:
        found: list[tuple[int, int, Any, int, samples.Kind]] = []
        for m in self.machines:
            if m.uid == "m1" and s in self.no_reply and s != self.no_reply.start:
                continue
            for tag in self.tags:
                at = T0 + s * 1000 + 37 * self.tags.index(tag)
                lost = m.uid == "m1" and s in self.no_reply
                v, q = (None, 0x8000 | 0x2000 | 2) if lost else (value(m.uid, tag, s), 0)
                found.append((self.words.number(m.uid, tag), at, v, q, KINDS.get(tag, samples.Kind.FLOAT)))
                self.rows[m.uid][tag].append([at, v, q])
        self.frame(samples.from_rows(found), arrival=T0 + s * 1000 + 200 + self.late(s))

    def frame(self, rows: samples.Samples, *, arrival: int, **changes: Any) -> Item:
        closed = frame.Frame(arrival, 1, bytes(16), rows)
        span = (int(rows.time.min()), int(rows.time.max()))
        return self.add(ItemKind.DATA, frame.encode(closed, self.words), span=span, arrival=arrival, **changes)

    def add(
        self, kind: ItemKind, plaintext: bytes, *, span: tuple[int, int], arrival: int, signer: Any = EDGE_KEY
    ) -> Item:
        number = len(self.items)
        previous = self.items[-1].hash if self.items else FIRST_PREVIOUS
        names = self.words.hash if kind is ItemKind.DATA else bytes(16)
        header = Header(kind, self.stream, number, previous, names, self.epoch, span=span)
        if kind is ItemKind.OPEN:
            sealed = seal.seal_open(plaintext, header, recipient_public=EXCHANGE, signer=signer, topic=TOPIC)
            key = None
        else:
            sealed = seal.seal(plaintext, header, epoch_key=self.epoch_key, signer=signer, topic=TOPIC)
            key = seal.frame_key(self.epoch_key, self.stream, number)
        made = Item(header, sealed, key, arrival)
        self.items.append(made)
        return made

    # ---- the cloud

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        """As `verifier.observing.cloud.Cloud.get`."""
        await asyncio.sleep(0)
        self.asked.append((path, params))
        name = "/" + path.split("/")[-1] if path.startswith("/devices/") else path
        status, body = self.answer(path, params)
        status = self.statuses.get(name, status)
        body = json.loads(json.dumps(body))  # what is changed below is this answer alone
        if name in self.answers:
            body = json.loads(json.dumps(self.answers[name](body)))
        return {"before": NOW, "after": NOW + 10, "status": status, "body": body if status else None}

    async def close(self) -> None: ...

    def answer(self, path: str, params: dict[str, Any]) -> tuple[int, Any]:
        match path.split("/")[1:]:
            case ["time"]:
                return 200, {"now_ms": NOW}
            case ["devices"]:
                return 200, {"devices": [{"uid": uid, "edge": EDGE, "simulated": False} for uid in self.uids]}
            case ["devices", uid, "coverage"]:
                return 200, self.coverage(uid)
            case ["devices", uid, "history"]:
                rows = self.between(uid, params["tag"], int(params["from"]), int(params["to"]))
                return 200, {"rows": rows, "more": False}
            case ["devices", uid, "features"]:
                rows = self.between(uid, params["tag"], int(params["from"]), int(params["to"]))
                return 200, features(rows)
            case ["trend"]:
                return 200, self.trend(params["series"], int(params["from"]), int(params["to"]), int(params["points"]))
            case ["frames"]:
                return 200, self.frames(params)
            case ["ledger", "proof"]:
                return self.prove(params["stream"], int(params["sequence"]))
            case _:
                return 404, {"error": {"code": "unknown"}}

    def between(self, uid: str, tag: str, start: int, end: int) -> list[Row]:
        return [r for r in self.rows[uid][tag] if start <= r[0] < end]

    def coverage(self, uid: str) -> dict[str, Any]:
        spans = {tag: [r[0] for r in rows] for tag, rows in self.rows[uid].items() if rows}
        tags = {tag: {"count": len(t), "first": min(t), "last": max(t)} for tag, t in spans.items()}
        late = [
            {"from": i.header.span[0], "to": i.header.span[1], "arrival_ms": i.arrival_ms}
            for i in self.items
            if i.header.kind is ItemKind.DATA and i.arrival_ms - i.header.span[1] > 60_000
        ]
        oldest = min(t["first"] for t in tags.values())
        days = [{"day": "2023-11-14", "count": sum(t["count"] for t in tags.values())}]
        return {"tags": tags, "gaps": [], "late": late, "oldest_ms": oldest, "days": days, "queryable_to_ms": NOW}

    def trend(self, series: list[str], start: int, end: int, points: int) -> dict[str, Any]:
        asked = {"enterprise": ENTERPRISE, "from": start, "points": points, "series": series, "to": end}
        query = hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
        out: list[Any] = []
        for name in series:
            uid, tag = name.split(":")
            rows = self.between(uid, tag, start, end)
            good = [r for r in rows if r[1] is not None]
            one: dict[str, Any] = {"device": uid, "tag": tag, "unit": "", "period_ms": 1000, "gaps": [], "late": []}
            one |= reduced(good, start, end, points) | {"features": features(rows)}
            out.append(one)
        return {"query": query, "series": out}

    def frames(self, params: dict[str, Any]) -> dict[str, Any]:
        start, end, limit = int(params["from"]), int(params["to"]), int(params["limit"])
        kinds, after = params.get("kinds", "").split(","), int(params.get("after", -1))
        wanted = [
            (leaf, item)
            for leaf, item in enumerate(self.items)
            if leaf > after
            and item.header.span[0] < end
            and item.header.span[1] >= start
            and (kinds == [""] or item.header.kind.name.lower() in kinds)
        ]
        found = wanted[:limit]
        listed = [
            {
                "stream": item.header.stream.hex(),
                "sequence": item.header.sequence,
                "hash": item.hash.hex(),
                "kind": item.header.kind.name.lower(),
                "shard": ADDRESS.shard,
                "leaf": leaf,
                "arrival_ms": item.arrival_ms,
                "sealed": to_b64(item.sealed),
                "key": None if item.key is None else to_b64(item.key),
            }
            for leaf, item in found
        ]
        words = {self.words.hash.hex(): to_b64(self.words.encode())}
        return {"items": listed, "dictionaries": words, "more": len(wanted) > limit}

    def prove(self, stream: str, number: int) -> tuple[int, Any]:
        at = next((i for i, x in enumerate(self.items) if x.header.sequence == number), None)
        if at is None or stream != self.stream.hex():
            return 404, {"error": {"code": "not_committed"}}
        if self.tree is None:
            entries = [entry.encode(entry.Entry(i.arrival_ms, TOPIC, i.sealed)) for i in self.items]
            nodes = proof.in_memory([proof.leaf_hash(e) for e in entries])
            made = head.make(NOW, {ADDRESS.shard: (len(entries), proof.root(len(entries), nodes))})
            self.tree = entries, nodes, head.sign(made, HEAD_KEY)
        entries, nodes, signed = self.tree
        size = len(entries)
        path = [to_b64(x) for x in proof.inclusion(at, size, nodes)]
        body = {"shard": ADDRESS.shard, "leaf": at, "size": size, "entry": to_b64(entries[at]), "path": path}
        return 200, body | {"head": to_b64(signed)}


def features(rows: list[Row]) -> dict[str, Any]:
    """By the statistics of the standard library."""
    good = [(t, float(v)) for t, v, _ in rows if v is not None]
    if not good:
        return {"count": 0, "min": None, "max": None, "mean": None, "std": None, "trend_per_h": None}
    times, values = [t for t, _ in good], [v for _, v in good]
    slope = (
        statistics.linear_regression([(t - times[0]) / 3.6e6 for t in times], values).slope if len(good) > 1 else None
    )
    return {
        "count": len(good),
        "min": min(values),
        "max": max(values),
        "mean": statistics.fmean(values),
        "std": statistics.pstdev(values),
        "trend_per_h": slope,
    }


def reduced(rows: list[Row], start: int, end: int, points: int) -> dict[str, Any]:
    """Points as the API reduces them."""
    if len(rows) <= points:
        return {"raw": True, "points": [[t, v] for t, v, _ in rows]}
    n = points // 2
    width = -(-(end - start) // n)
    kept: list[Row] = []
    columns: dict[str, list[Any]] = {"start": [], "count": [], "mean": [], "min": [], "max": []}
    for low in range(start, end, width):
        inside = [(t, float(v)) for t, v, _ in rows if low <= t < low + width]
        columns["start"].append(low)
        columns["count"].append(len(inside))
        values = [v for _, v in inside]
        columns["mean"].append(statistics.fmean(values) if values else None)
        columns["min"].append(min(values, default=None))
        columns["max"].append(max(values, default=None))
        if inside:
            least = min(inside, key=lambda p: (p[1], p[0]))
            most = max(inside, key=lambda p: (p[1], -p[0]))
            kept += [list(p) for p in sorted({least, most})]
    return {"raw": False, "points": kept, "buckets": columns}


@dataclass
class PaperViewer:
    """The trend page of a paper cloud. `html` changes what it shows."""

    cloud: PaperCloud
    fault: str = ""
    status: int = 200
    html: Callable[[str], str] = lambda text: text
    origin: str = "http://paper"
    cookies: tuple[dict[str, str], ...] = ()

    def record(self) -> dict[str, Any]:
        return {"planned": True, "fault": self.fault, "details": "", "live": "/live"}

    async def get(self, path: str) -> dict[str, Any]:
        answer = {"before": NOW, "after": NOW + 5, "status": self.status, "html": self.html(self.page(path))}
        return answer | {"path": "/trend"}

    def page(self, path: str) -> str:
        asked = parse_qs(urlsplit(path).query)
        return trend_page(self.cloud, asked["s"], int(asked["from"][0]), int(asked["to"][0]))

    async def close(self) -> None: ...


def trend_page(cloud: PaperCloud, series: list[str], start: int, end: int, points: int = 1200) -> str:
    """The page as a server renders it."""
    found = cloud.trend(series, start, end, points)
    lines: list[str] = []
    for name, one in zip(series, found["series"], strict=True):
        shown = one["features"] | {"trend": one["features"]["trend_per_h"]}
        names = ("min", "max", "mean", "std", "trend")
        cells = "".join(f'<td data-feature={n} data-value="{shown[n]!r}">{shown[n] or 0:,.2f} kW</td>' for n in names)
        lines.append(f'<tr data-series="{name}"><th>{name}</th>{cells}</tr>')
    chart = f'<div id="chart" data-query="{found["query"]}" data-from="{start}" data-to="{end}"></div>'
    return f'<body data-live="/live"><main>{chart}<table id="features">{"".join(lines)}</table></main></body>'


def chain_of(cloud: PaperCloud, viewer: PaperViewer | None) -> Chain:
    """A chain as an observer gets it."""
    settings = PlanSettings.model_validate(
        {
            "enterprise": ENTERPRISE,
            "cloud": {"url": "http://paper", "token_file": "t", "head_key": keys.to_text(HEAD_KEY.public)},
            "inspector": {"key_file": "k", "certificate_file": "c"},
            "points": {"file": "p", "signature_file": "s", "public_key": "x"},
            "edges": [{"edge": EDGE, "public_key": keys.to_text(EDGE_KEY.public)}],
        }
    )
    plan = Plan(
        settings=settings,
        folder=Path("."),
        token="t",
        inspector=EDGE_KEY,
        certificate=b"",
        machines=cloud.machines,
        edge_keys={EDGE: EDGE_KEY.public},
        head_key=HEAD_KEY.public,
        credentials=Credentials(),
    )
    return Chain(plan, PACK, lambda: NOW, cloud, _viewer=viewer)  # type: ignore[arg-type]


def observed(cloud: PaperCloud, viewer: PaperViewer | None = None, *, page: bool = True) -> dict[str, Any]:
    """The observations of a check of this cloud."""
    shown = (viewer or PaperViewer(cloud)) if page else None
    found = asyncio.run(device_mon_trace.observe(chain_of(cloud, shown)))
    run = {"enterprise": ENTERPRISE, "started_ms": NOW, "simulated": dict.fromkeys(cloud.uids, False)}
    return {"run": run, **found}


def findings(found: dict[str, Any]) -> list[Finding]:
    return judge_evidence(make(device_mon_trace.ID, found), PACK)


def odd(found: dict[str, Any], uid: str = "m1") -> dict[str, str]:
    """What is not a pass and not blocked: statement → "state reason"."""
    return {
        f.statement: f"{f.state.value} {f.reason}"
        for f in findings(found)
        if f.machine == uid and f.state is not State.PASS and f.reason != "blocked"
    }
