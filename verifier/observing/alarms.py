"""Provoking alarms on one machine: a rule of the verifier's own, and the limit of one of the plant's own moved across the
present value. Everything is written down as it came; whatever happens, limits are restored and own rules retired.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from verifier.chain import Chain, pause
from verifier.judging.case import dicts, mapping
from verifier.judging.limits import across, far, hops, moved_rule, side_of, swing, within
from verifier.judging.rules_eval import Point, counted, read_rule
from verifier.observing.machines import CHANCE

_log = structlog.get_logger(__name__)

LOOK_S = 1.0
LATELY_MS = 90_000
FRESH_PERIODS = 4
TRIES = 5
TRY_AGAIN_S = 1.0
UNKNOWN_PATH_S = 12.0  # beyond delay and periods: frames, commit, evaluation on a busy computer
MAX_ALARMS = 50
LEAST_HOPS = 2
BY_STORE = ("id", "version", "source", "retired_ms", "changed_ms", "changed_by")


@dataclass
class Turns:
    """A rule of the plant may be for many machines: its limit is moved for one of them at a time."""

    locks: dict[str, asyncio.Lock] = field(default_factory=dict[str, asyncio.Lock])
    taken: dict[str, int] = field(default_factory=dict[str, int])

    def of(self, rule: str) -> asyncio.Lock:
        return self.locks.setdefault(rule, asyncio.Lock())

    def least_taken(self, rules: list[str]) -> list[str]:
        """Those that the fewest machines have drawn."""
        least = min((self.taken.get(r, 0) for r in rules), default=0)
        return [r for r in rules if self.taken.get(r, 0) == least]


class Trial:
    """The trial of one machine; `record` is what is kept of it."""

    def __init__(self, chain: Chain, declared: Mapping[str, Any], channel: str | None, turns: Turns) -> None:
        self._chain, self._declared, self._channel, self._turns = chain, declared, channel, turns
        self.uid = self._uid = str(declared["uid"])
        self._limits = chain.pack.thresholds.criteria["device.mon.alarm"]
        self.record: dict[str, Any] = {}

    @property
    def tags(self) -> list[str]:
        """The tags that were tried."""
        asked = [
            *(mapping(self.record.get("own")).get("asked") or [])[:1],
            mapping(self.record.get("plant")).get("asked"),
        ]
        return list(dict.fromkeys(str(a["tag"]) for a in asked if isinstance(a, dict) and a.get("tag")))

    async def run(self) -> None:
        """Draw, provoke, put everything back."""
        cloud, uid = self._chain.cloud, self._uid
        rules, latest, opened = await asyncio.gather(
            cloud.get("/rules", device=uid, retired="true"),
            cloud.get(f"/devices/{uid}/latest"),
            cloud.get("/alarms", state="open", device=uid, limit=200),
        )
        self.record |= {"rules": rules, "latest": latest, "open": opened, "own": {}, "plant": {}}
        lively = await self._lively(latest)
        own, plant = self._draw_own(lively), self._draw_plant(lively, rules, opened)
        self.record["drawn"] = {"own": own, "plant": plant}
        async with asyncio.TaskGroup() as group:
            if own is not None:
                group.create_task(self._own(own, lively[own]), name=f"own rule {uid}")
            if plant is not None:
                group.create_task(self._plant(plant), name=f"plant's rule {uid}")

    # ---- drawing

    async def _lively(self, latest: Mapping[str, Any]) -> dict[str, list[Point]]:
        """The analogue tags that fit the time and have a fresh good value, with their newest rows."""
        fits = self._limits["fits_s"].value * 1000
        values = mapping(mapping(latest["body"]).get("values"))
        wanted = [
            tag
            for tag, said in self._declared["tags"].items()
            if said["kind"] == "analogue" and 2 * said["period_ms"] <= fits and mapping(values.get(tag)).get("q") == 0
        ]
        rows = await asyncio.gather(*(self._rows(tag) for tag in wanted))
        newest = max((r[-1][0] for r in rows if r), default=0)
        late = {tag: FRESH_PERIODS * self._declared["tags"][tag]["period_ms"] + 15_000 for tag in wanted}
        return {tag: r for tag, r in zip(wanted, rows, strict=True) if r and newest - r[-1][0] <= late[tag]}

    async def _rows(self, tag: str) -> list[Point]:
        now = self._chain.clock()
        span = {"from": now - LATELY_MS, "to": now + 86_400_000, "limit": 2000}  # the edge's clock may be ahead
        answer = await self._chain.cloud.get(f"/devices/{self._uid}/history", tag=tag, **span)
        rows = mapping(answer["body"]).get("rows")
        return counted(r for r in rows if isinstance(r, list) and len(r) == 3) if isinstance(rows, list) else []

    def _draw_own(self, lively: Mapping[str, list[Point]]) -> str | None:
        """A random tag: among those that hop about, else among those that move, and of these among the fast ones."""
        hopping = [t for t, rows in lively.items() if max(hops(rows, "high"), hops(rows, "low")) >= LEAST_HOPS]
        moving = hopping or [t for t, rows in lively.items() if len({v for _, v, _ in rows}) > 2] or list(lively)
        if not moving:
            return None
        periods = {t: self._declared["tags"][t]["period_ms"] for t in moving}
        quick = [t for t in moving if periods[t] <= max(2000, min(periods.values()))]
        return CHANCE.choice(sorted(quick))

    def _draw_plant(self, lively: Mapping[str, list[Point]], rules: Any, opened: Any) -> str | None:
        """A random one of the plant's own limit rules that can be tried: it fits the time, nothing inhibits it, and it is
        not in alarm."""
        busy = {a.get("rule") for a in dicts(mapping(opened["body"]).get("alarms")) if a.get("state") == "active"}
        fits = self._limits["fits_s"].value
        found: dict[str, str] = {}
        for rule in dicts(mapping(rules["body"]).get("rules")):
            read, name = read_rule(rule), rule.get("id")
            if read is None or read.tag not in lively or not isinstance(name, str) or name in busy:
                continue
            if rule.get("enabled") is not True or rule.get("retired_ms") is not None or rule.get("inhibit"):
                continue
            period_s = self._declared["tags"][read.tag]["period_ms"] / 1000
            seen = swing(lively[read.tag], self._resolution(read.tag))
            if read.delay_ms / 1000 + 2 * period_s <= fits and seen is not None and moved_rule(rule, seen) is not None:
                found[name] = read.tag
        moving = [r for r, tag in found.items() if len({v for _, v, _ in lively[tag]}) > 2] or list(found)
        few = self._turns.least_taken(moving)
        if not few:
            return None
        drawn = CHANCE.choice(sorted(few))
        self._turns.taken[drawn] = self._turns.taken.get(drawn, 0) + 1
        return drawn

    def _resolution(self, tag: str) -> float:
        said = self._declared["tags"][tag]
        return said.get("step") or said.get("resolution") or 0.0

    # ---- the verifier's own rule

    async def _own(self, tag: str, rows: list[Point]) -> None:
        """Made so that it is false, changed so that it is true, watched, retired."""
        kept = self.record["own"]
        seen = swing(rows, self._resolution(tag))
        if seen is None:
            return
        said = self._declared["tags"][tag]
        toss = CHANCE.choice(("high", "low"))
        livelier = {s: hops(rows, s) for s in ("high", "low")}
        best = max(livelier.values())
        side = toss if best < LEAST_HOPS or livelier[toss] == best else max(livelier, key=lambda s: livelier[s])
        side = side_of(seen, side)
        lo, hi = said.get("lo"), said.get("hi")
        body: dict[str, Any] = {
            "device": self._uid,
            "tag": tag,
            "zh": "核验规则",
            "en": f"rule of the verifier {secrets.token_hex(6)}",
            "kind": "limit",
            side: far(seen, side, None if lo is None or hi is None else hi - lo),
            "delay_s": 1.0,
            "hysteresis": 2 * seen.step,
            "priority": 4,
            "related": [],
            "channels": [self._channel] if self._channel else [],
            "enabled": True,
        }
        kept |= {"side": side, "asked": [body]}
        kept["created"] = created = await self._chain.cloud.send("POST", "/rules", body)
        rule = mapping(mapping(created["body"]).get("rule")).get("id") or await self._find(body)
        if not isinstance(rule, str):
            return
        kept["id"] = rule
        try:
            period_s = said["period_ms"] / 1000
            await pause(max(self._limits["negative_watch_s"].value, 2 * period_s + 1))
            kept["before_change"] = await self._alarms(rule)
            now = await self._rows(tag) or rows
            limit, hysteresis = within(swing(now, self._resolution(tag)) or seen, now, side)
            changed = {**body, side: limit, "delay_s": 0.0, "hysteresis": hysteresis}
            kept["asked"].append(changed)
            version = mapping(mapping(created["body"]).get("rule")).get("version")
            kept["changed"] = await self._chain.cloud.send("PUT", f"/rules/{rule}", {**changed, "if_version": version})
            kept["stored"] = await self._chain.cloud.get(f"/rules/{rule}")
            await self._until_raised(rule, kept, 2, due_s=2 * period_s + UNKNOWN_PATH_S)
            if "seen" not in kept:
                await self._own_again(rule, kept, changed, side, period_s)
            await pause(max(self._limits["chatter_watch_s"].value, 3 * period_s))
        finally:
            kept["retired"] = await self._surely(lambda: self._chain.cloud.send("POST", f"/rules/{rule}/retire"))
            kept["after"] = await self._surely(lambda: self._chain.cloud.get(f"/rules/{rule}"))
            kept["alarms"] = await self._alarms(rule)

    async def _own_again(
        self, rule: str, kept: dict[str, Any], asked: Mapping[str, Any], side: str, period_s: float
    ) -> None:
        """The value went away from a limit within its noise: once more with one across everything that it lately was."""
        seen = swing(await self._rows(str(asked["tag"])), self._resolution(str(asked["tag"])))
        before = mapping(mapping(kept["changed"]["body"]).get("rule"))
        if seen is None or type(before.get("version")) is not int:
            return
        changed = {**asked, side: across(seen, side)}
        kept |= {"tried": kept["changed"], "asked": [kept["asked"][0], changed]}
        version = before["version"]
        kept["changed"] = await self._chain.cloud.send("PUT", f"/rules/{rule}", {**changed, "if_version": version})
        kept["stored"] = await self._chain.cloud.get(f"/rules/{rule}")
        await self._until_raised(rule, kept, version + 1, due_s=2 * period_s + UNKNOWN_PATH_S)

    async def _find(self, body: Mapping[str, Any]) -> Any:
        """A rule that was made though no answer came."""
        answer = await self._chain.cloud.get("/rules", device=self._uid)
        found = dicts(mapping(answer["body"]).get("rules"))
        return next((rule.get("id") for rule in found if rule.get("en") == body["en"]), None)

    # ---- the plant's own rule

    async def _plant(self, rule: str) -> None:
        """Its limit moved across the present value, watched until somebody was told, restored."""
        kept, cloud = self.record["plant"], self._chain.cloud
        kept["id"] = rule
        async with self._turns.of(rule):
            kept["before"] = before = await cloud.get(f"/rules/{rule}")
            whole = mapping(mapping(before["body"]).get("rule"))
            read = read_rule(whole)
            rows = await self._rows(read.tag) if read is not None else []
            seen = swing(rows, self._resolution(read.tag)) if read is not None else None
            made = moved_rule(whole, seen) if seen is not None else None
            if read is None or made is None:
                return
            level, moved = made
            channels = [c for c in whole.get("channels") or [] if isinstance(c, str)]
            if channels and self._channel:
                moved = {**moved, "channels": [*channels, self._channel]}
            kept |= {"level": level, "asked": body_of(moved)}
            try:
                change = {**body_of(moved), "if_version": whole.get("version")}
                kept["changed"] = await cloud.send("PUT", f"/rules/{rule}", change)
                if kept["changed"]["status"] == 200:
                    period_s = self._declared["tags"][read.tag]["period_ms"] / 1000
                    due_s = read.delay_ms / 1000 + 2 * period_s + UNKNOWN_PATH_S
                    version = mapping(mapping(kept["changed"]["body"]).get("rule")).get("version")
                    await self._until_raised(rule, kept, version if type(version) is int else 1, due_s=due_s)
                    await pause(1.0)
            finally:
                await self._restore(rule, whole, kept)
        kept["alarms"] = await self._alarms(rule)

    async def _restore(self, rule: str, whole: Mapping[str, Any], kept: dict[str, Any]) -> None:
        """Put the rule back as it was, if it is still as the verifier left it; look whether it is."""
        cloud, asked, was = self._chain.cloud, kept["asked"], body_of(whole)
        for _ in range(TRIES):
            now = await self._surely(lambda: cloud.get(f"/rules/{rule}"))
            current = mapping(mapping(now["body"]).get("rule"))
            kept["after"] = now
            if now["status"] != 200 or body_of(current) == was:
                break
            level = kept["level"]
            # Somebody else may have changed it meanwhile: then only what the verifier moved is moved back.
            mine = same_rule(current, asked)
            back = was if mine else {**body_of(current), level: was.get(level), "channels": was.get("channels")}
            if not mine and current.get(level) != asked.get(level):
                break
            kept["restored"] = await self._surely(
                lambda b=back, v=current.get("version"): cloud.send("PUT", f"/rules/{rule}", {**b, "if_version": v})
            )
            await pause(0.0 if kept["restored"]["status"] == 200 else TRY_AGAIN_S)
        if body_of(mapping(mapping(kept["after"]["body"]).get("rule"))) != was:
            _log.warning("a rule of the plant is not as it was", rule=rule, machine=self._uid)

    # ---- watching

    async def _until_raised(self, rule: str, kept: dict[str, Any], version: int, *, due_s: float) -> None:
        """Look for the alarm until it is there or overdue; `seen` is when it was first seen, `looked` when last looked for."""
        clock = self._chain.clock
        until = clock() + due_s * 1000
        while True:
            answer = await self._alarms(rule)
            kept["looked"] = answer["before"]
            if answer["status"] == 200 and raised_by(answer, self._uid, version):
                kept["seen"] = answer["after"]
                return
            if clock() > until:
                return
            await pause(LOOK_S)

    async def _alarms(self, rule: str) -> dict[str, Any]:
        return await self._chain.cloud.get("/alarms", state="all", device=self._uid, rule=rule, limit=MAX_ALARMS)

    async def _surely(self, ask: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """Ask until there is an answer, not for ever; goes on where the trial itself is being given up."""
        answer: dict[str, Any] = {"before": 0, "after": 0, "status": 0, "body": None}
        for _ in range(TRIES):
            with contextlib.suppress(asyncio.CancelledError):
                answer = await ask()
            if answer["status"] not in (0, 429, 500, 502, 503, 504):
                break
            with contextlib.suppress(asyncio.CancelledError):
                await pause(TRY_AGAIN_S)
        return answer


def body_of(rule: Mapping[str, Any]) -> dict[str, Any]:
    """What a person says of a rule: all but what the store adds."""
    return {k: v for k, v in rule.items() if k not in BY_STORE}


def same_rule(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two rules say the same."""
    return body_of(a) == body_of(b)


def raised_by(answer: Mapping[str, Any], uid: str, version: int) -> list[dict[str, Any]]:
    """The alarms of an answer of /alarms that a version of the rule, or a later one, raised on a machine."""
    found = dicts(mapping(answer.get("body")).get("alarms"))
    return [
        a
        for a in found
        if a.get("device") == uid and type(a.get("rule_version")) is int and a["rule_version"] >= version
    ]
