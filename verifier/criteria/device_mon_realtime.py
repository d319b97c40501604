"""device.mon.realtime 实时数据: run state and running parameters are shown in real time over a real acquisition link.

`observe` touches the world: it reads every machine directly for a while, challenges the edges, follows the live feed and
fetches what the cloud stored for the same seconds. `judge` is pure. All machines are observed at once.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from telemetry.keys import from_text, to_text
from telemetry.points import Machine
from telemetry.topics import Address
from verifier import clocks
from verifier.chain import Chain, pause
from verifier.clocks import Offset
from verifier.evidence import Evidence, make
from verifier.findings import Outcome, figure
from verifier.judging.case import MAX_TIME, MachineCase, build, cloud_fault, device_of, dicts, is_simulated, mapping
from verifier.judging.feed import judge_push, judge_real_time
from verifier.judging.link import EdgeAnswer, edge_answer, edge_offset, judge_link
from verifier.judging.trend import LIVE_ELSEWHERE, NO_FEED, page_fault
from verifier.judging.values import compare_all, judge_state, judge_values
from verifier.needs import Needs
from verifier.observing.cloud import Live
from verifier.observing.link import Challenger
from verifier.observing.machines import CHANCE, declared, watch
from verifier.rules.pack import RulePack
from verifier.rules.types import Threshold
from verifier.states import Grade, State

ID = "device.mon.realtime"
NEEDS: Needs = {"rt.1": (), "rt.2": ("rt.1",), "rt.3": ("rt.1",), "rt.5": ("rt.1",), "rt.4": ("rt.5",)}
GRADE = Grade.CHALLENGED_LIVE

MAX_WINDOW_S = 30.0
POLLS = 6
READ_ON_S = 0.8  # after the latest values were asked for, so that reads enclose them
LISTEN_AFTER_S = 2.0
HISTORY_MARGIN_MS = 2000
HISTORY_LIMIT = 5000
TWO_CLOCKS_MS = 2000


# ---------------------------------------------------------------- observe


async def observe(chain: Chain) -> dict[str, Any]:
    """Observations by name: scope, cloud, page, edge/<edge>, machine/<uid>, shown/<uid>, live/<uid>. Where the plan names a
    page, the live feed is the page's own; where that cannot be opened the API's is listened to instead, for the values."""
    uids = tuple(m.uid for m in chain.machines)
    found: dict[str, Any] = {}
    began = chain.clock()
    chain.progress("cloud", 0.0)
    times = [await chain.cloud.get("/time") for _ in range(3)]
    devices = await chain.cloud.get("/devices")
    found["cloud"] = {"devices": devices, "times": times}
    if devices["status"] != 200 or not devices["body"]:
        found["scope"] = _scope(chain, began)
        return found
    stop = asyncio.Event()
    live = Live(uids, chain.clock)
    viewer = await chain.viewer()
    page: dict[str, Any] = {"planned": False} if viewer is None else viewer.record()
    found["page"] = page
    challenger = Challenger(chain.plan, _edges(chain, devices["body"]), cloud=chain.cloud, clock=chain.clock)
    watching = {
        machine.uid: asyncio.create_task(_watch(chain, machine, stop), name=f"watch {machine.uid}")
        for machine in chain.machines
    }
    try:
        await live.open(viewer or chain.cloud)
        if viewer is not None and live.reason:
            page["feed"], live.reason = live.reason, ""
            await live.open(chain.cloud)
        polls = await _watched(chain, challenger, _known(chain, devices["body"]))
        found["scope"] = _scope(chain, began)  # the end of the watch: everything later only fetches what was then
        await live.unsubscribe()
        latest = await _latest(chain, polls)
        await pause(READ_ON_S)
        stop.set()
        records = await asyncio.gather(*watching.values())
        found |= {f"machine/{uid}": record for uid, record in zip(watching, records, strict=True)}
        chain.progress("history", 0.7)
        await asyncio.gather(
            challenger.finish(), _silence(chain, live, chain.pack.threshold(ID, "silence_after_s").value)
        )
        found |= {f"edge/{edge}": record for edge, record in challenger.records.items()}
        found |= await _shown_all(chain, found, polls, latest)
        times += [await chain.cloud.get("/time") for _ in range(2)]
    finally:
        stop.set()
        for task in watching.values():
            task.cancel()
        await asyncio.gather(*watching.values(), return_exceptions=True)
        await challenger.close()
        await live.close()
    found |= {f"live/{uid}": live.record(uid) for uid in uids}
    chain.progress("observed", 1.0)
    return found


def _known(chain: Chain, body: Mapping[str, Any]) -> tuple[str, ...]:
    """The machines in scope that the cloud lists."""
    listed = {str(d.get("uid")) for d in dicts(body.get("devices"))}
    return tuple(m.uid for m in chain.machines if m.uid in listed)


async def _watched(chain: Chain, challenger: Challenger, uids: tuple[str, ...]) -> dict[str, list[Any]]:
    """The watch itself: challenge the edges, and ask for the latest values every now and then. Answers by machine."""
    limits = chain.pack.thresholds.criteria[ID]
    await challenger.open()
    seconds = window_s(chain)
    polls: dict[str, list[Any]] = {uid: [] for uid in uids}

    async def poll() -> None:
        for _ in range(POLLS):
            await pause(seconds / POLLS * CHANCE.uniform(0.6, 1.0))
            for uid, answer in (await _latest(chain, uids)).items():
                polls[uid].append(answer)

    await asyncio.gather(
        _window(chain, seconds),
        poll(),
        challenger.challenge(answer_s=limits["challenge_answer_s"].value, commit_s=limits["commit_s"].value),
    )
    return polls


async def _latest(chain: Chain, uids: Iterable[str]) -> dict[str, Any]:
    """What the cloud shows as the latest values of some machines."""
    wanted = tuple(uids)
    answers = await asyncio.gather(*(chain.cloud.get(f"/devices/{uid}/latest") for uid in wanted))
    return dict(zip(wanted, answers, strict=True))


def window_s(chain: Chain) -> float:
    """How long to watch: as planned, but three periods of every machine's fastest tag, within reason."""
    fastest = [min(t["period_ms"] for t in declared(m)["tags"].values()) / 1000 for m in chain.machines]
    return max(chain.plan.settings.window_s, min(MAX_WINDOW_S, max(3 * p + 2 for p in fastest)))


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


async def _watch(chain: Chain, machine: Machine, stop: asyncio.Event) -> dict[str, Any]:
    every_s = chain.plan.settings.read_every_s
    return await watch(chain.reader(machine), clock=chain.clock, every_s=every_s, stop=stop)


async def _window(chain: Chain, seconds: float) -> None:
    """Let the window pass, saying how far it is."""
    steps = max(1, round(seconds))
    for i in range(steps):
        chain.progress("watch", 0.1 + 0.6 * i / steps)
        await pause(seconds / steps)


def _edges(chain: Chain, body: Mapping[str, Any]) -> tuple[str, ...]:
    """The pinned edges through which the cloud says that the machines in scope come."""
    uids = {m.uid for m in chain.machines}
    edges = {str(d.get("edge")) for d in dicts(body.get("devices")) if str(d.get("uid")) in uids}
    return tuple(sorted(edges & chain.plan.edge_keys.keys()))


async def _silence(chain: Chain, live: Live, due_s: float) -> None:
    """Listen on after unsubscribing, long enough that a feed which went on would be heard."""
    fastest = min(t["period_ms"] for m in chain.machines for t in declared(m)["tags"].values()) / 1000
    ended = live.unsubscribed_ms or chain.clock()
    listen = due_s + max(LISTEN_AFTER_S, min(fastest, 5.0) + 1)
    await pause(listen - (chain.clock() - ended) / 1000)


async def _shown_all(
    chain: Chain, found: Mapping[str, Any], polls: Mapping[str, list[Any]], latest: Mapping[str, Any]
) -> dict[str, Any]:
    # What is known so far: the clocks' offsets say in which seconds of the cloud's history to look.
    cases = _cases(make(ID, found), chain.pack)
    histories = await asyncio.gather(*(_history(chain, case) for case in cases))
    return {
        f"shown/{case.uid}": {"polls": polls[case.uid], "latest": latest[case.uid], "history": history}
        if case.uid in polls
        else {}
        for case, history in zip(cases, histories, strict=True)
    }


async def _history(chain: Chain, case: MachineCase) -> dict[str, list[Any]]:
    """What the cloud stored of a machine for the seconds of the watch, by tag."""
    if case.device is None:
        return {}
    offsets = [o.ms for o in (case.edge_offset, case.machine_offset) if o is not None] or [0.0]
    if max(offsets) - min(offsets) < TWO_CLOCKS_MS:
        offsets = offsets[:1]
    start, end = case.began_ms - HISTORY_MARGIN_MS, case.ended_ms + HISTORY_MARGIN_MS
    wanted = [(tag, offset) for tag in case.tags if case.tags[tag].in_cloud for offset in offsets]
    answers = await asyncio.gather(
        *(
            chain.cloud.get(
                f"/devices/{case.uid}/history",
                tag=tag,
                **{"from": int(start + offset), "to": int(end + offset), "limit": HISTORY_LIMIT},
            )
            for tag, offset in wanted
        ),
    )
    history: dict[str, list[Any]] = {}
    for (tag, _), answer in zip(wanted, answers, strict=True):
        history.setdefault(tag, []).append(answer)
    return history


# ---------------------------------------------------------------- judge


def judge(evidence: Evidence, pack: RulePack) -> dict[str, dict[str, Outcome]]:
    """Outcomes by machine and statement, before needs are applied. Pure."""
    limits = pack.thresholds.criteria[ID]
    fault = cloud_fault(evidence)
    page = mapping(evidence.get("page"))
    out: dict[str, dict[str, Outcome]] = {}
    for case in _cases(evidence, pack):
        where = (f"machine/{case.uid}", f"shown/{case.uid}")
        link = evidence.hashes("scope", "cloud", f"edge/{case.edge}", *where, f"live/{case.uid}")
        answer = _answer(evidence, case.edge, limits)
        compared = compare_all(case, limits)
        values = evidence.hashes("scope", "cloud", *where, f"live/{case.uid}")
        feed = evidence.hashes("scope", "cloud", f"live/{case.uid}", f"edge/{case.edge}", "page", *where)
        out[case.uid] = {
            "rt.1": judge_link(case, answer, cloud_fault=fault, limits=limits, evidence=link),
            "rt.2": judge_state(case, compared, limits=limits, evidence=values),
            "rt.3": judge_values(case, compared, limits=limits, evidence=values),
            "rt.4": judge_real_time(case, _clocks(case, limits["clock_offset_s"].value), limits=limits, evidence=feed),
            "rt.5": _no_feed(page, feed) or _heard(page, judge_push(case, limits=limits, evidence=feed)),
        }
    return out


def _no_feed(page: Mapping[str, Any], evidence: tuple[str, ...]) -> Outcome | None:
    """Where the plan names a page: why its live feed could not be listened to, None where it was."""
    if not page.get("planned") or not page.get("feed"):
        return None
    fault = page_fault(page)
    if fault is not None:
        state, reason, details = fault
        return Outcome(state, reason, evidence=evidence, details=details)
    feed = str(page["feed"])
    if feed in (NO_FEED, LIVE_ELSEWHERE):
        return Outcome(State.FAIL, feed, evidence=evidence)
    return Outcome(State.FAIL, "feed_refused", evidence=evidence, details=feed)


def _heard(page: Mapping[str, Any], outcome: Outcome) -> Outcome:
    """An outcome that says whose feed was listened to."""
    return replace(outcome, figures=(*outcome.figures, figure("feed", "page" if page.get("planned") else "api")))


def simulated(evidence: Evidence) -> dict[str, bool]:
    """Which machines say, or are said to be, simulated."""
    return {uid: is_simulated(evidence, uid) for uid in sorted(evidence["scope"]["machines"])}


def _answer(evidence: Evidence, edge: str, limits: Mapping[str, Threshold]) -> EdgeAnswer:
    scope = evidence["scope"]
    record, head_key = evidence.get(f"edge/{edge}"), from_text(scope["head_key"])
    address = Address(scope["enterprise"], edge)
    public = _pinned(scope, edge)
    return edge_answer(record, edge=address, public=public, head_key=head_key, limits=limits)


def _pinned(scope: Mapping[str, Any], edge: str) -> bytes | None:
    pinned = scope["edge_keys"].get(edge)
    return None if pinned is None else from_text(pinned)


def _cases(evidence: Evidence, pack: RulePack) -> list[MachineCase]:
    """Every machine in scope, in the order of its uid, with the clocks measured."""
    scope = evidence["scope"]
    exchanges = [
        (t["before"], now, t["after"])
        for t in evidence["cloud"]["times"]
        if type(now := mapping(t["body"]).get("now_ms")) is int and abs(now) < MAX_TIME
    ]
    cloud = clocks.estimate(exchanges)
    limits = pack.thresholds.criteria[ID]
    out: list[MachineCase] = []
    for uid in sorted(scope["machines"]):
        device = device_of(evidence, uid)
        edge = str(device.get("edge", "")) if device else ""
        machine = clocks.estimate((evidence.get(f"machine/{uid}") or {}).get("clock", []))
        address, public = Address(scope["enterprise"], edge), _pinned(scope, edge)
        offset = edge_offset(evidence.get(f"edge/{edge}"), edge=address, public=public)
        out.append(build(evidence, uid, edge=offset, machine=machine, cloud=cloud, limits=limits))
    return out


def _clocks(case: MachineCase, agree_s: float) -> dict[str, Offset | None]:
    """Every clock against the verifier's; the verifier's own where all others agree against it."""
    found = {"machine": case.machine_offset, "edge": case.edge_offset, "cloud": case.cloud_offset}
    known = [o for o in found.values() if o is not None]
    return {**found, "own": clocks.own_offset(known, agree_s * 1000)}
