"""The judge on paper, tr.3, tr.4 and tr.5: chart, features and trend by API and page."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.verifier.paper_cloud import PaperCloud, PaperViewer, features, findings, observed, odd
from verifier.criteria import device_mon_trace
from verifier.judging import features as ft
from verifier.judging.trend import reads_as

Body = dict[str, Any]
DRAWN = {"reason": "", "chart": True, "canvas": [{"width": 800, "height": 400, "colours": 9}], "shapes": 0}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_pause(_: float) -> None: ...

    monkeypatch.setattr(device_mon_trace, "pause", no_pause)


def with_trend(change: Callable[[Body], None]) -> dict[str, Any]:
    """A cloud that answers /trend in its own way; what its page shows comes from the right answer."""
    cloud = PaperCloud()

    def changed(body: Body) -> Body:
        change(body)
        return body

    cloud.answers["/trend"] = changed
    return observed(cloud)


def drop_series(body: Body) -> None:
    body["series"].pop(0)


def means(body: Body) -> None:
    """The chart of down-sampled data: a mean for every bucket."""
    for one in body["series"]:
        if not one["raw"]:
            columns = one["buckets"]
            pairs = zip(columns["start"], columns["mean"], strict=True)
            one["points"] = [[t, v] for t, v in pairs if v is not None]


def thinned(body: Body) -> None:
    """Every other row only, though all were asked for."""
    for one in body["series"]:
        one["points"] = one["points"][::2]


def one_bucket(body: Body) -> None:
    for one in body["series"]:
        if not one["raw"]:
            one["buckets"] = {k: v[:1] for k, v in one["buckets"].items()}


def no_buckets(body: Body) -> None:
    for one in body["series"]:
        one.pop("buckets", None)


def shuffled(body: Body) -> None:
    for one in body["series"]:
        one["points"].reverse()


def not_points(body: Body) -> None:
    for one in body["series"]:
        one["points"] = "many"


def bucket_means(body: Body) -> None:
    for one in body["series"]:
        if not one["raw"]:
            one["buckets"]["mean"] = [None if m is None else m + 0.01 for m in one["buckets"]["mean"]]


def other_query(body: Body) -> None:
    body["query"] = "0" * 64


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_query, "query_hash_differs"),
        (means, "points_not_sampled"),
        (thinned, "points_missing"),
        (one_bucket, "buckets_uneven"),
        (no_buckets, "buckets_missing"),
        (shuffled, "points_out_of_order"),
        (not_points, "points_malformed"),
        (bucket_means, "buckets_differ"),
    ],
)
def test_a_chart_that_is_not_of_the_raw_rows(change: Callable[[Body], None], reason: str) -> None:
    said = odd(with_trend(change))
    assert said["tr.3"] == f"fail {reason}"
    assert "tr.4" not in said


def test_a_series_that_is_missing() -> None:
    assert odd(with_trend(drop_series))["tr.3"] == "fail series_missing"


def test_features_computed_from_down_sampled_points() -> None:
    def from_points(body: Body) -> None:
        for one in body["series"]:
            one["features"] = features([[t, v, 0] for t, v in one["points"]])

    said = odd(with_trend(from_points))
    assert said == {"tr.4": "fail features_differ", "tr.5": "fail features_differ"}


@pytest.mark.parametrize("name", ["min", "max", "mean", "std"])
def test_one_feature_that_is_a_little_off(name: str) -> None:
    def off(body: Body) -> None:
        for one in body["series"]:
            one["features"][name] *= 1 + 1e-6

    assert odd(with_trend(off)) == {"tr.4": "fail features_differ"}


def test_a_slope_that_is_a_little_off() -> None:
    def off(body: Body) -> None:
        for one in body["series"]:
            one["features"]["trend_per_h"] *= 1.001

    assert odd(with_trend(off)) == {"tr.5": "fail features_differ"}


def test_dust_of_floating_point_is_no_difference() -> None:
    def dusty(body: Body) -> None:
        for one in body["series"]:
            one["features"] = {k: v * (1 + 3e-11) if isinstance(v, float) else v for k, v in one["features"].items()}

    assert odd(with_trend(dusty)) == {}


def test_features_api_that_says_something_else() -> None:
    cloud = PaperCloud()
    cloud.answers["/features"] = lambda body: {**body, "mean": body["mean"] + 0.1}
    assert odd(observed(cloud)) == {"tr.4": "fail features_differ"}


# ---------------------------------------------------------------- the page


def shown(html: Callable[[str], str] = lambda text: text, **changes: Any) -> dict[str, Any]:
    cloud = PaperCloud()
    return observed(cloud, PaperViewer(cloud, html=html, **changes))


def test_a_page_that_shows_other_figures_than_the_api() -> None:
    found = shown(lambda text: re.sub(r'(data-feature=mean data-value=")', r"\g<1>9", text))
    assert odd(found) == {"tr.4": "fail page_differs"}


def test_a_page_whose_text_is_not_its_value() -> None:
    found = shown(lambda text: re.sub(r"(data-feature=max data-value=\"[^\"]*\">)[^<]*", r"\g<1>999.00 kW", text))
    assert odd(found) == {"tr.4": "fail page_differs"}


def test_a_page_with_another_slope() -> None:
    found = shown(lambda text: re.sub(r'(data-feature=trend data-value="-?)', r"\g<1>9", text))
    assert odd(found) == {"tr.5": "fail page_differs"}


def test_a_page_of_another_query() -> None:
    found = shown(lambda text: re.sub(r'data-query="[0-9a-f]{8}', 'data-query="00000000', text))
    assert odd(found) == {"tr.3": "fail page_query_differs"}


def test_a_page_without_a_chart() -> None:
    found = shown(lambda text: text.replace('id="chart"', 'id="map"'))
    assert odd(found)["tr.3"] == "fail chart_missing"


def test_an_axis_that_ends_elsewhere() -> None:
    found = shown(lambda text: re.sub(r'data-to="(\d+)"', 'data-to="17"', text))
    assert odd(found) == {"tr.5": "fail axis_differs"}


def test_a_page_filled_by_script_and_no_browser() -> None:
    found = shown(lambda _: '<body data-live="/live"><div id="chart"></div></body>')
    assert odd(found) == dict.fromkeys(("tr.3", "tr.4"), "not_checked page_needs_browser") | {
        "tr.5": "not_checked page_needs_browser"
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fault": "page_unreachable"}, "fail page_unreachable"),
        ({"fault": "page_login_refused"}, "not_checked page_login_refused"),
        ({"status": 403}, "fail page_refused"),
    ],
)
def test_a_page_that_cannot_be_opened(changes: dict[str, Any], said: str) -> None:
    reason = said.split()[1]
    expected = {"tr.3": said, "tr.4": f"not_checked {reason}", "tr.5": f"not_checked {reason}"}
    assert odd(shown(**changes)) == expected


def test_a_plan_without_a_page_leaves_the_chart_open() -> None:
    found = observed(PaperCloud(), page=False)
    assert set(odd(found).values()) == {"not_checked page_not_planned"}
    assert set(odd(found)) == {"tr.3", "tr.4", "tr.5"}


# ---------------------------------------------------------------- a browser


def in_browser(found: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """As if a browser had shown what the server sent."""
    look = device_mon_trace.judging.look_of(found["page"], found["page/m1"])
    chart = dict(look.chart or {})
    seen = {name: chart[f"data-{name}"] for name in ("query", "from", "to")}
    cells = {series: {k: list(v) for k, v in by.items()} for series, by in look.http.features.items()}
    found["page"]["browser"] = ""
    found["page/m1"]["browser"] = {**DRAWN, **seen, "features": cells, **changes}
    return found


def test_no_browser_leaves_the_state_and_says_so() -> None:
    found = shown()
    assert odd(found) == {}
    (chart,) = [f for f in findings(found) if (f.machine, f.statement) == ("m1", "tr.3")]
    (note,) = [f for f in chart.figures if f.name == "browser"]
    assert "no browser looked" in str(note.value)
    seen = in_browser(shown())
    assert odd(seen) == {}
    (chart,) = [f for f in findings(seen) if (f.machine, f.statement) == ("m1", "tr.3")]
    assert {f.name: f.value for f in chart.figures}["chart_colours"] == 9


def test_a_browser_that_failed_leaves_the_state() -> None:
    found = shown()
    found["page/m1"]["browser"] = {"reason": "browser_too_slow"}
    assert odd(found) == {}


def test_a_canvas_that_stayed_blank() -> None:
    found = in_browser(shown(), canvas=[{"width": 800, "height": 400, "colours": 1}])
    assert odd(found) == {"tr.3": "fail chart_blank"}
    assert odd(in_browser(shown(), canvas=[])) == {"tr.3": "fail chart_blank"}


def test_a_chart_of_svg_counts_by_its_shapes() -> None:
    assert odd(in_browser(shown(), canvas=[], shapes=12)) == {}


def test_a_script_that_changes_the_figures() -> None:
    found = in_browser(shown())
    cells = found["page/m1"]["browser"]["features"]
    for by_name in cells.values():
        by_name["mean"] = ["1.5", "1.50 kW"]
    assert odd(found) == {"tr.4": "fail page_differs"}


def test_a_script_that_draws_another_query() -> None:
    found = in_browser(shown(), query="f" * 64)
    assert odd(found) == {"tr.3": "fail page_query_differs"}


# ---------------------------------------------------------------- the arithmetic


def test_features_of_few_rows() -> None:
    assert ft.features([]) is None
    one = ft.features([(5, 2.0)])
    assert one is not None
    assert (one.count, one.std, one.trend) == (1, 0.0, None)
    assert not ft.differs(one, "trend", None, 1e-9)
    assert ft.differs(one, "trend", 3.0, 1e-9)
    assert ft.differs(one, "mean", None, 1e-9)
    assert ft.differs(one, "mean", float("nan"), 1e-9)


def test_a_naive_sum_of_squares_is_dust() -> None:
    own = ft.features([(i, 400.0) for i in range(1000)])
    assert own is not None
    assert not ft.differs(own, "std", 2e-5, 1e-9)
    assert ft.differs(own, "std", 0.01, 1e-9)


@pytest.mark.parametrize(
    ("text", "value", "is_it"),
    [
        ("1,234.57 kW", 1234.5678, True),
        ("−3.2", -3.24, True),
        ("12 kW", 12.4, True),
        ("12 kW", 14.0, False),
        ("—", 1.0, False),
        ("1.2e-5", 0.0000121, True),
        ("1.23457e+06", 1234567.0, True),
        ("0.00", 0.004, True),
        ("1e999999999999", 1.0, False),
    ],
)
def test_what_a_rounded_text_says(text: str, value: float, is_it: bool) -> None:
    assert reads_as(text, value) is is_it
