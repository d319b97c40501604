"""A trial of alarms on paper: evidence of a healthy check, made without any network, for the judge to be tried on.

Frames, windows, proofs, heads and the audit chain are real ones, made with real keys and hashes; the package is a real zip.
"""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import cbor2

from telemetry import frame, head, proof, samples
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.keys import to_text
from telemetry.messages import Echo
from telemetry.points import Machine, ModbusConnection, ModbusPoint, Point
from telemetry.samples import Kind
from telemetry.seal import Header, ItemKind, frame_key, item_hash, seal
from telemetry.topics import Address, Channel
from tests.verifier.scene import EDGE, EDGE_KEY, ENTERPRISE, HEAD_KEY, PACK, T0, answer
from verifier.evidence import make, to_b64
from verifier.findings import Finding
from verifier.judging.audit import FIELDS, digest
from verifier.judging.fluctuation import shape
from verifier.judging.rules_eval import counted
from verifier.observing.machines import declared
from verifier.run import judge_evidence
from verifier.states import State

UID = "m1"
POINTS: list[Point] = [
    ModbusPoint(tag="voltage_avg", address=0, type="float64"),
    ModbusPoint(tag="current_a", address=4, type="float64"),
    ModbusPoint(tag="speed", address=8, type="float64"),
    ModbusPoint(tag="load_pct", address=12, type="float64"),
]
TAGS = tuple(p.tag for p in POINTS)
DICTIONARY = Dictionary(ENTERPRISE, EDGE, (DeviceSpec(UID, "large_motor", tags=tuple(TagSpec(t) for t in TAGS)),))
ADDRESS = Address(ENTERPRISE, EDGE)
FIRST, LAST = T0 - 75_000, T0 + 60_000
MOVED, PLANT_T, RAISED = T0 + 3000, T0 + 3300, T0 + 6300
CHANGED, OWN_T = T0 + 9000, T0 + 9300
PLANT, OWN = "mo_undervoltage", "r-own"
PLANT_ALARM, OWN_ALARM = "aa" * 16, "bb" * 16
EPOCH = bytes(range(32))
STREAM = bytes(16)


def value(tag: str, t: int) -> float:
    """What the machine has: a load that hops about a limit of 75, and others that hardly move."""
    n = (t - T0) // 1000
    hop = ((n * 7) % 5) / 10 - 0.2
    return {"voltage_avg": 10.0 + hop / 10, "current_a": 120 + hop, "speed": 1480 + hop, "load_pct": 75 + 3 * hop}[tag]


def rows() -> dict[str, list[list[Any]]]:
    return {tag: [[t, value(tag, t), 0] for t in range(FIRST + 300, LAST, 1000)] for tag in TAGS}


# ---------------------------------------------------------------- what the edge signed


def encoded(some: dict[str, list[list[Any]]], wall_ms: int) -> bytes:
    flat = [(DICTIONARY.number(UID, tag), t, v, q, Kind.FLOAT) for tag in TAGS for t, v, q in some.get(tag, [])]
    return frame.encode(frame.Frame(wall_ms, wall_ms, bytes(16), samples.from_rows(flat)), DICTIONARY)


def item(plaintext: bytes, kind: ItemKind, n: int, previous: bytes, span: tuple[int, int]) -> bytes:
    header = Header(kind, STREAM, n, previous, DICTIONARY.hash, bytes(8), span=span)
    return seal(plaintext, header, epoch_key=EPOCH, signer=EDGE_KEY, topic=ADDRESS.topic(Channel.UP))


def handed(sealed: bytes, n: int, arrival_ms: int) -> dict[str, Any]:
    return {
        "stream": STREAM.hex(),
        "sequence": n,
        "sealed": to_b64(sealed),
        "arrival_ms": arrival_ms,
        "key": to_b64(frame_key(EPOCH, STREAM, n)),
    }


def frames(items: list[dict[str, Any]]) -> dict[str, Any]:
    words = {DICTIONARY.hash.hex(): to_b64(DICTIONARY.encode())}
    return answer({"items": items, "dictionaries": words, "more": False})


def record_of(signed: dict[str, list[list[Any]]], ahead: int = 0) -> dict[str, Any]:
    """A frame every five seconds; `ahead`: by how much the edge's clock is."""
    items: list[dict[str, Any]] = []
    previous = bytes(16)
    for n, start in enumerate(range(FIRST + ahead, LAST + ahead, 5000)):
        cut = {tag: [r for r in some if start <= r[0] < start + 5000] for tag, some in signed.items()}
        times = [r[0] for some in cut.values() for r in some]
        sealed = item(encoded(cut, start + 5000), ItemKind.DATA, n, previous, (min(times), max(times)))
        items.append(handed(sealed, n, start - ahead + 5200))
        previous = item_hash(sealed)
    return {"windows": [[FIRST + ahead, LAST + ahead]], "frames": {"0-1": [frames(items)]}, "losses": [], "proofs": []}


def window(signed: dict[str, list[list[Any]]], *, alarm: str = PLANT_ALARM, **changes: Any) -> dict[str, Any]:
    """The sealed window of an alarm, with its proof."""
    span = (PLANT_T - 60_000, RAISED + 10_000)
    cut = {tag: [r for r in some if span[0] <= r[0] <= span[1]] for tag, some in signed.items()}
    plain = {
        "id": bytes.fromhex(alarm),
        "device": UID,
        "from_ms": span[0],
        "to_ms": span[1],
        "ring_from_ms": FIRST,
        "part": 0,
        "parts": 1,
        "truncated": False,
        "frame": encoded(cut, span[1]),
        **changes,
    }
    sealed = item(cbor2.dumps(plain), ItemKind["WINDOW"], 900, bytes(16), span)
    one = {"stream": STREAM.hex(), "sequence": 900, "answer": answer(proved(sealed, span[1] + 4000))}
    return {"answers": [frames([handed(sealed, 900, span[1] + 4000)])], "proofs": [one]}


def proved(sealed: bytes, arrival_ms: int) -> dict[str, Any]:
    entry = cbor2.dumps([arrival_ms, ADDRESS.topic(Channel.UP), sealed])
    leaves = [proof.leaf_hash(b"before"), proof.leaf_hash(entry)]
    made = head.sign(head.make(arrival_ms + 100, {ADDRESS.shard: (2, proof.root_of(leaves))}), HEAD_KEY)
    path = [to_b64(step) for step in proof.inclusion(1, 2, proof.in_memory(leaves))]
    return {"shard": ADDRESS.shard, "leaf": 1, "size": 2, "entry": to_b64(entry), "path": path, "head": to_b64(made)}


# ---------------------------------------------------------------- rules, alarms, package


def rule(name: str, version: int, **changes: Any) -> dict[str, Any]:
    plant = {"type": "large_motor", "device": None, "tag": "voltage_avg", "low": 9.3, "low_low": 8.5, "delay_s": 3.0}
    own = {"type": None, "device": UID, "tag": "load_pct", "high": 200.0, "high_high": None, "delay_s": 1.0}
    return {
        "id": name,
        "version": version,
        "zh": "规则",
        "en": "rule",
        "kind": "limit",
        **(plant if name == PLANT else own),
        "hysteresis": 0.01 if name == PLANT else 3.0,
        "related": ["current_a", "speed"] if name == PLANT else [],
        "channels": [],
        "enabled": True,
        "source": "equipment" if name == PLANT else "inspector",
        "retired_ms": None,
        "changed_ms": T0,
        "changed_by": "inspector",
        **changes,
    }


def alarm(name: str, of: dict[str, Any], level: str, t: int, t_sample: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": name,
        "rule": of["id"],
        "rule_version": of["version"],
        "device": UID,
        "tag": of["tag"],
        "level": level,
        "state": "active",
        "limit": of[level],
        "trigger": {"t": t, "v": value(of["tag"], t), "q": 0},
        "t_sample": t_sample,
        "raised_ms": t + round(of["delay_s"] * 1000),
        "detected_ms": t_sample + 700,
        "late": False,
        "package": {"state": "ready"},
        **changes,
    }


def manifest_of(of: dict[str, Any], by: dict[str, Any], some: dict[str, list[list[Any]]]) -> dict[str, Any]:
    span = (of["trigger"]["t"] - 60_000, of["raised_ms"] + 10_000)
    at = of["trigger"]["t"]
    features = {}
    for tag, mine in some.items():
        own = value(tag, at)
        seen = shape(counted(mine), at, own)
        slopes = {"slope_before_per_s": seen.slope_before, "slope_after_per_s": seen.slope_after}
        features[tag] = {**slopes, "deviation": seen.deviation}
    return {
        "schema": 1,
        "alarm": of["id"],
        "rule": by,
        "trigger": of["trigger"],
        "device": UID,
        "window": {"from_ms": span[0], "to_ms": span[1], "ring_from_ms": FIRST, "complete": True},
        "features": features,
        "first_out": {"tag": of["tag"], "t": at, "why": "limit"},
    }


def zipped(manifest: dict[str, Any], some: dict[str, list[list[Any]]], *, spoil: str = "") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["tag", "t_ms", "value", "quality"])
    for tag, mine in some.items():
        writer.writerows([tag, t, repr(v), q] for t, v, q in mine)
    files = {"samples.csv": text.getvalue().encode(), "chart.svg": b"<svg/>"}
    listed = [{"name": n, "sha256": hashlib.sha256(d).hexdigest(), "bytes": len(d)} for n, d in files.items()]
    if spoil:
        files[spoil] += b"\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("manifest.json", json.dumps({**manifest, "files": listed}))
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def package(found: dict[str, Any], data: bytes) -> None:
    """Put a package into the evidence as the cloud would give it."""
    kept = found[f"package/{UID}"]
    sha256 = hashlib.sha256(data).hexdigest()
    kept |= {"zip": to_b64(data), "size": len(data), "sha256": sha256}
    kept["alarm"]["body"]["alarm"]["package"] = {"state": "ready", "bytes": len(data), "sha256": sha256}


def repack(
    found: dict[str, Any], change: Callable[[dict[str, Any], dict[str, list[list[Any]]]], None], *, spoil: str = ""
) -> None:
    """Another package than the healthy one, with checksums that fit."""
    signed = rows()
    span = (PLANT_T - 60_000, RAISED + 10_000)
    some = {tag: [list(r) for r in mine if span[0] <= r[0] <= span[1]] for tag, mine in signed.items()}
    manifest = manifest_of(found["alarm/m1"]["plant"]["alarms"]["body"]["alarms"][0], rule(PLANT, 4, low=11.0), some)
    change(manifest, some)
    package(found, zipped(manifest, some, spoil=spoil))


def notice(of: dict[str, Any], *, value_: Any = None, at: int | None = None, **changes: Any) -> dict[str, Any]:
    said = {
        "alarm": of["id"],
        "rule": of["rule"],
        "rule_version": of["rule_version"],
        "device": UID,
        "tag": of["tag"],
        "level": of["level"],
        "what": "raised",
        "value": of["trigger"]["v"] if value_ is None else value_,
        "limit": of["limit"],
        "t_sample": of["t_sample"],
        "t_detect": of["detected_ms"],
        "t_send": of["detected_ms"] + 100,
        "simulated": False,
        **changes,
    }
    return {"at": of["detected_ms"] + 150 if at is None else at, "title": "报警", "said": said, "size": 500}


# ---------------------------------------------------------------- the audit log


def audit(*steps: tuple[str, str, Any, Any]) -> dict[str, Any]:
    """A log of one entry from before and one for each step."""
    entries: list[dict[str, Any]] = []
    for n, (action, about, before, after) in enumerate([("user.create", "u", None, {}), *steps], 41):
        previous = entries[-1]["hash"] if entries else "ab" * 32
        one: dict[str, Any] = dict(
            zip(FIELDS, (n, T0 + n, "inspector", "inspector", action, about, before, after, previous), strict=True)
        )
        entries.append({**one, "hash": digest(one, ENTERPRISE)})
    return {"start": 41, "first": answer({"entries": []}), "pages": [answer({"entries": entries})], "truncated": False}


def steps(found: dict[str, Any]) -> list[tuple[str, str, Any, Any]]:
    """What the healthy trial did."""
    one = found[f"alarm/{UID}"]
    own, plant = one["own"], one["plant"]

    def of(kept: dict[str, Any], name: str) -> Any:
        return kept[name]["body"]["rule"]

    channel = found["receiver"]["channel"]["created"]["body"]["channel"]
    return [
        ("channel.create", "c-1", None, channel),
        ("rule.create", OWN, None, of(own, "created")),
        ("rule.change", PLANT, of(plant, "before"), of(plant, "changed")),
        ("rule.change", OWN, of(own, "created"), of(own, "changed")),
        ("rule.change", PLANT, of(plant, "changed"), of(plant, "restored")),
        ("rule.retire", OWN, of(own, "changed"), of(own, "retired")),
        ("channel.remove", "c-1", channel, None),
    ]


# ---------------------------------------------------------------- the whole


def scene(*, signed: dict[str, list[list[Any]]] | None = None) -> dict[str, Any]:
    """Observations of a healthy trial."""
    signed = rows() if signed is None else signed
    ids = {"large_motor": ("mo_winding", "mo_bearing", "mo_vibration", "mo_overload", "mo_unbalance")}
    before, moved, restored = rule(PLANT, 3), rule(PLANT, 4, low=11.0), rule(PLANT, 5)
    made, changed = rule(OWN, 1), rule(OWN, 2, high=74.9, delay_s=0.0)
    retired = {**changed, "version": 3, "retired_ms": T0 + 17_000}
    first = alarm(PLANT_ALARM, moved, "low", PLANT_T, RAISED)
    second = alarm(OWN_ALARM, changed, "high", OWN_T, OWN_T)

    def one(found: dict[str, Any], at: int, status: int = 200) -> dict[str, Any]:
        return answer({"rule": found}, status, at=at)

    def alarms(*some: dict[str, Any], at: int) -> dict[str, Any]:
        return answer({"alarms": list(some), "more": False}, at=at)

    asked = [
        {k: r[k] for k in ("device", "tag", "kind", "high", "delay_s", "hysteresis", "enabled")}
        for r in (made, changed)
    ]
    own = {
        "id": OWN,
        "side": "high",
        "asked": asked,
        "created": one(made, T0 + 2000, 201),
        "before_change": alarms(at=T0 + 8900),
        "changed": one(changed, CHANGED),
        "stored": one(changed, CHANGED + 20),
        "looked": T0 + 30_000,
        "seen": T0 + 10_500,
        "retired": one(retired, T0 + 31_000),
        "after": one(retired, T0 + 31_020),
        "alarms": alarms(second, at=T0 + 31_040),
    }
    plant = {
        "id": PLANT,
        "level": "low",
        "before": one(before, T0 + 2900),
        "asked": {"low": 11.0},
        "changed": one(moved, MOVED),
        "looked": T0 + 20_000,
        "seen": T0 + 7500,
        "restored": one(restored, T0 + 21_000),
        "after": one(restored, T0 + 21_020),
        "alarms": alarms(first, at=T0 + 21_040),
    }
    kept = {"rules": answer({"rules": [before, *(rule(PLANT, 1, id=i) for i in ids["large_motor"])]})}
    drawn = {"own": "load_pct", "plant": PLANT}
    machine = Machine(uid=UID, type="large_motor", connection=ModbusConnection(host="127.0.0.1"), points=POINTS)
    reads = {
        tag: [[t, t + 20, value(tag, t - t % 1000 + T0 % 1000), ""] for t in range(T0, T0 + 30_000, 500)]
        for tag in TAGS
    }
    span = [PLANT_T - 60_000, RAISED + 10_000]
    times = [answer({"now_ms": t + 5}, at=t) for t in (T0, T0 + 50)]
    channel = {"created": answer({"channel": {"id": "c-1"}}, 201), "removed": answer({}, 200)}
    found: dict[str, Any] = {
        "run": {"enterprise": ENTERPRISE, "started_ms": T0, "simulated": {UID: False}},
        "scope": {
            "enterprise": ENTERPRISE,
            "began_ms": T0,
            "ended_ms": T0 + 40_000,
            "machines": {UID: declared(machine)},
            "edge_keys": {EDGE: to_text(EDGE_KEY.public)},
            "head_key": to_text(HEAD_KEY.public),
            "rules_sha256": PACK.digest,
        },
        "cloud": {"times": times, "devices": answer({"devices": [device()]})},
        f"edge/{EDGE}": echo(),
        "receiver": {
            "self_test": "",
            "channel": channel,
            "strays": 0,
            "fault": "",
            "notices": [notice(first), notice(second)],
        },
        f"record/{EDGE}": record_of(signed),
        f"windows/{EDGE}": window(signed),
        f"machine/{UID}": {"identity": {}, "reads": reads, "clock": [], "silent": [], "scans": 60},
        f"alarm/{UID}": {**kept, "drawn": drawn, "own": own, "plant": plant, "rows": {}},
        f"package/{UID}": {
            "alarm": answer({"alarm": dict(first)}),
            "answer": answer(None),
            "span": span,
            "history": {
                tag: answer({"rows": [r for r in some if span[0] <= r[0] <= span[1]], "more": False})
                for tag, some in signed.items()
            },
        },
    }
    found["audit"] = audit(*steps(found))
    repack(found, lambda _manifest, _rows: None)
    return found


def device() -> dict[str, Any]:
    spec = {"kind": 1, "unit": "", "resolution": None, "period_ms": 1000, "source_time": False, "deadband": 0.0}
    tags = [{"id": tag, **spec} for tag in TAGS]
    return {"uid": UID, "type": "large_motor", "edge": EDGE, "simulated": False, "nameplate": {}, "tags": tags}


def echo(*, clock: int = 0) -> dict[str, Any]:
    """An answered challenge: the edge's clock is `clock` ms ahead."""
    nonce = bytes(range(16))
    said = Echo(
        nonce=nonce,
        edge=EDGE,
        boot=bytes(16),
        wall_ms=T0 + 1040 + clock,
        mono_ms=5,
        synchronised=True,
        stream=STREAM,
        sequence=7,
    )
    signed = to_b64(said.sign(EDGE_KEY, ADDRESS.topic(Channel.ECHO)))
    heard = list(range(T0 + 1400, T0 + 39_000, 1000))
    return {"nonce": to_b64(nonce), "sent_ms": T0 + 1000, "echo": [T0 + 1080, signed], "heard": heard, "reason": ""}


def findings(found: dict[str, Any]) -> list[Finding]:
    return judge_evidence(make("device.mon.alarm", found), PACK)


def odd(found: dict[str, Any]) -> dict[str, str]:
    """What is not a pass and not blocked: statement → "state reason"."""
    return {
        f.statement: f"{f.state.value} {f.reason}"
        for f in findings(found)
        if f.state != State.PASS and f.reason != "blocked"
    }


def told(found: dict[str, Any]) -> dict[str, str]:
    """Every finding in words, for a failing test to show."""
    return {f.statement: f.en for f in findings(found)}
