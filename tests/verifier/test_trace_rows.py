"""The judge on paper, tr.1: rows of random windows against the signed frames."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from telemetry import samples, seal
from telemetry.keys import to_text
from telemetry.seal import ItemKind
from tests.verifier import paper_cloud as paper
from tests.verifier.paper_cloud import PaperCloud, PaperViewer, findings, observed, odd
from tests.verifier.scene import EDGE_KEY, HEAD_KEY, OTHER_KEY
from verifier.criteria import device_mon_trace
from verifier.evidence import make
from verifier.judging.windows import draw_windows
from verifier.run import judge_evidence

Change = Callable[[PaperCloud], None]


def windows(found: dict[str, Any]) -> list[list[int]]:
    return found[f"edge/{paper.EDGE}"]["windows"]


def test_a_healthy_history_passes_and_says_what_was_compared() -> None:
    found = observed(PaperCloud())
    assert odd(found) == {} == odd(found, "m2")
    (first,) = [f for f in findings(found) if (f.machine, f.statement) == ("m1", "tr.1")]
    figures: dict[str, Any] = {f.name: f.value for f in first.figures}
    assert figures["windows"] == 4
    assert figures["rows_equal_share"] == figures["rows_in_windows_compared_share"] == 1
    assert figures["rows_compared"] >= 100
    assert 0 < figures["frames_proved_share"] <= 1


def test_windows_are_drawn_after_the_check_began_and_can_be_drawn_again() -> None:
    one, two = observed(PaperCloud()), observed(PaperCloud())
    assert windows(one) != windows(two)
    drawn = one[f"edge/{paper.EDGE}"]
    again = draw_windows(
        drawn["seed"], drawn["name"], drawn["spans"], count=drawn["count"], length_ms=drawn["length_ms"]
    )
    assert [list(w) for w in again] == drawn["windows"]
    drawn["windows"][0][0] -= 1000  # somebody else's choice
    assert set(odd(one).values()) == {"error verifier_error"}


def test_a_row_changed_in_the_database() -> None:
    cloud = PaperCloud()
    for row in cloud.rows["m1"]["active_power"]:
        row[1] += 1e-9
    found = observed(cloud)
    assert odd(found) == {"tr.1": "fail rows_edited"}
    assert odd(found, "m2") == {}


def test_a_quality_made_good_in_the_database() -> None:
    cloud = PaperCloud(no_reply=range(60, 63))
    bad = [r for rows in cloud.rows["m1"].values() for r in rows if r[1] is None]
    at = bad[0][0]
    for row in bad:
        row[1:] = [1.0, 0]
    found = observed(cloud)
    hit = any(a <= at < b for a, b in windows(found))
    assert odd(found).get("tr.1") == ("fail rows_edited" if hit else None)


def test_a_row_that_nobody_signed() -> None:
    cloud = PaperCloud()
    rows = cloud.rows["m1"]["winding_temp_u"]
    cloud.rows["m1"]["winding_temp_u"] = sorted([*rows, *([t + 500, v, q] for t, v, q in rows)])
    assert odd(observed(cloud)) == {"tr.1": "fail rows_added"}


def test_a_row_shown_twice() -> None:
    cloud = PaperCloud()
    rows = cloud.rows["m1"]["winding_temp_u"]
    cloud.rows["m1"]["winding_temp_u"] = sorted([*rows, *([t, v, q] for t, v, q in rows)])
    assert odd(observed(cloud)) == {"tr.1": "fail rows_added"}


def test_a_row_removed_from_the_database() -> None:
    cloud = PaperCloud()
    cloud.rows["m1"]["energy"] = cloud.rows["m1"]["energy"][::2]
    assert odd(observed(cloud)) == {"tr.1": "fail rows_removed"}


def test_a_truth_value_is_no_number() -> None:
    cloud = PaperCloud()
    for row in cloud.rows["m1"]["remote_mode"]:
        row[1] = 1
    assert odd(observed(cloud)) == {"tr.1": "fail rows_edited"}


def drop(cloud: PaperCloud) -> None:
    """Frames and their rows are gone, from the ledger too."""
    gone = [i for i in cloud.items if i.header.kind is ItemKind.DATA and i.header.sequence % 5 == 0]
    cloud.items = [i for i in cloud.items if i not in gone]
    times = {i.header.span[0] // 1000 for i in gone}
    for by_tag in cloud.rows.values():
        for tag, rows in by_tag.items():
            by_tag[tag] = [r for r in rows if r[0] // 1000 not in times]


def keep_back(cloud: PaperCloud) -> None:
    """The ledger has them, /frames does not show them; their rows are gone."""
    kept = [x for x in cloud.items if x.header.sequence % 5]
    whole = list(cloud.items)
    frames = cloud.frames

    def shown(params: dict[str, Any]) -> dict[str, Any]:
        cloud.items = kept
        try:
            return frames(params)
        finally:
            cloud.items = whole

    cloud.frames = shown  # type: ignore[method-assign]
    times = {i.header.span[0] // 1000 for i in whole if i not in kept}
    for by_tag in cloud.rows.values():
        for tag, rows in by_tag.items():
            by_tag[tag] = [r for r in rows if r[0] // 1000 not in times]


def forge(cloud: PaperCloud) -> None:
    """Other values, sealed anew under the right keys of encryption, signed by somebody else."""
    _resign(cloud, OTHER_KEY)


def _resign(cloud: PaperCloud, signer: Any) -> None:
    old, cloud.items = cloud.items, []
    for item in old:
        rows = samples.from_rows([(0, item.header.span[0], 1.0, 0, samples.Kind.FLOAT)])
        if item.header.kind is ItemKind.DATA:
            cloud.frame(rows, arrival=item.arrival_ms, signer=signer)
        else:
            cloud.add(item.header.kind, b"", span=item.header.span, arrival=item.arrival_ms)


def tamper(cloud: PaperCloud) -> None:
    for item in cloud.items:
        item.sealed = item.sealed[:-1] + bytes([item.sealed[-1] ^ 1])


def wrong_key(cloud: PaperCloud) -> None:
    for item in cloud.items:
        item.key = bytes(32)


def resealed(cloud: PaperCloud) -> None:
    """The edge's own key signed again, under the same numbers: items no longer name the ones before."""
    for i, item in enumerate(cloud.items):
        if item.header.kind is ItemKind.DATA and i % 4 == 0 and item.key is not None:
            plaintext = seal.unseal_with(seal.peek(item.sealed), key=item.key)
            epoch = next(key for key in cloud.epoch_keys if seal.frame_key(key, cloud.stream, i) == item.key)
            header = replace(item.header, previous=bytes(range(16)))
            item.sealed = seal.seal(plaintext, header, epoch_key=epoch, signer=EDGE_KEY, topic=paper.TOPIC)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop, "frame_missing"),
        (keep_back, "frame_missing"),
        (forge, "frame_wrong_key"),
        (tamper, "frame_bad_signature"),
        (wrong_key, "frame_cannot_open"),
        (resealed, "chain_broken"),
    ],
)
def test_a_broken_record_fails_and_only_there(change: Change, reason: str) -> None:
    cloud = PaperCloud()
    change(cloud)
    found = observed(cloud)
    said = odd(found)["tr.1"]
    assert said.startswith("fail"), said
    if reason != "frame_missing":
        assert said == f"fail {reason}"
    else:
        assert said.split()[1] in ("frame_missing", "frame_kept_back")
    assert set(odd(found)) == {"tr.1"}


def test_a_frame_that_is_not_in_the_ledger() -> None:
    cloud = PaperCloud()
    cloud.statuses["/ledger/proof"] = 404
    assert odd(observed(cloud)) == {"tr.1": "fail frame_not_in_ledger"}


def test_a_head_that_somebody_else_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "HEAD_KEY", OTHER_KEY)
    cloud = PaperCloud()
    found = observed(cloud)
    found["scope"]["head_key"] = to_text(HEAD_KEY.public)
    assert odd(found) == {"tr.1": "fail proof_bad_head"}


def test_an_arrival_that_is_not_the_ledgers() -> None:
    cloud = PaperCloud()

    def earlier(body: Any) -> Any:
        for one in body["items"]:
            one["arrival_ms"] -= 5000
        return body

    cloud.answers["/frames"] = earlier
    assert odd(observed(cloud)) == {"tr.1": "fail arrival_differs"}


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/frames", 500, "fail frames_refused"),
        ("/frames", 0, "not_checked frames_unanswered"),
        ("/frames", 403, "not_checked frames_unanswered"),
        ("/history", 500, "fail history_refused"),
        ("/ledger/proof", 0, "not_checked proof_unanswered"),
    ],
)
def test_what_is_not_answered(path: str, status: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.observing.history.pause", no_pause)
    cloud = PaperCloud()
    cloud.statuses[path] = status
    assert odd(observed(cloud))["tr.1"] == said


async def no_pause(_: float) -> None: ...


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to wait for late rows of a cloud on paper."""
    monkeypatch.setattr(device_mon_trace, "pause", no_pause)


def test_keys_that_are_not_here_leave_it_open() -> None:
    cloud = PaperCloud()
    cloud.statuses["/frames"] = 409
    cloud.answers["/frames"] = lambda _: {"error": {"code": "keys_not_here", "zh": "", "en": ""}}
    assert odd(observed(cloud)) == {"tr.1": "not_checked keys_not_here"}


def test_a_cloud_that_is_away() -> None:
    cloud = PaperCloud()
    cloud.statuses["/devices"] = 0
    found = observed(cloud)
    assert odd(found) == {"tr.1": "fail cloud_unreachable"}


def test_rows_that_come_late_are_asked_for_once_more() -> None:
    """Row and frame are fetched at different moments; a frame that came in between is not a contradiction."""
    cloud = PaperCloud()
    asked = 0

    def half(body: Any) -> Any:
        nonlocal asked
        asked += 1
        return body if asked > 46 else {**body, "rows": body["rows"][: len(body["rows"]) // 2]}

    cloud.answers["/history"] = half
    found = observed(cloud)
    assert odd(found) == {}
    assert found[f"edge/{paper.EDGE}"]["asked_again"] is True


def test_judged_again_it_is_the_same() -> None:
    evidence = make(device_mon_trace.ID, observed(PaperCloud(), PaperViewer(PaperCloud())))
    assert judge_evidence(evidence, paper.PACK) == judge_evidence(evidence, paper.PACK)
