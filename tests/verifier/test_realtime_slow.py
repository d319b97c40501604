"""The judge on paper: slow scans, a frame a minute, a machine at rest. Odd is not false: nothing of this fails."""

import copy
from typing import Any

import pytest

from tests.verifier import scene as s

MINUTE = 60_000


def no_failure(found: dict[str, Any]) -> dict[str, str]:
    odd = s.odd(found)
    assert not any(v.startswith(("fail", "error")) for v in odd.values()), odd
    return odd


def keep_rows(found: dict[str, Any], keep: Any) -> None:
    """Only the samples whose time `keep` likes were ever taken; messages without any were not sent."""
    live = found["live/m1"]
    for point in s.POINTS:
        answer = found["shown/m1"]["history"][point.tag][0]["body"]
        answer["rows"] = [r for r in answer["rows"] if keep(point.tag, r[0])]
    kept: list[Any] = [live["messages"][0]]
    for entry in live["messages"][1:]:
        entry["m"]["rows"] = [r for r in entry["m"]["rows"] if keep(r[0], r[1])]
        if entry["m"]["rows"]:
            entry["m"]["seq"] = len(kept) + 1
            kept.append(entry)
    live["messages"] = kept


def last_before(found: dict[str, Any], age_s: float) -> None:
    """Until the watch's own samples come, the latest value is this old."""
    t = s.T0 - round(age_s * 1000)
    for point in s.POINTS:
        rows = s.history_rows(found, point.tag)
        for poll in (*found["shown/m1"]["polls"], found["shown/m1"]["latest"]):
            shown = [r for r in rows if r[0] + 500 <= poll["before"]]
            new = shown[-1] if shown else [t, s.true_value(point.tag, t), 0]
            poll["body"]["values"][point.tag] = dict(zip("tvq", new, strict=True))


@pytest.mark.parametrize("by", ["list", "cloud"])
@pytest.mark.parametrize("at_s", [None, 7])
def test_a_scan_a_minute(by: str, at_s: int | None) -> None:
    """One scan during the watch, or none."""
    found = s.scene()
    if by == "list":
        for tag in found["scope"]["machines"]["m1"]["tags"].values():
            tag["period_ms"] = MINUTE
    for tag in found["cloud"]["devices"]["body"]["devices"][0]["tags"]:
        tag["period_ms"] = MINUTE
    keep_rows(found, lambda _, t: at_s is not None and t == s.T0 + 300 + at_s * 1000)
    last_before(found, 53 if at_s else 48)
    odd = no_failure(found)
    if at_s is None:
        assert odd == {"rt.1": "not_checked period_longer_than_watch"}
    elif by == "list":
        assert odd == {"rt.5": "not_checked period_longer_than_watch"}


def frame_a_minute(found: dict[str, Any], *, flush_s: float | None) -> None:
    """Samples each second, but a frame only at the challenge, at the closing challenge and, if given, at `flush_s`."""
    live = found["live/m1"]
    at = None if flush_s is None else s.T0 + round(flush_s * 1000)
    rows = [r for m in live["messages"][1:] for r in m["m"]["rows"] if at is not None and r[1] < at - 400]
    challenged = s.T0 + 1400
    first = [r for r in rows if r[1] < challenged] if at else []
    live["messages"] = live["messages"][:1]
    for when, some in ((challenged, first), (at, [r for r in rows if r not in first])):
        if when is not None and some:
            message = {"type": "data", "seq": len(live["messages"]) + 1, "rows": copy.deepcopy(some)}
            live["messages"].append({"at": when + 600, "m": message})
    found[f"edge/{s.EDGE}"]["heard"] = [challenged, *([] if at is None else [at])]
    arrived = [t for t in (challenged, at) if t is not None]
    for point in s.POINTS:
        every = s.history_rows(found, point.tag)
        for poll in (*found["shown/m1"]["polls"], found["shown/m1"]["latest"]):
            frames = [a for a in arrived if a + 600 <= poll["before"]]
            old = [[s.T0 - 100, s.true_value(point.tag, s.T0 - 100), 0]]
            new = [*old, *(r for r in every if frames and r[0] < frames[-1])][-1]
            poll["body"]["values"][point.tag] = dict(zip("tvq", new, strict=True))


@pytest.mark.parametrize("flush_s", [None, 5.0, 9.5, 13.5])
@pytest.mark.parametrize("closed", [True, False])
def test_an_edge_that_sends_a_frame_a_minute(flush_s: float | None, closed: bool) -> None:
    """`closed`: the closing challenge brought what was taken during the watch, and the cloud stored it in time."""
    found = s.scene()
    frame_a_minute(found, flush_s=flush_s)
    if not closed:
        last = s.T0 + round((flush_s or 1.4) * 1000)
        for point in s.POINTS:
            answer = found["shown/m1"]["history"][point.tag][0]["body"]
            answer["rows"] = [r for r in answer["rows"] if r[0] < last]
    odd = no_failure(found)
    assert odd


def test_a_minute_in_one_frame_is_a_question_of_real_time() -> None:
    """Enough frames to count as pushed, each with several seconds of samples."""
    found = s.scene()
    live = found["live/m1"]
    rows = [r for m in live["messages"][1:] for r in m["m"]["rows"]]
    live["messages"] = live["messages"][:1]
    heard = [s.T0 + 5000, s.T0 + 9500, s.T0 + 14_000]
    for i, (begin, end) in enumerate(zip([0, *heard], heard, strict=False)):
        some = [r for r in rows if begin <= r[1] < end]
        live["messages"].append({"at": end + 900, "m": {"type": "data", "seq": i + 2, "rows": some}})
    found[f"edge/{s.EDGE}"]["heard"] = heard
    assert s.odd(found) == {"rt.4": "review slower_than_listed"}


def test_a_late_path_is_not_excused_by_the_length_of_frames() -> None:
    found = s.scene()
    for entry in found["live/m1"]["messages"]:
        entry["at"] += 4500
    found["live/m1"] |= {"unsubscribed_ms": s.T0 + 18_800, "closed_ms": s.T0 + 30_000}
    found[f"edge/{s.EDGE}"]["heard"] = [s.T0 + 1400, s.T0 + 14_000]
    assert s.odd(found) == {"rt.4": "fail latency_high"}


@pytest.mark.parametrize("how", ["opcua", "deadband"])
@pytest.mark.parametrize("refreshed", [0, 1, 2])
def test_a_machine_at_rest(how: str, refreshed: int) -> None:
    """Nothing changes, and what is reported by exception stays silent, but for a refresh now and then."""
    found = s.scene()
    machine = found["scope"]["machines"]["m1"]
    if how == "opcua":
        machine["protocol"] = "opcua"
    for point, spec in zip(s.POINTS, found["cloud"]["devices"]["body"]["devices"][0]["tags"], strict=True):
        value = s.true_value(point.tag, s.T0)
        for read in found["machine/m1"]["reads"][point.tag]:
            read[2] = value
        s.show(found, point.tag, lambda *_, value=value: value)
        if how == "deadband":
            spec["deadband"] = machine["tags"][point.tag]["deadband"] = 0.01
    times = {s.T0 + 300 + (2 + 8 * i) * 1000 for i in range(refreshed)}
    keep_rows(found, lambda _, t: t in times)
    for point in s.POINTS:
        for said in s.every_latest(found, point.tag):
            said["t"] = s.T0 - 6000
    odd = no_failure(found)
    assert odd == ({"rt.5": "not_checked nothing_changed"} if refreshed else {"rt.1": "not_checked nothing_changed"})
