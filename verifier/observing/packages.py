"""An alarm's package, and what it is held against: the edge's sealed window with its proof, and the cloud's own history."""

import asyncio
import hashlib
from typing import Any

from telemetry.topics import Address
from verifier.chain import Chain, pause
from verifier.evidence import to_b64
from verifier.judging.case import dicts, mapping
from verifier.judging.packages import span_of

MAX_PACKAGE_BYTES = 4 << 20
LOOK_S = 1.0
BEFORE_MS, AFTER_MS = 60_000, 10_000
WINDOWS = 64
ROWS = 20_000
TIMES = 3
DONE = ("ready", "incomplete", "failed", "none")


async def fetch_package(
    chain: Chain, uid: str, alarm: dict[str, Any], tags: list[str], wait_s: float
) -> dict[str, Any]:
    """Wait for the package of an alarm, fetch it and the history of the same time. {alarm: answer, answer, sha256, zip,
    span, history: {tag: answer}}."""
    cloud, name = chain.cloud, str(alarm["id"])
    until = chain.clock() + wait_s * 1000
    while True:
        kept: dict[str, Any] = {"alarm": await cloud.get(f"/alarms/{name}")}
        state = mapping(mapping(mapping(kept["alarm"]["body"]).get("alarm")).get("package")).get("state")
        if state in DONE[:3] or chain.clock() > until:
            break
        await pause(LOOK_S)
    kept["answer"], data = await cloud.fetch(f"/alarms/{name}/package")
    kept |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    kept["zip"] = to_b64(data) if 0 < len(data) <= MAX_PACKAGE_BYTES else None
    span = span_of(data) or _expected(alarm)
    kept["span"] = None if span is None else list(span)
    if span is not None:
        asked = {"from": span[0], "to": span[1] + 1, "limit": ROWS}
        answers = await asyncio.gather(*(cloud.get(f"/devices/{uid}/history", tag=tag, **asked) for tag in tags))
        kept["history"] = dict(zip(tags, answers, strict=True))
    return kept


def _expected(alarm: dict[str, Any]) -> tuple[int, int] | None:
    at = mapping(alarm.get("trigger")).get("t")
    return (at - BEFORE_MS, at + AFTER_MS) if type(at) is int else None


async def fetch_windows(chain: Chain, edge: Address, spans: list[tuple[int, int]]) -> dict[str, Any]:
    """The sealed windows of an edge that touch some times, with their keys and proofs: {answers, proofs}."""
    cloud = chain.cloud
    if not spans:
        return {"answers": [], "proofs": []}
    low, high = min(a for a, _ in spans), max(b for _, b in spans)
    asked: dict[str, Any] = {"edge": edge.edge, "from": low, "to": high + 1, "limit": WINDOWS, "kinds": "window"}
    answers: list[dict[str, Any]] = []
    after: Any = None
    for _ in range(4):
        page = await cloud.get("/frames", **asked, keys="true", **({} if after is None else {"after": after}))
        answers.append(page)
        items = list(dicts(mapping(page["body"]).get("items")))
        after = mapping(page["body"]).get("next", items[-1].get("leaf") if items else None)
        if not mapping(page["body"]).get("more") or not items or type(after) not in (int, str):
            break
    places = {
        (str(i.get("stream")), i["sequence"])
        for page in answers
        for i in dicts(mapping(page["body"]).get("items"))
        if type(i.get("sequence")) is int
    }
    chosen = sorted(places)[:WINDOWS]
    proofs = await asyncio.gather(*(_proof(chain, edge.edge, stream, number) for stream, number in chosen))
    kept = [{"stream": s, "sequence": n, "answer": a} for (s, n), a in zip(chosen, proofs, strict=True)]
    return {"answers": answers, "proofs": kept}


async def _proof(chain: Chain, edge: str, stream: str, number: int) -> dict[str, Any]:
    """A proof; asked again a little later where no head covers the item yet, or no answer came."""
    answer: dict[str, Any] = {}
    for _ in range(TIMES):
        answer = await chain.cloud.get("/ledger/proof", edge=edge, stream=stream, sequence=number)
        if answer["status"] not in (0, 409):
            break
        await pause(0.5)
    return answer
