"""The judge on paper, tr.2: how far history reaches back, holes and what states them, late data."""

from typing import Any

import pytest

from telemetry.items import Lost, encode_losses
from telemetry.seal import ItemKind
from tests.verifier import paper_cloud as paper
from tests.verifier.paper_cloud import PaperCloud, findings, observed, odd
from verifier.criteria import device_mon_trace
from verifier.judging.reach import holes_of, length_of


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_pause(_: float) -> None: ...

    monkeypatch.setattr(device_mon_trace, "pause", no_pause)


def figures(found: dict[str, Any], uid: str = "m1") -> dict[str, Any]:
    (one,) = [f for f in findings(found) if (f.machine, f.statement) == (uid, "tr.2")]
    return {f.name: f.value for f in one.figures}


def test_what_is_measured_is_printed() -> None:
    said = figures(observed(PaperCloud()))
    assert said["oldest"] == "2023-11-14T22:13:20+00:00"
    assert said["oldest_age_h"] == pytest.approx((paper.NOW - paper.T0) / 3.6e6, rel=1e-4)
    assert (said["days_with_data"], said["days_in_all"]) == (1, 1)
    assert said["longest_gap_s"] == pytest.approx(0.926)
    assert (said["holes_unstated"], said["late_share"]) == (0, 0)


def test_a_hole_that_nothing_states() -> None:
    found = observed(PaperCloud(silent=range(40, 110)))
    assert odd(found) == {"tr.2": "fail gap_unstated"}
    assert figures(found)["holes_unstated"] == 1


def test_a_stretch_that_was_cut_out_of_the_database() -> None:
    cloud = PaperCloud()
    for tag, rows in cloud.rows["m1"].items():
        cloud.rows["m1"][tag] = [r for r in rows if not 40_000 <= r[0] - paper.T0 < 110_000]
    said = odd(observed(cloud))  # tr.1, where a window touches the last rows before the cut
    assert said in ({"tr.2": "fail gap_has_signed_rows"}, {"tr.1": "fail rows_removed"})


def test_a_machine_at_rest_that_reports_by_exception_is_a_question() -> None:
    found = observed(PaperCloud(silent=range(40, 110)))
    found["scope"]["machines"]["m1"]["protocol"] = "opcua"
    assert odd(found) == {"tr.2": "review gap_unstated"}


def test_a_hole_below_a_minute_is_only_shown() -> None:
    found = observed(PaperCloud(silent=range(40, 80)))
    assert odd(found) == {}
    assert figures(found)["longest_gap_s"] == pytest.approx(40.926)


def test_a_stop_of_the_edge_that_its_opening_states() -> None:
    found = observed(PaperCloud(stop=range(40, 115)))
    assert odd(found) == {}
    assert figures(found)["holes_stated"] == "stopped"


def test_the_clouds_word_for_a_hole_counts_for_nothing() -> None:
    cloud = PaperCloud(silent=range(40, 110))

    def excused(body: Any) -> Any:
        gap = {"from": paper.T0 + 39_000, "to": paper.T0 + 111_000, "reason": "loss", "edge": paper.EDGE}
        return {**body, "gaps": [gap]}

    cloud.answers["/coverage"] = excused
    assert odd(observed(cloud)) == {"tr.2": "fail gap_unstated"}


def test_a_machine_that_did_not_answer_says_so_in_its_rows() -> None:
    found = observed(PaperCloud(no_reply=range(40, 115)))
    assert odd(found) == {}
    assert figures(found)["holes_stated"] == "no_reply"
    assert figures(found, "m2")["holes"] == 0


def test_a_signed_record_of_loss_states_a_hole() -> None:
    cloud = PaperCloud(silent=range(40, 110))
    lost = Lost(cloud.stream, 4000, 4010, paper.T0 + 40_000, paper.T0 + 110_000)
    cloud.add(ItemKind.LOSS, encode_losses([lost]), span=(lost.first_ms, lost.last_ms), arrival=paper.NOW - 1000)
    found = observed(cloud)
    assert odd(found) == {}
    assert figures(found)["holes_stated"] == "loss"


def test_a_gap_that_the_cloud_itself_cannot_explain() -> None:
    cloud = PaperCloud()

    def admits(body: Any) -> Any:
        for one in body["series"]:
            one["gaps"] = [{"from": paper.T0 + 20_000, "to": paper.T0 + 90_000, "reason": "unstated"}]
        return body

    cloud.answers["/trend"] = admits
    assert odd(observed(cloud)) == {"tr.2": "fail gap_unstated"}


def late(share: float) -> PaperCloud:
    every = round(1 / share)
    return PaperCloud(late=lambda s: 90_000 if s % every == 7 else 300)


def test_late_data_within_five_percent_pass() -> None:
    found = observed(late(0.03))
    assert odd(found) == {}
    assert 0 < figures(found)["late_share"] < 0.05


def test_more_than_five_percent_late_is_a_question() -> None:
    found = observed(PaperCloud(late=lambda s: 90_000 if 20 <= s < 60 else 300))
    assert odd(found) == {"tr.2": "review late_share"}
    assert figures(found)["late_share"] > 0.05


def test_late_data_that_are_not_shown_as_late() -> None:
    cloud = PaperCloud(late=lambda _: 90_000)
    cloud.answers["/coverage"] = lambda body: {**body, "late": []}
    assert odd(observed(cloud)) == {"tr.2": "fail late_not_flagged"}


def test_an_oldest_sample_that_nobody_signed() -> None:
    cloud = PaperCloud()
    for rows in cloud.rows["m1"].values():
        rows.insert(0, [paper.T0 - 40_000, rows[0][1], 0])
    found = observed(cloud)
    assert odd(found).get("tr.1", "fail rows_added") == "fail rows_added"
    if "tr.1" not in odd(found):
        assert odd(found) == {"tr.2": "fail oldest_not_signed"}


@pytest.mark.parametrize(("path", "said"), [("/coverage", "coverage_refused"), ("/trend", "trend_refused")])
def test_what_cannot_be_asked(path: str, said: str) -> None:
    cloud = PaperCloud()
    cloud.statuses[path] = 500
    assert said in {w.split()[1] for w in odd(observed(cloud)).values()}


def series(start: int, width: int, counts: list[int]) -> dict[str, Any]:
    starts = [start + i * width for i in range(len(counts))]
    columns = {"start": starts, "count": counts, **{n: [0.0] * len(counts) for n in ("mean", "min", "max")}}
    return {"status": 200, "body": {"series": [{"device": "m1", "tag": "x", "raw": False, "buckets": columns}]}}


def raw(*times: int) -> dict[str, Any]:
    return {"status": 200, "body": {"series": [{"tag": "x", "raw": True, "points": [[t, 1.0] for t in times]}]}}


def test_a_hole_among_buckets_is_found_exactly_where_raw_rows_lie_close() -> None:
    whole = series(0, 100_000, [9, 9, 0, 0, 9])
    assert holes_of([whole], 60_000) == [(200_000, 400_000)]
    near = [raw(150_000, 170_000, 180_000), raw(410_000, 420_000)]
    assert holes_of([whole, *near], 60_000) == [(180_000, 410_000)]
    assert holes_of([series(0, 100_000, [9, 9, 9])], 60_000) == []


def test_overlapping_stretches_are_counted_once() -> None:
    assert length_of([(0, 10), (5, 12), (20, 21), (20, 21)]) == 13
    assert length_of([]) == 0
