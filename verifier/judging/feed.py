"""The live feed of one machine: is it pushed, and is it real time (rt.5, rt.4)?"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verifier.clocks import Offset
from verifier.findings import Figure, Outcome, figure
from verifier.judging.case import MachineCase, Row, TagCase, row_of
from verifier.judging.pace import fastest_pace_ms, fresh_s, pace_ms, quiet
from verifier.judging.reads import away_ms
from verifier.judging.values import names, stale_tags
from verifier.rules.types import Threshold
from verifier.states import State

Thresholds = Mapping[str, Threshold]


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Feed:
    """What a subscription brought. `moving` are data messages whose newest sample is newer than all before: of a declared tag,
    with a value, and not from the future, since everything else is no more than a heartbeat. `holes` are breaks of the
    sequence; `after` data that came when silence was due."""

    messages: int
    moving: int
    holes: int
    after: int
    error: str


def read_feed(case: MachineCase, *, silence_ms: float) -> Feed:
    """Walk through the messages of one subscription in the order of receipt."""
    live = case.live
    future = {(t.id, *row.key) for t in case.tags.values() for row in t.future}
    ended = live.get("unsubscribed_ms")
    expected, holes, count, moving, after, newest = 1, 0, 0, 0, 0, -math.inf
    error = str(live.get("reason") or "")
    for entry in live.get("messages", []):
        at, message = entry["at"], entry["m"]
        kind = message.get("type")
        if kind == "error":
            error = error or f"feed_error: {message.get('reason')}"
        if kind not in ("snapshot", "data"):
            continue
        if ended is not None and at > ended + silence_ms:
            after += 1
            continue
        sequence = message.get("seq")
        holes += sequence != expected
        expected = sequence + 1 if type(sequence) is int else expected + 1
        times = [row.t for tag, row in _samples(message, case) if (tag, *row.key) not in future]
        if kind == "snapshot":
            newest = max([newest, *times])
            continue
        count += 1
        if times and max(times) > newest:
            moving, newest = moving + 1, max(times)
    return Feed(count, moving, holes, after, error)


def _samples(message: Mapping[str, Any], case: MachineCase) -> list[tuple[str, Row]]:
    """(tag, sample) of the declared tags in a message that claim a value."""
    rows = message.get("rows")
    raw = [r for r in rows if isinstance(r, list) and len(r) == 4] if isinstance(rows, list) else []
    found = [(r[0], row_of(r[1:])) for r in raw if isinstance(r[0], str) and r[0] in case.tags]
    return [(tag, row) for tag, row in found if row is not None and row.usable]


def _pushed(case: MachineCase, limits: Thresholds) -> tuple[list[str], list[str]]:
    """(tags with a change to push, those of them that were not pushed). A change counts if it lasted long enough, and early
    enough before the subscription ended, for the slowest honest path."""
    since, until = case.live["subscribed_ms"], case.live.get("unsubscribed_ms") or case.ended_ms
    due: list[str] = []
    missing: list[str] = []
    for tag in case.tags.values():
        pace = pace_ms(case, tag, limits)
        end = until - pace - limits["path_margin_s"].value * 1000
        lasted = away_ms(tag, since=since, until=end, deadband=max(tag.deadband, tag.cloud_deadband))
        if lasted < max(pace, 1):
            continue
        due.append(tag.id)
        if not any(row.usable and case.mine(tag, row) >= since for row in tag.live):
            missing.append(tag.id)
    return due, missing


def judge_push(case: MachineCase, *, limits: Thresholds, evidence: tuple[str, ...]) -> Outcome:
    """rt.5: data nobody asked for, in sequence, moving on, and silence after unsubscribing."""
    feed = read_feed(case, silence_ms=limits["silence_after_s"].value * 1000)
    subscribed, unsubscribed = case.live.get("subscribed_ms"), case.live.get("unsubscribed_ms")
    lasted = None if subscribed is None or unsubscribed is None else (unsubscribed - subscribed) / 1000
    due, missing = ([], []) if subscribed is None else _pushed(case, limits)
    share = 1 - len(missing) / len(due) if due else 1.0
    figures = (
        figure("messages_pushed", feed.moving, limits["least_messages"]),
        figure("messages_in_all", feed.messages, unit="messages"),
        figure("sequence_holes", feed.holes, limits["none_allowed"], unit="holes"),
        figure("messages_after_unsubscribe", feed.after, limits["none_allowed"]),
        figure("listened_s", lasted, unit="s"),
        figure("moved_tags", len(due), unit="tags"),
        figure("moved_tags_pushed_share", share, limits["pushed_full_share"]),
    )

    def outcome(state: State, reason: str = "", details: str = "") -> Outcome:
        return Outcome(state, reason, figures, evidence, details)

    if subscribed is None:
        return outcome(State.FAIL, "feed_refused", feed.error)
    if feed.holes:
        return outcome(State.FAIL, "sequence_holes")
    if feed.after:
        return outcome(State.FAIL, "not_silent_after_unsubscribe")
    if feed.moving >= limits["least_messages"].value:
        if share < limits["pushed_least_share"].value:
            return outcome(State.FAIL, "tags_not_pushed", names(missing))
        if share < limits["pushed_full_share"].value:
            return outcome(State.REVIEW, "tags_not_pushed", names(missing))
        if unsubscribed is None or _closed_early(case, limits):
            return outcome(State.REVIEW, "silence_not_heard", feed.error)
        return outcome(State.PASS)
    if feed.error:
        return outcome(State.FAIL, "feed_broke", feed.error)
    ended = unsubscribed or case.ended_ms
    why = quiet(case, limits, since=subscribed, until=ended, renewals=limits["least_messages"].value)
    if why:
        return outcome(State.NOT_CHECKED, why)
    if not feed.messages:
        return outcome(State.FAIL, "no_messages")
    return outcome(State.FAIL, "messages_repeat" if feed.moving < feed.messages else "too_few_messages")


def _closed_early(case: MachineCase, limits: Thresholds) -> bool:
    """Whether the connection ended before silence could be heard: then silence proves nothing."""
    closed, ended = case.live.get("closed_ms"), case.live.get("unsubscribed_ms")
    return closed is not None and ended is not None and closed < ended + limits["silence_after_s"].value * 1000


def judge_real_time(
    case: MachineCase, clocks: Mapping[str, Offset | None], *, limits: Thresholds, evidence: tuple[str, ...]
) -> Outcome:
    """rt.4: latency from device to viewer, age of the newest sample, and the clocks, each measured apart."""
    latencies = _latencies(case)
    margin = limits["path_margin_s"]
    figures: list[Figure] = []
    slow = late = False
    if latencies:
        beyond = percentile([x.beyond_s for x in latencies], 0.95)
        first = percentile([x.beyond_s for x in latencies if x.newest], 0.95)
        figures.append(figure("latency_p95_s", percentile([x.seconds for x in latencies], 0.95), unit="s"))
        figures.append(figure("latency_beyond_period_p95_s", beyond, margin))
        figures.append(figure("latency_of_newest_beyond_period_p95_s", first, unit="s"))
        figures.append(figure("longest_frame_pause_s", case.frame_ms / 1000, unit="s"))
        slow, late = beyond > margin.value, first > margin.value
    age, allowed = _newest_age(case, limits)
    slowest = fresh_s(fastest_pace_ms(case, limits), limits)
    if age is not None:
        shown = figure("newest_age_s", age, limits["fresh_periods"], unit="s")
        figures.append(shown.model_copy(update={"threshold": allowed}))
    offsets, doubtful = _offsets(clocks, limits["clock_offset_s"])
    figures += offsets
    stale, tired = stale_tags(case, limits)

    def outcome(state: State, reason: str = "", details: str = "") -> Outcome:
        return Outcome(state, reason, tuple(figures), evidence, details)

    if stale:
        return outcome(State.FAIL, "stale_shown_good", ", ".join(stale[:12]))
    if age is None or not latencies:
        return outcome(State.NOT_CHECKED, "no_samples")
    if age > max(allowed, slowest):
        return outcome(State.FAIL, "newest_too_old")
    if late:
        return outcome(State.FAIL, "latency_high")
    if slow or age > allowed:
        return outcome(State.REVIEW, "slower_than_listed")
    if doubtful:
        return outcome(State.REVIEW, "clock_offset", ", ".join(doubtful))
    if tired:
        return outcome(State.REVIEW, "not_refreshed", ", ".join(tired[:12]))
    return outcome(State.PASS)


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one sample: from its time to its receipt, and what of that is beyond the declared period. `newest`: no newer sample
    of its tag came along with it, as in a frame that holds a minute of them."""

    seconds: float
    beyond_s: float
    newest: bool


TOGETHER_MS = 500  # one frame may come as several messages


def _latencies(case: MachineCase) -> list[Latency]:
    """Of every good sample taken after subscribing; older ones are late data."""
    since = case.live.get("subscribed_ms")
    return [] if since is None else [x for tag in case.tags.values() for x in _tag_latencies(case, tag, since)]


def _tag_latencies(case: MachineCase, tag: TagCase, since: float) -> list[Latency]:
    rows = sorted((row.at, case.mine(tag, row)) for row in tag.live if row.good and row.at is not None)
    rows = [(at, mine) for at, mine in rows if mine >= since]
    together = [(b[0] - a[0] <= TOGETHER_MS and b[1] > a[1]) for a, b in itertools.pairwise(rows)] + [False]
    period = tag.period_ms / 1000
    return (
        [
            Latency((at - mine) / 1000, (at - mine) / 1000 - period, not follows)
            for (at, mine), follows in zip(rows, together, strict=True)
        ]
        if rows
        else []
    )


def _newest_age(case: MachineCase, limits: Thresholds) -> tuple[float | None, float]:
    """Age of the newest sample on the feed when the subscription ended, and how old it may be."""
    rows = [(case.mine(tag, row), tag) for tag in case.tags.values() for row in tag.live if row.good]
    fastest = min(t.period_ms for t in case.tags.values())
    ended = case.live.get("unsubscribed_ms") or case.ended_ms
    allowed = fresh_s(fastest, limits)
    return ((ended - max(t for t, _ in rows)) / 1000 if rows else None), allowed


def _offsets(clocks: Mapping[str, Offset | None], limit: Threshold) -> tuple[list[Figure], list[str]]:
    """A figure per clock, and the clocks that are off by more than the limit beyond doubt."""
    figures: list[Figure] = []
    doubtful: list[str] = []
    for name, offset in clocks.items():
        if offset is None:
            continue
        figures.append(figure(f"clock_{name}_s", offset.ms / 1000, limit))
        figures.append(figure(f"clock_{name}_uncertainty_s", offset.uncertainty / 1000, unit="s"))
        if offset.least / 1000 > limit.value:
            doubtful.append(name)
    return figures, doubtful
