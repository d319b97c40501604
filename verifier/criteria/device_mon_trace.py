"""device.mon.trace 信息追溯: history is queried and reaches back, and a chart shows its features and its trend.

`observe` draws random windows after it began, asks the cloud for their rows and for the signed frames of the same windows
with the keys of these frames alone, and looks at the trend page as an ordinary viewer. `judge` is pure: it opens the frames
itself and computes everything again from raw rows.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from telemetry.keys import from_text, to_text
from telemetry.topics import Address
from verifier.chain import Chain, pause
from verifier.evidence import Evidence, EvidenceError
from verifier.findings import Outcome
from verifier.judging import trend as judging
from verifier.judging.case import MAX_TIME, cloud_fault, device_of, dicts, mapping
from verifier.judging.features import points_of_query, usable
from verifier.judging.history import compare, judge_query, reason_of, rows_in
from verifier.judging.reach import bounds_of, coverage_of, hole_ms, judge_reach
from verifier.judging.records import Record, read_record
from verifier.judging.windows import Lot, Span, draw_stretch, draw_windows, united
from verifier.markup import read_page
from verifier.needs import Needs
from verifier.observing import history as asking
from verifier.observing.browser import look_at
from verifier.observing.history import Recorder
from verifier.observing.machines import declared
from verifier.observing.page import Viewer
from verifier.rules.pack import RulePack
from verifier.states import Grade, State

ID = "device.mon.trace"
NEEDS: Needs = {"tr.1": (), "tr.2": ("tr.1",), "tr.3": ("tr.1",), "tr.4": ("tr.1",), "tr.5": ("tr.1",)}
GRADE = Grade.RECORDED

SERIES = 2
CHART_MS, CHART_PERIODS = 30_000, 30
LONG_MS = 3_600_000
LEAST_PAST_MS = 45_000
LONG_ROWS = 5_000
DEFAULT_POINTS = 500
BROWSER_S = 10.0
AGAIN_S = 2.0
DRAWS, LEAST_ROWS = 4, 2


# ---------------------------------------------------------------- observe


async def observe(chain: Chain) -> dict[str, Any]:
    """Observations by name: scope, cloud, page, edge/<edge>, history/<uid>, trend/<uid>, page/<uid>."""
    began = chain.clock()
    chain.progress("history", 0.0)
    times = [await chain.cloud.get("/time") for _ in range(2)]
    devices = await chain.cloud.get("/devices")
    found: dict[str, Any] = {"cloud": {"devices": devices, "times": times}}
    if devices["status"] == 200 and devices["body"]:
        now_ms = _cloud_ms(times) or began
        edges = {str(d.get("uid")): str(d.get("edge")) for d in dicts(devices["body"].get("devices"))}
        uids = [m.uid for m in chain.machines if m.uid in edges]
        await _observe(chain, found, {uid: edges[uid] for uid in uids}, now_ms)
    found["scope"] = _scope(chain, began)
    chain.progress("observed", 1.0)
    return found


async def _observe(chain: Chain, found: dict[str, Any], edges: Mapping[str, str], now_ms: int) -> None:
    limits = chain.pack.thresholds.criteria[ID]
    spoken = {m.uid: declared(m) for m in chain.machines if m.uid in edges}
    coverages = await _coverages(chain, list(spoken), now_ms)
    wholes = await asyncio.gather(
        *(_whole(chain, uid, spoken[uid], coverages[uid], hole_ms(spoken[uid], limits)) for uid in spoken)
    )
    whole = dict(zip(spoken, wholes, strict=True))
    spans = {uid: asking.spans_with_data(coverages[uid], whole[uid], hole_ms(spoken[uid], limits)) for uid in spoken}
    recorders: dict[str, Recorder] = {}
    drawn: dict[str, dict[str, Any]] = {}
    for edge in dict.fromkeys(edges.values()):
        uids = [uid for uid in spoken if edges[uid] == edge]
        periods = [t["period_ms"] for uid in uids for t in spoken[uid]["tags"].values()]
        made = asking.draw(edge, united(s for uid in uids for s in spans[uid]), periods)
        if made is None:
            continue
        drawn[edge] = made
        if edge in chain.plan.edge_keys:
            address = Address(chain.plan.settings.enterprise, edge)
            public = chain.plan.edge_keys[edge]
            recorders[edge] = Recorder(chain.cloud, address, public=public, head_key=chain.plan.head_key, drawn=made)
    chain.progress("windows", 0.2)

    async def signed(edge: str) -> None:
        recorder = recorders[edge]
        await recorder.windows()
        for uid in (u for u in spoken if edges[u] == edge):
            least = hole_ms(spoken[uid], limits)
            await recorder.around(asking.spans_of_interest(coverages[uid], whole[uid], least))
        await recorder.prove()

    async def shown(uid: str) -> None:
        made = drawn.get(edges[uid])
        tags = asking.tags_of(spoken[uid], made["seed"]) if made else []
        asked = await asking.rows(chain.cloud, uid, tags, made["windows"]) if made else []
        found[f"history/{uid}"] = {"coverage": coverages[uid], "whole": whole[uid], "asked": asked}

    await asyncio.gather(*(signed(edge) for edge in recorders), *(shown(uid) for uid in spoken))
    chain.progress("charts", 0.6)
    seeds = {uid: str(drawn[edge]["seed"]) for uid, edge in edges.items() if edge in drawn}
    await _charts(chain, found, {uid: _chart_of(uid, spoken[uid], seed, spans[uid]) for uid, seed in seeds.items()})
    await _again(chain, found, edges, recorders)
    found |= {f"edge/{edge}": recorder.raw for edge, recorder in recorders.items()}


async def _coverages(chain: Chain, uids: list[str], now_ms: int) -> dict[str, Any]:
    """Coverage of each machine over all that exists. A plant that has just been started gets the time to have a past: in a
    few seconds there are no two periods of a slow tag to be drawn."""

    async def ask() -> dict[str, Any]:
        answers = await asyncio.gather(*(asking.coverage(chain.cloud, uid, now_ms + 86_400_000) for uid in uids))
        return dict(zip(uids, answers, strict=True))

    found = await ask()
    known = [bounds for bounds in map(bounds_of, found.values()) if bounds is not None]
    young_ms = LEAST_PAST_MS - (now_ms - max((low for low, _ in known), default=0))
    if not 0 < young_ms <= LEAST_PAST_MS:
        return found
    chain.progress("waiting for history", 0.1)
    await pause(young_ms / 1000)
    return await ask()


async def _whole(chain: Chain, uid: str, spoken: Mapping[str, Any], coverage: Any, least_ms: int) -> list[Any]:
    bounds = bounds_of(coverage)
    return [] if bounds is None else await asking.whole(chain.cloud, uid, spoken, bounds, least_ms)


async def _again(
    chain: Chain, found: dict[str, Any], edges: Mapping[str, str], recorders: Mapping[str, Recorder]
) -> None:
    """Where rows and frames do not fit, ask for both once more: late rows may have come in between."""
    doubtful: list[str] = []
    for edge, recorder in recorders.items():
        record = recorder.read()
        uids = [uid for uid, e in edges.items() if e == edge]
        wrong = [uid for uid in uids if compare(record, uid, found[f"history/{uid}"]["asked"]).wrong]
        if wrong or record.faults:
            doubtful.append(edge)
    if not doubtful:
        return
    await pause(AGAIN_S)
    for edge in doubtful:
        recorder = recorders[edge]
        for uid in (u for u, e in edges.items() if e == edge):
            one = found[f"history/{uid}"]
            tags = list(dict.fromkeys(a["tag"] for a in one["asked"]))
            one["asked"] = await asking.rows(chain.cloud, uid, tags, recorder.raw["windows"])
        await recorder.again()


# ---- charts


async def _charts(
    chain: Chain,
    found: dict[str, Any],
    asked: Mapping[str, dict[str, Any] | None],
) -> None:
    """The trend of every machine by API and page, and the pages in a browser where there is one."""
    viewer = await chain.viewer()
    page: dict[str, Any] = {"planned": False} if viewer is None else viewer.record()
    found["page"] = page
    plans = {uid: plan for uid, plan in asked.items() if plan is not None}
    for uid, plan in plans.items():
        plan["short"] = await _with_rows(chain, uid, plan["series"], plan["short"])
        plan["long"] = await _with_rows(chain, uid, [plan["one"]], plan["long"])
    await asyncio.gather(*(_chart(chain, found, viewer, uid, plan) for uid, plan in plans.items()))
    if viewer is None or viewer.fault or chain.plan.settings.page is None:
        return
    urls = {uid: viewer.origin + _page_path(uid, plan) for uid, plan in plans.items()}
    chain.progress("browser", 0.8)
    settings = chain.plan.settings.page
    reason, shown = await look_at(urls, viewer.cookies, browser=settings.browser, within_s=BROWSER_S)
    page["browser"] = reason
    for uid, seen in shown.items():
        found[f"page/{uid}"]["browser"] = seen


def _chart_of(uid: str, spoken: Mapping[str, Any], seed: str, spans: Sequence[Span]) -> dict[str, Any] | None:
    """What to ask of a machine's trend, drawn at random: two analogue tags over a short stretch, one over a long one."""
    tags = spoken["tags"]
    analogue = [tag for tag in tags if tags[tag]["kind"] in ("analogue", "derived")] or list(tags)
    there_is = max((b - a for a, b in spans), default=0)
    # A young history may hold no two periods of a slow tag: there is nothing yet to see in its trend.
    analogue = [tag for tag in analogue if 2 * LEAST_ROWS * tags[tag]["period_ms"] <= there_is] or analogue
    lot = Lot(seed, f"chart {uid}")
    series, one = lot.pick(analogue, SERIES), lot.pick(analogue, 1)[0]
    slowest = max(tags[tag]["period_ms"] for tag in series)
    length = max(CHART_MS, min(LONG_MS, LONG_ROWS * tags[one]["period_ms"]))
    short = [
        draw_stretch(seed, f"short {uid} {i}", spans, max(CHART_MS, CHART_PERIODS * slowest)) for i in range(DRAWS)
    ]
    long = [draw_stretch(seed, f"long {uid} {i}", spans, length) for i in range(DRAWS)]
    if None in short or None in long:
        return None
    return {
        "series": series,
        "short": short,
        "reduced": 2 * lot.between(5, 10),
        "one": one,
        "long": long,
        "points": lot.between(100, 400),
    }


async def _with_rows(chain: Chain, uid: str, tags: list[str], spans: Sequence[Span]) -> Span:
    """The first of some stretches in which there is something to draw, else the last: a pause of a machine within the
    limits of tr.2 has no features."""
    for span in spans:
        answers = await asyncio.gather(*(asking.history(chain.cloud, uid, tag, span) for tag in tags))
        if all(len(usable(rows_in(answer, span) or [])) > LEAST_ROWS for answer in answers):
            return span
    return spans[-1]


def _page_path(uid: str, plan: Mapping[str, Any]) -> str:
    asked = [("s", f"{uid}:{tag}") for tag in plan["series"]]
    return "/trend?" + urlencode([*asked, ("from", plan["short"][0]), ("to", plan["short"][1])])


async def _chart(chain: Chain, found: dict[str, Any], viewer: Viewer | None, uid: str, plan: Mapping[str, Any]) -> None:
    points = DEFAULT_POINTS
    if viewer is not None:
        path = _page_path(uid, plan)
        seen: dict[str, Any] = (
            await viewer.get(path) if not viewer.fault else {"status": 0, "html": "", "reason": viewer.fault}
        )
        found[f"page/{uid}"] = {"asked": path, "http": seen, "browser": None}
        said = read_page(seen["html"]).by_id.get("chart", {}).get("data-query", "")
        series = [f"{uid}:{tag}" for tag in plan["series"]]
        points = points_of_query(said, chain.plan.settings.enterprise, series, *plan["short"]) or points
    main, reduced, long = await asyncio.gather(
        _query(chain, uid, plan["series"], plan["short"], points),
        asking.trend(chain.cloud, uid, plan["series"], plan["short"], plan["reduced"]),
        _query(chain, uid, [plan["one"]], plan["long"], plan["points"]),
    )
    second = {**main, "points": plan["reduced"], "answer": reduced, "features": {}}
    found[f"trend/{uid}"] = {"queries": [main, second, long]}


async def _query(chain: Chain, uid: str, tags: list[str], span: tuple[int, int], points: int) -> dict[str, Any]:
    answer, *rest = await asyncio.gather(
        asking.trend(chain.cloud, uid, tags, span, points),
        *(asking.history(chain.cloud, uid, tag, span) for tag in tags),
        *(chain.cloud.get(f"/devices/{uid}/features", tag=tag, **{"from": span[0], "to": span[1]}) for tag in tags),
    )
    rows, features = rest[: len(tags)], rest[len(tags) :]
    return {
        "tags": tags,
        "span": list(span),
        "points": points,
        "answer": answer,
        "rows": dict(zip(tags, rows, strict=True)),
        "features": dict(zip(tags, features, strict=True)),
    }


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


# ---------------------------------------------------------------- judge


def judge(evidence: Evidence, pack: RulePack) -> dict[str, dict[str, Outcome]]:
    """Outcomes by machine and statement, before needs are applied. Pure."""
    scope = evidence["scope"]
    records: dict[str, Record | None] = {}
    out: dict[str, dict[str, Outcome]] = {}
    for uid in sorted(scope["machines"]):
        base = evidence.hashes("scope", "cloud")
        fault = cloud_fault(evidence)
        device = device_of(evidence, uid)
        if fault or device is None:
            broken = Outcome(State.FAIL, fault or "not_in_cloud", evidence=base)
            out[uid] = dict.fromkeys(NEEDS, broken)
            continue
        edge = str(device.get("edge", ""))
        if edge not in records:
            records[edge] = _record(evidence, edge)
        out[uid] = _judge_machine(evidence, uid, edge, records[edge], pack)
    return out


def _judge_machine(
    evidence: Evidence, uid: str, edge: str, record: Record | None, pack: RulePack
) -> dict[str, Outcome]:
    limits = pack.thresholds.criteria[ID]
    scope = evidence["scope"]
    spoken = scope["machines"][uid]
    shown = evidence.get(f"history/{uid}") or {}
    look = judging.look_of(evidence.get("page"), evidence.get(f"page/{uid}"))
    case = judging.build(uid, scope["enterprise"], evidence.get(f"trend/{uid}") or {}, spoken, look)
    rows = evidence.hashes("scope", "cloud", f"edge/{edge}", f"history/{uid}")
    charts = evidence.hashes("scope", "page", f"trend/{uid}", f"page/{uid}")
    raw = evidence.get(f"edge/{edge}")
    now_ms = _cloud_ms(evidence["cloud"]["times"])
    return {
        "tr.1": _unasked(evidence, edge, shown, rows)
        or judge_query(uid, raw, record, shown.get("asked") or [], limits=limits, evidence=rows),
        "tr.2": judge_reach(uid, record, shown, declared=spoken, now_ms=now_ms, limits=limits, evidence=rows),
        "tr.3": judging.judge_chart(case, limits=limits, evidence=charts),
        "tr.4": judging.judge_features(case, limits=limits, evidence=charts),
        "tr.5": judging.judge_trend(case, limits=limits, evidence=charts),
    }


def _unasked(evidence: Evidence, edge: str, shown: Mapping[str, Any], hashes: tuple[str, ...]) -> Outcome | None:
    """Why no windows could be drawn or compared at all; None where some were."""
    coverage = shown.get("coverage")
    if coverage_of(coverage) is None:
        state = State.NOT_CHECKED if mapping(coverage).get("status") == 0 else State.FAIL
        return Outcome(state, "coverage_refused", evidence=hashes, details=reason_of(coverage))
    if edge not in evidence["scope"]["edge_keys"]:
        return Outcome(State.NOT_CHECKED, "edge_not_pinned", evidence=hashes, details=edge)
    if evidence.get(f"edge/{edge}") is None:
        return Outcome(State.NOT_CHECKED, "no_history", evidence=hashes)
    return None


def _record(evidence: Evidence, edge: str) -> Record | None:
    """The signed record of a pinned edge. Raises EvidenceError where the windows are not those that its seed draws."""
    scope, raw = evidence["scope"], evidence.get(f"edge/{edge}")
    pinned = scope["edge_keys"].get(edge)
    if raw is None or pinned is None:
        return None
    drawn = draw_windows(raw["seed"], raw["name"], raw["spans"], count=raw["count"], length_ms=raw["length_ms"])
    if [list(w) for w in drawn] != raw["windows"]:
        raise EvidenceError("the windows are not those of the seed")
    address = Address(scope["enterprise"], edge)
    return read_record(raw, edge=address, public=from_text(pinned), head_key=from_text(scope["head_key"]))


def _cloud_ms(times: Sequence[Mapping[str, Any]]) -> int | None:
    """What the cloud's clock said."""
    found = (mapping(t["body"]).get("now_ms") for t in times)
    return next((n for n in found if type(n) is int and 0 < n < MAX_TIME), None)


def simulated(evidence: Evidence) -> dict[str, bool]:
    """Which machines say, or are said to be, simulated: by the plant's list or by the cloud."""
    machines = evidence["scope"]["machines"]
    return {
        uid: bool(machines[uid].get("simulated")) or bool((device_of(evidence, uid) or {}).get("simulated"))
        for uid in sorted(machines)
    }
