"""device.mon.alarm 故障报警: strategies can be configured, what they say is what happens, somebody is told in time, and the
data around the alarm are packed.

`observe` provokes alarms on every machine at once: with a rule of the verifier's own, and by moving the limit of one of the
plant's own rules across the present value; limits are restored and own rules retired whatever happens. `judge` is pure: it
recomputes every alarm from the raw rows.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping
from typing import Any

from telemetry.equipment import equipment_file
from telemetry.keys import to_text
from telemetry.topics import Address
from verifier.chain import Chain, pause
from verifier.evidence import Evidence
from verifier.findings import Outcome
from verifier.judging.alarm_case import (
    case_of,
    contradicted,
    edge_of,
    package_of,
    packed,
    records,
    windows,
)
from verifier.judging.alarms import judge_conditions, judge_config, provoked
from verifier.judging.audit import read_audit
from verifier.judging.case import cloud_fault, dicts, is_simulated, mapping
from verifier.judging.fluctuation import judge_fluctuation
from verifier.judging.link import edge_offset
from verifier.judging.notices import judge_reminder
from verifier.judging.packages import judge_package
from verifier.needs import Needs
from verifier.observing.alarms import Trial, Turns, raised_by
from verifier.observing.audit import AuditTail
from verifier.observing.history import Recorder
from verifier.observing.link import Challenger
from verifier.observing.machines import declared, watch
from verifier.observing.notified import Notified
from verifier.observing.packages import fetch_package, fetch_windows
from verifier.rules.pack import RulePack
from verifier.states import Grade, State

ID = "device.mon.alarm"
REALTIME = "device.mon.realtime"
NEEDS: Needs = {"al.1": (), "al.2": (), "al.3": ("al.2",), "al.4": ("al.2",), "al.5": ("al.4",)}
GRADE = Grade.CHALLENGED_LIVE

BEFORE_MS = 75_000
CHUNK_MS = 45_000
SETTLE_S = 3.0
READ_EVERY_S = 1.0
CLOSING_S = 3.0


# ---------------------------------------------------------------- observe


async def observe(chain: Chain) -> dict[str, Any]:
    """Observations by name: scope, cloud, receiver, audit, edge/<edge>, record/<edge>, windows/<edge>, machine/<uid>,
    alarm/<uid>, package/<uid>."""
    began = chain.clock()
    chain.progress("alarms", 0.0)
    times = [await chain.cloud.get("/time") for _ in range(3)]
    devices = await chain.cloud.get("/devices")
    found: dict[str, Any] = {"cloud": {"devices": devices, "times": times}}
    if devices["status"] != 200 or not devices["body"]:
        found["scope"] = _scope(chain, began)
        return found
    edges = _edges(chain, devices["body"])
    audit = AuditTail(chain.cloud)
    await audit.begin()
    stop = asyncio.Event()
    challenger = Challenger(chain.plan, edges, cloud=chain.cloud, clock=chain.clock)
    watching = {
        m.uid: asyncio.create_task(
            watch(chain.reader(m), clock=chain.clock, every_s=READ_EVERY_S, stop=stop), name=f"watch {m.uid}"
        )
        for m in chain.machines
    }
    try:
        async with Notified(chain) as notified:
            found["receiver"] = notified.record
            await challenger.open()
            trials = await _tried(chain, challenger, notified.channel, devices["body"])
            found |= {f"alarm/{uid}": trial.record for uid, trial in trials.items()}
            found |= {f"package/{uid}": kept for uid, kept in (await _packages(chain, trials)).items()}
            stop.set()
            reads = await asyncio.gather(*watching.values())
            found |= {f"machine/{uid}": record for uid, record in zip(watching, reads, strict=True)}
            await challenger.finish()
        await audit.end()
        found |= {f"edge/{edge}": record for edge, record in challenger.records.items()}
        found["scope"] = _scope(chain, began)
        found["audit"] = audit.record
        chain.progress("records", 0.8)
        await pause(SETTLE_S)
        found |= await _signed(chain, edges, began, found)
        await _fallback(chain, trials, began)
        times += [await chain.cloud.get("/time") for _ in range(2)]
    finally:
        stop.set()
        for task in watching.values():
            task.cancel()
        await asyncio.gather(*watching.values(), return_exceptions=True)
        await challenger.close()
    chain.progress("observed", 1.0)
    return found


def _scope(chain: Chain, began: int) -> dict[str, Any]:
    return {
        "enterprise": chain.plan.settings.enterprise,
        "began_ms": began,
        "ended_ms": chain.clock(),
        "machines": {m.uid: declared(m) for m in chain.machines},
        "edge_keys": {edge: to_text(key) for edge, key in chain.plan.edge_keys.items()},
        "head_key": to_text(chain.plan.head_key),
        "rules_sha256": chain.pack.digest,
    }


def _edges(chain: Chain, body: Mapping[str, Any]) -> tuple[str, ...]:
    """The pinned edges through which the cloud says that the machines in scope come."""
    uids = {m.uid for m in chain.machines}
    edges = {str(d.get("edge")) for d in dicts(body.get("devices")) if str(d.get("uid")) in uids}
    return tuple(sorted(edges & chain.plan.edge_keys.keys()))


async def _tried(
    chain: Chain, challenger: Challenger, channel: str | None, body: Mapping[str, Any]
) -> dict[str, Trial]:
    """Provoke alarms on all machines at once, and measure the edges' clocks meanwhile."""
    listed = {str(d.get("uid")) for d in dicts(body.get("devices"))}
    turns = Turns()
    trials = {m.uid: Trial(chain, declared(m), channel, turns) for m in chain.machines if m.uid in listed}
    limits = chain.pack.thresholds.criteria[REALTIME]
    chain.progress("provoke", 0.1)
    async with asyncio.TaskGroup() as group:
        for uid, trial in trials.items():
            group.create_task(trial.run(), name=f"trial {uid}")
        group.create_task(
            challenger.challenge(answer_s=limits["challenge_answer_s"].value, commit_s=limits["commit_s"].value),
            name="challenge edges",
        )
    return trials


async def _packages(chain: Chain, trials: Mapping[str, Trial]) -> dict[str, Any]:
    """The package of one alarm of each machine: of the plant's own rule, else of the verifier's."""
    chain.progress("packages", 0.5)
    wait_s = chain.pack.threshold(ID, "package_wait_s").value
    chosen = {uid: alarm for uid, trial in trials.items() if (alarm := _alarm_of(trial)) is not None}
    tags = {m.uid: list(declared(m)["tags"]) for m in chain.machines}
    kept = await asyncio.gather(*(fetch_package(chain, uid, alarm, tags[uid], wait_s) for uid, alarm in chosen.items()))
    return dict(zip(chosen, kept, strict=True))


def _alarm_of(trial: Trial) -> dict[str, Any] | None:
    for kept in (trial.record.get("plant"), trial.record.get("own")):
        changed = mapping(mapping(mapping(kept).get("changed")).get("body"))
        version = mapping(changed.get("rule")).get("version")
        if type(version) is int:
            found = raised_by(mapping(mapping(kept).get("alarms")), str(trial.uid), version)
            mine = [a for a in found if a["rule_version"] == version and isinstance(a.get("id"), str)]
            if mine:
                return min(mine, key=lambda a: mapping(a.get("trigger")).get("t") or 0)
    return None


async def _signed(chain: Chain, edges: Iterable[str], began: int, found: Mapping[str, Any]) -> dict[str, Any]:
    """The signed frames of the time of the trial, and the sealed windows."""
    # The edge's clock may be off: the frames are asked for by its own times.
    out: dict[str, Any] = {}
    spans = [(p["span"][0], p["span"][1]) for k, p in found.items() if k.startswith("package/") and p.get("span")]
    for edge in edges:
        address = Address(chain.plan.settings.enterprise, edge)
        offset = _offset_ms(chain, found, edge)
        low, high = began - BEFORE_MS + offset, chain.clock() + offset
        cut = list(range(low, high, CHUNK_MS))
        drawn = {"seed": os.urandom(16).hex(), "windows": [[a, min(a + CHUNK_MS, high)] for a in cut]}
        recorder = Recorder(
            chain.cloud, address, public=chain.plan.edge_keys[edge], head_key=chain.plan.head_key, drawn=drawn
        )
        await recorder.windows()
        out[f"record/{edge}"] = recorder.raw
        out[f"windows/{edge}"] = await fetch_windows(chain, address, spans)
    return out


def _offset_ms(chain: Chain, found: Mapping[str, Any], edge: str) -> int:
    """How far an edge's clock is off, roughly: enough to know which frames to ask for."""
    address = Address(chain.plan.settings.enterprise, edge)
    offset = edge_offset(found.get(f"edge/{edge}"), edge=address, public=chain.plan.edge_keys[edge])
    return 0 if offset is None else round(offset.ms)


async def _fallback(chain: Chain, trials: Mapping[str, Trial], began: int) -> None:
    """The history of the tags that were tried: what is judged by where signed frames cannot be opened."""
    for uid, trial in trials.items():
        tags = trial.tags
        asked = {"from": began - BEFORE_MS, "to": chain.clock() + 86_400_000, "limit": 5000}
        answers = await asyncio.gather(*(chain.cloud.get(f"/devices/{uid}/history", tag=tag, **asked) for tag in tags))
        trial.record["rows"] = dict(zip(tags, answers, strict=True))


# ---------------------------------------------------------------- judge


def judge(evidence: Evidence, pack: RulePack) -> dict[str, dict[str, Outcome]]:
    """Outcomes by machine and statement, before needs are applied. Pure."""
    fault = cloud_fault(evidence)
    if fault:
        seen = evidence.hashes("scope", "cloud")
        broken = Outcome(State.FAIL if fault == "cloud_refused" else State.NOT_CHECKED, fault, evidence=seen)
        return {uid: dict.fromkeys(NEEDS, broken) for uid in sorted(evidence["scope"]["machines"])}
    limits = pack.thresholds.criteria[ID]
    signed, sealed = records(evidence), windows(evidence)
    audit = read_audit(evidence.get("audit"), evidence["scope"]["enterprise"])
    heard = evidence.get("receiver")
    channel = mapping(mapping(heard).get("channel"))
    out: dict[str, dict[str, Outcome]] = {}
    for uid in sorted(evidence["scope"]["machines"]):
        case = case_of(evidence, uid, signed)
        edge = edge_of(evidence, uid)
        found = [p for kept in (case.own, case.plant) if (p := provoked(case, kept, limits)) is not None]
        chosen = packed(found)
        kept = evidence.get(f"package/{uid}")
        package = package_of(kept)
        alarm = None if chosen is None else chosen.alarm
        against = contradicted(evidence, case, package, pack.thresholds.criteria[REALTIME])
        base = evidence.hashes("scope", "cloud", f"alarm/{uid}", f"record/{edge}", f"edge/{edge}")
        pack_seen = evidence.hashes("scope", f"alarm/{uid}", f"package/{uid}")
        all_seen = evidence.hashes("scope", f"alarm/{uid}", f"package/{uid}", f"windows/{edge}", f"machine/{uid}")
        out[uid] = {
            "al.1": judge_config(case, audit, channel, limits=limits, evidence=base + evidence.hashes("audit")),
            "al.2": judge_conditions(case, limits=limits, evidence=base, should=_should(case.declared)),
            "al.3": judge_reminder(case, heard, found, limits=limits, evidence=base + evidence.hashes("receiver")),
            "al.4": judge_package(
                kept,
                package,
                alarm,
                None if chosen is None else chosen.raw,
                periods_ms={tag: int(spec["period_ms"]) for tag, spec in case.declared["tags"].items()},
                evidence=pack_seen,
                limits=limits,
            ),
            "al.5": judge_fluctuation(
                case,
                package,
                alarm,
                sealed.get(edge),
                mapping(kept).get("history"),
                against,
                limits=limits,
                evidence=all_seen,
            ),
        }
    return out


def simulated(evidence: Evidence) -> dict[str, bool]:
    """Which machines say, or are said to be, simulated."""
    return {uid: is_simulated(evidence, uid) for uid in sorted(evidence["scope"]["machines"])}


def _should(said: Mapping[str, Any]) -> tuple[str, ...]:
    """The catalogue's limit rules of this type of machine, on tags that the signed list has."""
    known = equipment_file().equipment.get(str(said.get("type")))
    return tuple(a.id for a in known.alarms if a.tag in said["tags"]) if known else ()
