"""A plant on paper: evidence of a healthy check, made without any network, for the judge to be tried on.

The frame, echo, ledger entry, proof and head are real ones, made with real keys.
"""

import math
import random
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemetry import head, proof
from telemetry.keys import signing_key, to_text
from telemetry.messages import Echo
from telemetry.points import Machine, ModbusConnection, ModbusPoint, Point
from telemetry.seal import Header, ItemKind, seal
from telemetry.topics import Address, Channel
from verifier.evidence import Evidence, make, to_b64
from verifier.findings import Finding
from verifier.observing.machines import LONGEST, SHORTEST, declared
from verifier.rules.pack import load_pack
from verifier.run import judge_evidence
from verifier.states import State

PACK = load_pack()
ENTERPRISE, EDGE = "91320200MA1XAMPLE7", "edge-1"
T0 = 1_700_000_000_000
SECONDS = 15
ENDED = T0 + SECONDS * 1000 - 100
FETCHED = T0 + SECONDS * 1000 + 5000
ENERGY = (1 << 53) + 1  # a float64 does not hold it


def read_times(seed: int = 1) -> list[int]:
    """When the verifier reads: about twice a second, in no beat, until shortly after the watch ended."""
    chance = random.Random(seed)
    times, at = [], float(T0)
    while at < ENDED + 1500:
        times.append(int(at))
        at += 500 * chance.uniform(SHORTEST, LONGEST)
    return times


READ_TIMES = read_times()
EDGE_KEY = signing_key(Ed25519PrivateKey.generate())
HEAD_KEY = signing_key(Ed25519PrivateKey.generate())
OTHER_KEY = signing_key(Ed25519PrivateKey.generate())

POINTS: list[Point] = [
    ModbusPoint(tag="active_power", address=0, type="float64"),
    ModbusPoint(tag="winding_temp_u", address=4, type="int16", scale=0.1),
    ModbusPoint(tag="energy", address=5, type="uint64"),
    ModbusPoint(tag="run_state", address=9),
    ModbusPoint(tag="remote_mode", address=10, type="bool"),
]


def machine(uid: str) -> Machine:
    plate = {"maker": "Works", "model": "M-7", "serial": f"S-{uid}"}
    connection = ModbusConnection(host="127.0.0.1")
    return Machine(uid=uid, type="large_motor", nameplate=plate, connection=connection, points=POINTS)


def true_value(tag: str, t: float, *, phase: float = 0.0) -> Any:
    """What the machine has at a moment (ms on the verifier's clock)."""
    s = (t - T0) / 1000
    match tag:
        case "active_power":
            return 150.0 + 20 * math.sin(s / 2 + phase) + 10 * phase
        case "winding_temp_u":
            return round((80.0 + s / 10 + phase) * 10) / 10
        case "energy":
            return ENERGY + int(s)
        case "run_state":
            return 1
        case _:
            return True


def reads(phase: float = 0.0) -> dict[str, list[list[Any]]]:
    """The verifier's own reads."""
    return {p.tag: [[t, t + 20, true_value(p.tag, t + 10, phase=phase), ""] for t in READ_TIMES] for p in POINTS}


def rows(tag: str, *, clock: int = 0, phase: float = 0.0) -> list[list[Any]]:
    """What the cloud stored: a sample a second, stamped by the edge's clock."""
    times = [T0 + 300 + i * 1000 for i in range(SECONDS)]
    return [[t + clock, true_value(tag, t, phase=phase), 0] for t in times]


def challenge(*, key: Any = EDGE_KEY, signed_head: Any = HEAD_KEY, clock: int = 0) -> dict[str, Any]:
    """The record of an answered challenge."""
    address = Address(ENTERPRISE, EDGE)
    nonce = bytes(range(16))
    header = Header(ItemKind.DATA, bytes(16), 7, bytes(16), bytes(16), bytes(8), nonces=(nonce,))
    topic = address.topic(Channel.UP)
    sealed = seal(b"frame", header, epoch_key=bytes(32), signer=key, topic=topic)
    sent = T0 + 1000
    echo = Echo(
        nonce=nonce,
        edge=EDGE,
        boot=bytes(16),
        wall_ms=sent + 40 + clock,
        mono_ms=5,
        synchronised=True,
        stream=bytes(16),
        sequence=7,
    )
    entry = cbor2.dumps([sent + 500, topic, sealed])
    leaves = [proof.leaf_hash(b"before"), proof.leaf_hash(entry), proof.leaf_hash(b"after")]
    root = proof.root_of(leaves)
    made = head.sign(head.make(sent + 600, {address.shard: (3, root)}), signed_head)
    body = {
        "server_ms": sent + 700,
        "shard": address.shard,
        "leaf": 1,
        "size": 3,
        "entry": to_b64(entry),
        "path": [to_b64(step) for step in proof.inclusion(1, 3, proof.in_memory(leaves))],
        "root": to_b64(root),
        "head": to_b64(made),
        "shards": [],
    }
    return {
        "nonce": to_b64(nonce),
        "sent_ms": sent,
        "echo": [sent + 80, to_b64(echo.sign(key, address.topic(Channel.ECHO)))],
        "frame": [sent + 400, to_b64(sealed)],
        "frames": 9,
        "heard": [T0 + 1400 + i * 1000 for i in range(SECONDS - 2)],
        "proof": {"before": sent + 700, "after": sent + 720, "status": 200, "body": body},
        "reason": "",
    }


def device(uid: str) -> dict[str, Any]:
    kinds = {"energy": 3, "run_state": 5, "remote_mode": 4}
    resolution = {"active_power": "0.1", "winding_temp_u": "0.1"}
    return {
        "enterprise": ENTERPRISE,
        "uid": uid,
        "type": "large_motor",
        "edge": EDGE,
        "simulated": False,
        "nameplate": {"maker": "Works", "model": "M-7", "serial": f"S-{uid}"},
        "tags": [
            {
                "id": p.tag,
                "kind": kinds.get(p.tag, 1),
                "unit": "",
                "resolution": resolution.get(p.tag),
                "period_ms": 1000,
                "source_time": False,
                "deadband": 0.0,
            }
            for p in POINTS
        ],
    }


def live(*, clock: int = 0, phase: float = 0.0) -> dict[str, Any]:
    """A healthy subscription: a snapshot, a data message a second, silence."""
    messages: list[dict[str, Any]] = [{"at": T0 + 200, "m": {"type": "snapshot", "seq": 1, "rows": []}}]
    by_tag = {p.tag: rows(p.tag, clock=clock, phase=phase) for p in POINTS}
    for i in range(1, SECONDS - 1):
        at = T0 + 300 + i * 1000 + 700
        message = {"type": "data", "seq": i + 1, "rows": [[tag, *by_tag[tag][i]] for tag in by_tag]}
        messages.append({"at": at, "m": message})
    return {
        "reason": "",
        "subscribed_ms": T0 + 150,
        "unsubscribed_ms": ENDED,
        "closed_ms": ENDED + 6000,
        "messages": messages,
    }


def scene(*uids: str, cloud_clock: int = 0, edge_clock: int = 0) -> dict[str, Any]:
    """Observations of a healthy check of some machines."""
    uids = uids or ("m1",)
    times = [
        {"before": t, "after": t + 10, "status": 200, "body": {"now_ms": t + 5 + cloud_clock}} for t in (T0, T0 + 50)
    ]
    found: dict[str, Any] = {
        "run": {"enterprise": ENTERPRISE, "started_ms": T0, "simulated": dict.fromkeys(uids, False)},
        "scope": {
            "enterprise": ENTERPRISE,
            "began_ms": T0,
            "ended_ms": ENDED,
            "machines": {uid: declared(machine(uid)) for uid in uids},
            "edge_keys": {EDGE: to_text(EDGE_KEY.public)},
            "head_key": to_text(HEAD_KEY.public),
            "rules_sha256": PACK.digest,
        },
        "cloud": {"times": times, "devices": answer({"devices": [device(uid) for uid in uids]})},
        f"edge/{EDGE}": challenge(clock=edge_clock),
    }
    for i, uid in enumerate(uids):
        phase = float(i)
        found[f"machine/{uid}"] = {
            "identity": {
                "nameplate": {"maker": "Works", "model": "M-7", "serial": f"S-{uid}"},
                "uri": "",
                "reason": "",
                "simulated": False,
            },
            "reads": reads(phase),
            "clock": [],
            "silent": [],
            "scans": len(READ_TIMES),
        }
        history = {p.tag: rows(p.tag, clock=edge_clock, phase=phase) for p in POINTS}
        found[f"shown/{uid}"] = {
            "polls": [latest(uid, history, T0 + at, clock=edge_clock) for at in range(2500, SECONDS * 1000, 2100)],
            "latest": latest(uid, history, ENDED + 200, clock=edge_clock),
            "history": {tag: [answer({"rows": r, "more": False}, at=FETCHED)] for tag, r in history.items()},
        }
        found[f"live/{uid}"] = live(clock=edge_clock, phase=phase)
    return found


def latest(uid: str, history: dict[str, list[list[Any]]], at: int, *, clock: int = 0) -> dict[str, Any]:
    """The cloud's latest values at a moment, 0.5 s after the edge took them."""
    last = {tag: [r for r in rows if r[0] - clock + 500 <= at][-1] for tag, rows in history.items()}
    values = {tag: {"t": t, "v": v, "q": q} for tag, (t, v, q) in last.items()}
    return answer({"device": uid, "values": values}, at=at)


def answer(body: Any, status: int = 200, *, at: int = T0) -> dict[str, Any]:
    return {"before": at, "after": at + 10, "status": status, "body": body}


def evidence(found: dict[str, Any]) -> Evidence:
    return make("device.mon.realtime", found)


def findings(found: dict[str, Any]) -> list[Finding]:
    return judge_evidence(evidence(found), PACK)


def states(found: dict[str, Any], uid: str = "m1") -> dict[str, tuple[str, str]]:
    """(state, reason) by statement of one machine."""
    return {f.statement: (f.state.value, f.reason) for f in findings(found) if f.machine == uid}


def odd(found: dict[str, Any], uid: str = "m1") -> dict[str, str]:
    """What is not a pass and not blocked: statement → "state reason"."""
    return {s: f"{a} {b}" for s, (a, b) in states(found, uid).items() if a != State.PASS and b != "blocked"}


def history_rows(found: dict[str, Any], tag: str, uid: str = "m1") -> list[list[Any]]:
    return found[f"shown/{uid}"]["history"][tag][0]["body"]["rows"]


def every_row(found: dict[str, Any], tag: str, uid: str = "m1") -> list[list[Any]]:
    """The rows of a tag in history and feed, each a list whose last three items are [t, v, q]; change them in place."""
    pushed = [r for m in found[f"live/{uid}"]["messages"] for r in m["m"]["rows"] if r[0] == tag]
    return [*history_rows(found, tag, uid), *pushed]


def every_latest(found: dict[str, Any], tag: str, uid: str = "m1") -> list[dict[str, Any]]:
    """What was shown as the latest value of a tag, each time it was asked for; change them in place."""
    shown = found[f"shown/{uid}"]
    return [a["body"]["values"][tag] for a in (*shown["polls"], shown["latest"])]


def show(found: dict[str, Any], tag: str, change: Any, uid: str = "m1") -> None:
    """Change a tag's values wherever they are shown: value and time → value."""
    for row in every_row(found, tag, uid):
        row[-2] = change(row[-2], row[-3])
    for said in every_latest(found, tag, uid):
        said["v"] = change(said["v"], said["t"])


def forget_latest(found: dict[str, Any], tag: str, uid: str = "m1") -> None:
    """As if the latest value of a tag had been asked for only at the end."""
    for poll in found[f"shown/{uid}"]["polls"]:
        poll["body"]["values"].pop(tag, None)


def blocked(found: dict[str, Any], uid: str = "m1") -> dict[str, str]:
    """What is blocked, and by which statement."""
    return {f.statement: str(f.blocked_by) for f in findings(found) if f.machine == uid and f.reason == "blocked"}
