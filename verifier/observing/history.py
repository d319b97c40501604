"""Asking the cloud for its history: coverage, rows of random windows, the signed frames of the same windows, proofs.

Everything is written down as it came. Windows are drawn from a seed of the operating system after the check began; the
seed is kept, so that anyone can draw them again.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from telemetry.topics import Address
from verifier.chain import pause
from verifier.judging.case import dicts, mapping
from verifier.judging.reach import bounds_of, end_near, holes_in, holes_of, length_of, oldest_of
from verifier.judging.records import Record, edges_of_runs, gaps_in, read_record
from verifier.judging.windows import Lot, Span, draw_windows, without
from verifier.observing.cloud import Cloud

WINDOWS = 4
LEAST_WINDOW_MS, MOST_WINDOW_MS = 3_000, 300_000
SETTLE_MS = 10_000  # the newest rows may still be under way
FRAMES_A_PAGE, PAGES = 200, 8
HOLES = 6
HOLE_FRAMES = 150
PROOFS, NEIGHBOURS = 24, 200
ROWS = 20_000
FEW_TAGS = 12
WHOLE_POINTS = 2000
FAST_TAGS = 3
REFINED = 4
LEVELS = 3


async def coverage(cloud: Cloud, uid: str, until: int) -> dict[str, Any]:
    """Coverage over all that exists."""
    return await cloud.get(f"/devices/{uid}/coverage", **{"from": 0, "to": until, "days": "true"})


def spans_with_data(coverage_answer: Any, whole_answers: Sequence[Any], least_ms: int) -> list[Span]:
    """When the cloud shows rows of a machine, up to what may still be under way: windows in a hole would prove nothing, and
    the holes are judged by themselves."""
    bounds = bounds_of(coverage_answer)
    if bounds is None or bounds[1] - SETTLE_MS <= bounds[0]:
        return []
    return without((bounds[0], bounds[1] - SETTLE_MS), holes_of(whole_answers, least_ms))


def draw(edge: str, spans: Sequence[Span], periods_ms: Iterable[int]) -> dict[str, Any] | None:
    """The windows of an edge's machines with what they were drawn from: {seed, name, spans, count, length_ms, windows}.
    None where there is no history."""
    if not spans:
        return None
    wanted = max(10_000, 10 * min(periods_ms, default=1000))
    length = max(LEAST_WINDOW_MS, min(wanted, MOST_WINDOW_MS, length_of(spans) // (2 * WINDOWS)))
    length = min(length, max(b - a for a, b in spans))
    seed = os.urandom(16).hex()
    windows = draw_windows(seed, edge, spans, count=WINDOWS, length_ms=length)
    drawn = {"seed": seed, "name": edge, "spans": [list(s) for s in spans], "count": WINDOWS, "length_ms": length}
    return {**drawn, "windows": [list(w) for w in windows]}


def tags_of(declared: Mapping[str, Any], seed: str) -> list[str]:
    """The tags to compare: all of a few, else a random half."""
    tags = list(declared["tags"])
    return tags if len(tags) <= FEW_TAGS else Lot(seed, f"tags {declared['uid']}").pick(tags, (len(tags) + 1) // 2)


async def rows(cloud: Cloud, uid: str, tags: Sequence[str], windows: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Rows of some tags in some windows: [{window, tag, answer}, …]."""
    asked = [(list(w), tag) for w in windows for tag in tags]
    answers = await asyncio.gather(*(history(cloud, uid, tag, (w[0], w[1])) for w, tag in asked))
    return [{"window": w, "tag": tag, "answer": a} for (w, tag), a in zip(asked, answers, strict=True)]


async def history(cloud: Cloud, uid: str, tag: str, span: Span) -> dict[str, Any]:
    """All rows of a tag in a stretch."""
    return await cloud.get(f"/devices/{uid}/history", tag=tag, **{"from": span[0], "to": span[1], "limit": ROWS})


async def trend(cloud: Cloud, uid: str, tags: Sequence[str], span: Span, points: int) -> dict[str, Any]:
    """The trend of some tags of a machine."""
    series = [f"{uid}:{tag}" for tag in tags]
    return await cloud.get("/trend", series=series, **{"from": span[0], "to": span[1], "points": points})


async def whole(
    cloud: Cloud, uid: str, declared: Mapping[str, Any], bounds: Span, least_ms: int
) -> list[dict[str, Any]]:
    """Trends of the fastest tags over all that exists, then close to what looks like a hole there."""
    by_period = sorted(
        declared["tags"], key=lambda tag: (declared["tags"][tag]["period_ms"], _whole_number(declared, tag))
    )
    tags = by_period[:FAST_TAGS]
    found = [await trend(cloud, uid, tags, (bounds[0], bounds[1] + 1), WHOLE_POINTS)]
    near = end_near(found[0], last=True)
    if near is not None:
        rough = sorted(holes_in(found, least_ms, inner=True), key=lambda h: h[0] - h[1])[:REFINED]
        for a, b in rough:
            found += await _close(cloud, uid, tags, (a - near[1], a), last=True)
            found += await _close(cloud, uid, tags, (b, b + near[1]), last=False)
    return found


async def _close(cloud: Cloud, uid: str, tags: Sequence[str], span: Span, *, last: bool) -> list[dict[str, Any]]:
    """Ever closer to the last (first) row of a stretch, until raw rows are shown."""
    found: list[dict[str, Any]] = []
    for _ in range(LEVELS):
        found.append(await trend(cloud, uid, tags, span, WHOLE_POINTS))
        near = end_near(found[-1], last=last)
        if near is None:
            break
        span = (near[0], near[0] + near[1])
    return found


def _whole_number(declared: Mapping[str, Any], tag: str) -> bool:
    """Whether a tag is a state or counter, which moves seldom: analogue ones come first."""
    return declared["tags"][tag]["kind"] not in ("analogue", "derived")


# ---------------------------------------------------------------- the signed record


class Recorder:
    """Fetches the signed record of one edge. `raw` is the observation that `read_record` reads."""

    def __init__(self, cloud: Cloud, edge: Address, *, public: bytes, head_key: bytes, drawn: dict[str, Any]) -> None:
        self._cloud, self._edge, self._public, self._head_key = cloud, edge, public, head_key
        self._seed = str(drawn["seed"])
        self.raw: dict[str, Any] = {**drawn, "frames": {}, "losses": [], "proofs": [], "truncated": False}

    def read(self) -> Record:
        """The record as far as it was fetched."""
        return read_record(self.raw, edge=self._edge, public=self._public, head_key=self._head_key)

    async def windows(self) -> None:
        """The frames of every window, and what the edge says it lost."""
        windows = [(int(a), int(b)) for a, b in self.raw["windows"]]
        pages = await asyncio.gather(*(self._pages(w) for w in windows))
        self.raw["frames"] |= {f"{a}-{b}": page for (a, b), page in zip(windows, pages, strict=True)}
        until = max((b for _, b in windows), default=0) + 86_400_000
        self.raw["losses"] = [await self._frames((0, until), limit=FRAMES_A_PAGE, kinds="loss")]

    async def around(self, spans: Iterable[Span]) -> None:
        """One page of frames of each stretch."""
        wanted = [s for s in dict.fromkeys(spans) if f"{s[0]}-{s[1]}" not in self.raw["frames"]]
        answers = await asyncio.gather(*(self._frames(s, limit=HOLE_FRAMES) for s in wanted))
        self.raw["frames"] |= {f"{a}-{b}": [answer] for (a, b), answer in zip(wanted, answers, strict=True)}

    async def prove(self) -> None:
        """Proofs of a random sample of the frames, of those beside each run, and of those that are missing within one."""
        record = self.read()
        known = [p for p, kept in record.items.items() if kept.rows or kept.item.header.kind.name != "LOSS"]
        sample = Lot(self._seed, "proofs").pick(sorted(known), PROOFS)
        late = [p for p in known if _late(record, p)][:PROOFS]
        missing = gaps_in(record.items)
        beside = [*missing, *edges_of_runs(known)][:NEIGHBOURS]
        wanted = list(dict.fromkeys([*sample, *late, *beside]))
        answers = await asyncio.gather(*(self._proof(stream, number) for stream, number in wanted))
        self.raw["proofs"] = [
            {"stream": stream, "sequence": number, "answer": answer}
            for (stream, number), answer in zip(wanted, answers, strict=True)
        ]

    async def again(self) -> None:
        """Everything once more: rows that came meanwhile stand in frames that came meanwhile."""
        spans = [tuple(int(x) for x in name.split("-")) for name in self.raw["frames"]]
        self.raw["frames"] = {}
        await self.windows()
        await self.around((a, b) for a, b in spans)
        await self.prove()
        self.raw["asked_again"] = True

    async def _pages(self, span: Span) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after: str | int | None = None
        for _ in range(PAGES):
            answer = await self._frames(span, limit=FRAMES_A_PAGE, after=after)
            found.append(answer)
            body = mapping(answer["body"])
            items = list(dicts(body.get("items")))
            if not body.get("more") or not items:
                return found
            after = body.get("next", items[-1].get("leaf"))
            if type(after) not in (int, str):
                break
        self.raw["truncated"] = True
        return found

    async def _frames(
        self, span: Span, *, limit: int, after: str | int | None = None, kinds: str = ""
    ) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "edge": self._edge.edge,
            "from": span[0],
            "to": span[1],
            "limit": limit,
            "keys": "true",
        }
        if after is not None:
            asked["after"] = after
        if kinds:
            asked["kinds"] = kinds
        return await self._cloud.get("/frames", **asked)

    async def _proof(self, stream: str, number: int) -> dict[str, Any]:
        """A proof; asked again a little later where no head covers the item yet, or no answer came."""
        answer: dict[str, Any] = {}
        for _ in range(3):
            answer = await self._cloud.get("/ledger/proof", edge=self._edge.edge, stream=stream, sequence=number)
            if answer["status"] not in (0, 409):
                break
            await pause(0.5)
        return answer


def _late(record: Record, place: tuple[str, int]) -> bool:
    kept = record.items[place]
    return kept.arrival_ms is not None and kept.arrival_ms - kept.item.header.span[1] > 60_000


def spans_of_interest(coverage_answer: Any, whole_answers: Sequence[Any], least_ms: int) -> list[Span]:
    """Where the signed record has to be looked at besides the windows: the oldest sample, and both ends of each hole."""
    out: list[Span] = []
    oldest = oldest_of(coverage_answer)
    if oldest is not None:
        out.append((oldest, oldest + 1))
    for a, b in sorted(holes_of(whole_answers, least_ms), key=lambda h: h[0] - h[1])[:HOLES]:
        out += [(max(0, a - 1000), min(b, a + 30_000)), (max(a, b - 20_000), b + 1000)]
    return out
