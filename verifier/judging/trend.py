"""Chart, data features and trend (tr.3, tr.4, tr.5): what API and page show is what the raw rows give.

Raw rows are the unit of truth here, and tr.1 says whether they are the edge's own. Figures that were computed from the
points of a chart instead of the rows differ from these by more than floating point can.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from verifier.findings import Figure, Outcome, figure
from verifier.judging import features as ft
from verifier.judging.case import dicts, mapping
from verifier.judging.history import reason_of, rows_in
from verifier.judging.values import names
from verifier.markup import Page, read_page
from verifier.rules.types import Threshold
from verifier.states import State

Thresholds = Mapping[str, Threshold]
Span = tuple[int, int]
Judged = tuple[State, str, str]
NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.(\d+))?(?:[eE]([-+]?\d+))?")
NO_FEED, LIVE_ELSEWHERE = "page_not_live", "page_live_elsewhere"


@dataclass(frozen=True)
class Looked:
    """What a viewer was shown: `http` as the server sent it, `browser` as a browser had drawn it (None where none looked).
    `fault` is empty where the page was opened."""

    planned: bool
    fault: tuple[State, str, str] | None
    http: Page
    browser: Mapping[str, Any] | None
    no_browser: str

    @property
    def chart(self) -> Mapping[str, str] | None:
        """Attributes of #chart as the server sent them."""
        return self.http.by_id.get("chart")

    def said(self, name: str) -> list[str]:
        """An attribute of the chart wherever it is shown: by the server, in the browser."""
        found = [(self.chart or {}).get(f"data-{name}", "")]
        if self.browser is not None:
            found.append(str(self.browser.get(name) or ""))
        return [x for x in found if x]


def look_of(page: Mapping[str, Any] | None, one: Mapping[str, Any] | None) -> Looked:
    """Out of the observations "page" and "page/<uid>"."""
    general, own = mapping(page), mapping(one)
    http = mapping(own.get("http"))
    browser = own.get("browser")
    looked = isinstance(browser, dict) and not browser.get("reason")
    why = "" if looked else str(mapping(browser).get("reason") or general.get("browser") or "no_browser")
    return Looked(
        planned=bool(general.get("planned")),
        fault=_page_fault(general, http),
        http=read_page(str(http.get("html") or "")),
        browser=browser if looked and isinstance(browser, dict) else None,
        no_browser=why,
    )


def page_fault(general: Mapping[str, Any]) -> Judged | None:
    """Why no page could be opened at all; None where one could."""
    if not general.get("planned"):
        return State.NOT_CHECKED, "page_not_planned", ""
    fault = str(general.get("fault") or "")
    if fault:  # a wrong password is perhaps the inspector's own fault
        state = State.NOT_CHECKED if fault == "page_login_refused" else State.FAIL
        return state, fault, str(general.get("details") or "")
    return None


def _page_fault(general: Mapping[str, Any], http: Mapping[str, Any]) -> Judged | None:
    fault = page_fault(general)
    if fault is not None:
        return fault
    if http.get("status") != 200:
        return State.FAIL, "page_refused", str(http.get("reason") or http.get("status"))
    return None


@dataclass(frozen=True)
class Query:
    """One query of the trend with its answer and the raw rows of its series."""

    enterprise: str
    uid: str
    tags: tuple[str, ...]
    span: Span
    points: int
    answer: Any
    rows: Mapping[str, list[list[Any]]]

    @property
    def series(self) -> list[str]:
        return [f"{self.uid}:{tag}" for tag in self.tags]

    @cached_property
    def by_tag(self) -> dict[str, Mapping[str, Any]]:
        """The answer's series by tag; a series of another machine counts as missing."""
        listed = dicts(mapping(mapping(self.answer).get("body")).get("series"))
        return {str(s.get("tag")): s for s in listed if s.get("device") == self.uid}

    def fault(self) -> Judged | None:
        """Why this is no chart of these rows."""
        said = mapping(self.answer)
        if said.get("status") != 200 or not said.get("body"):
            state = State.NOT_CHECKED if said.get("status") == 0 else State.FAIL
            return state, "trend_refused", reason_of(said)
        query = mapping(said["body"]).get("query")
        if query != ft.query_hash(self.enterprise, self.series, *self.span, self.points):
            return State.FAIL, "query_hash_differs", str(query)[:16]
        for tag in self.tags:
            one = self.by_tag.get(tag)
            if one is None:
                return State.FAIL, "series_missing", tag
            why = ft.points_fault(one.get("points"), self.rows[tag], self.points, self.span, one.get("buckets"))
            if why:
                return State.FAIL, why, tag
        return None


@dataclass(frozen=True)
class TrendCase:
    """All that was asked of one machine's trend. `queries` are those whose rows are known; `unread` says why the rows of a
    query could not be read; `figures` the data features by (source, tag, feature)."""

    uid: str
    queries: tuple[Query, ...]
    periods: Mapping[str, int]
    look: Looked
    figures: tuple[tuple[str, Query, str, Mapping[str, Any]], ...]
    unread: str

    @property
    def main(self) -> Query | None:
        """The query that the page was asked for."""
        return self.queries[0] if self.queries else None


def build(uid: str, enterprise: str, raw: Mapping[str, Any], declared: Mapping[str, Any], look: Looked) -> TrendCase:
    """Out of the observation "trend/<uid>": {"queries": [{"tags", "span", "points", "answer", "rows": {tag: answer},
    "features": {tag: answer}}, …]}, the first being what the page was asked for."""
    queries: list[Query] = []
    figures: list[tuple[str, Query, str, Mapping[str, Any]]] = []
    unread = ""
    for one in raw.get("queries") or []:
        span = (int(one["span"][0]), int(one["span"][1]))
        rows = {tag: rows_in(answer, span) for tag, answer in one["rows"].items()}
        missing = [tag for tag in one["tags"] if rows.get(tag) is None]
        if missing:
            unread = unread or f"{missing[0]}: {reason_of(one['rows'].get(missing[0]))}"
            continue
        known = {tag: r for tag, r in rows.items() if r is not None}
        query = Query(enterprise, uid, tuple(one["tags"]), span, int(one["points"]), one["answer"], known)
        queries.append(query)
        for tag in query.tags:
            figures.append(("api", query, tag, _of_api(mapping(query.by_tag.get(tag, {}).get("features")))))
        for tag, answer in mapping(one.get("features")).items():
            figures.append(("features_api", query, tag, _of_api(mapping(mapping(answer).get("body")))))
    if queries and look.fault is None:
        main = queries[0]
        for tag in main.tags:
            figures += [(source, main, tag, said) for source, said in _of_page(look, f"{uid}:{tag}")]
    periods = {tag: int(t["period_ms"]) for tag, t in declared["tags"].items()}
    return TrendCase(uid, tuple(queries), periods, look, tuple(figures), unread)


def _of_api(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: said.get(ft.API_NAMES.get(name, name)) for name in (*ft.FEATURES, "count")}


def _of_page(look: Looked, series: str) -> list[tuple[str, dict[str, Any]]]:
    """Features of a series on the page: (source, by feature, exact and as text)."""
    out = [("page", {name: _cell(*cell) for name, cell in look.http.features.get(series, {}).items()})]
    if look.browser is not None:
        cells = mapping(mapping(look.browser.get("features")).get(series))
        drawn = {str(k): _cell(str(v[0]), str(v[1])) for k, v in cells.items() if isinstance(v, list) and len(v) == 2}
        if not out[0][1]:
            return [("browser", drawn)]
        out.append(("browser", drawn))
    return out


def _cell(exact: str, text: str) -> tuple[float | None, str]:
    try:
        return float(exact), text
    except ValueError:
        return None, text


def _short(value: Any) -> str:
    return str(value)[:24]


def _check(own: ft.Features, name: str, said: Any, relative: float) -> str:
    """What is wrong with one feature as it is shown, "" where nothing is."""
    text = None
    if isinstance(said, tuple):
        said, text = said
    if ft.differs(own, name, said, relative):
        return "differs" if said is not None else "missing"
    return "text" if text is not None and said is not None and not reads_as(text, float(said)) else ""


def reads_as(text: str, value: float) -> bool:
    """Whether a rounded text is the number: within one unit of its last place."""
    found = NUMBER.search(text)
    if found is None:
        return False
    shown = float(found[0].replace(",", "").replace("−", "-"))
    decimals, power = len(found[1] or ""), int((found[2] or "0")[:4])
    if abs(power) > 300 or decimals > 300:
        return False
    last = 10.0 ** (power - decimals) if decimals or power else 1.0
    return abs(shown - value) <= max(last, 1e-3 * abs(value))


# ---------------------------------------------------------------- the statements


def judge_chart(case: TrendCase, *, limits: Thresholds, evidence: tuple[str, ...]) -> Outcome:
    """tr.3: the chart's points are the rows', the page draws the same query."""
    drawn = _drawn(case.look)
    figures = (
        figure("queries", len(case.queries), limits["least_queries"]),
        figure(
            "points", sum(len(ft.read_points(s.get("points")) or []) for q in case.queries for s in q.by_tag.values())
        ),
        figure("page_query", case.look.said("query")[0][:16] if case.look.said("query") else None),
        figure("chart_colours", drawn, limits["chart_colours"]) if drawn is not None else _no_browser(case.look),
    )
    state, reason, details = _chart_fault(case, drawn, limits) or (State.PASS, "", "")
    return Outcome(state, reason, figures, evidence, details)


def _no_browser(look: Looked) -> Figure:
    return figure("browser", f"没有浏览器察看 / no browser looked ({look.no_browser})")


def _drawn(look: Looked) -> int | None:
    """How many colours the chart has in the browser (of an SVG how many shapes); None where no browser looked."""
    if look.browser is None:
        return None
    found = [c.get("colours") for c in dicts(look.browser.get("canvas"))]
    shapes = look.browser.get("shapes")
    return max((x for x in (*found, shapes) if type(x) is int), default=0)


def _chart_fault(case: TrendCase, drawn: int | None, limits: Thresholds) -> Judged | None:
    if not case.queries:
        return (
            State.FAIL if case.unread else State.NOT_CHECKED,
            "history_refused" if case.unread else "no_history",
            case.unread,
        )
    for query in case.queries:
        fault = query.fault()
        if fault is not None:
            return fault
    if case.look.fault is not None:
        return case.look.fault
    return _page_chart_fault(case, case.queries[0], drawn, limits)


def _page_chart_fault(case: TrendCase, main: Query, drawn: int | None, limits: Thresholds) -> Judged | None:
    look = case.look
    if look.chart is None and look.browser is None:
        return State.FAIL, "chart_missing", ""
    said = look.said("query")
    if not said:
        if look.browser is None:
            return State.NOT_CHECKED, "page_needs_browser", look.no_browser
        return State.FAIL, "chart_without_query", ""
    if any(ft.points_of_query(s, main.enterprise, main.series, *main.span) is None for s in said):
        return State.FAIL, "page_query_differs", said[0][:16]
    if drawn is not None and drawn < limits["chart_colours"].value:
        return State.FAIL, "chart_blank", ""
    return None


def judge_features(case: TrendCase, *, limits: Thresholds, evidence: tuple[str, ...]) -> Outcome:
    """tr.4: min, max, mean and standard deviation, wherever they are shown, against the raw rows."""
    return _judge_figures(case, ("min", "max", "mean", "std"), limits=limits, evidence=evidence)


def _judge_figures(
    case: TrendCase,
    wanted: Sequence[str],
    *,
    limits: Thresholds,
    evidence: tuple[str, ...],
    further: Callable[[], Judged | None] = lambda: None,
    more: Sequence[Figure] = (),
) -> Outcome:
    relative = limits["feature_dust"].value
    wrong: list[str] = []
    compared, worst, rows = 0, 0.0, 0
    on_page = False
    for source, query, tag, said in case.figures:
        own = ft.features(ft.usable(query.rows[tag]))
        if own is None:
            continue
        rows += own.count if source == "api" else 0
        on_page = on_page or (source in ("page", "browser") and any(name in said for name in wanted))
        if source in ("api", "features_api") and said.get("count") != own.count:
            wrong.append(f"{source} {tag} count {_short(said.get('count'))} ≠ {own.count}")
        for name in wanted:
            fault = _check(own, name, said.get(name), relative)
            compared += 1
            exact = said[name][0] if isinstance(said.get(name), tuple) else said.get(name)
            expected = getattr(own, name)
            if fault:
                wrong.append(
                    f"{source} {tag} {name} {_short(exact)} ≠ {expected}"
                    if fault == "differs"
                    else f"{source} {tag} {name}: {fault}"
                )
            if exact is not None and ft.is_number(exact) and expected is not None and own.largest:
                worst = max(worst, abs(float(exact) - expected) / max(abs(expected), own.largest))
    figures = (
        figure("rows", rows, limits["least_feature_rows"]),
        figure("features_compared", compared, unit="features"),
        figure("features_differ", len(wrong), limits["none_allowed"]),
        figure("worst_relative", worst, limits["feature_dust"]),
        *more,
        *([] if case.look.browser is not None else [_no_browser(case.look)]),
    )

    def outcome(state: State, reason: str = "", details: str = "") -> Outcome:
        return Outcome(state, reason, figures, evidence, details)

    api = [w for w in wrong if w.split()[0] in ("api", "features_api")]
    if not case.queries:
        return outcome(
            State.FAIL if case.unread else State.NOT_CHECKED,
            "history_refused" if case.unread else "no_history",
            case.unread,
        )
    if all(mapping(q.answer).get("status") != 200 for q in case.queries):
        return outcome(State.NOT_CHECKED, "trend_refused", reason_of(case.queries[0].answer))
    if api:
        return outcome(State.FAIL, "features_differ", names(api[:4]))
    later = further()
    if later is not None:
        return outcome(*later)
    if rows < limits["least_feature_rows"].value:
        return outcome(State.NOT_CHECKED, "nothing_in_windows")
    if case.look.fault is not None:  # named by tr.3; here it is why the page could not be compared
        _, reason, details = case.look.fault
        return outcome(State.NOT_CHECKED, reason, details)
    if not on_page:
        if case.look.browser is None:
            return outcome(State.NOT_CHECKED, "page_needs_browser", case.look.no_browser)
        return outcome(State.FAIL, "features_not_shown")
    if wrong:
        return outcome(State.FAIL, "page_differs", names(wrong[:4]))
    return outcome(State.PASS)


def judge_trend(case: TrendCase, *, limits: Thresholds, evidence: tuple[str, ...]) -> Outcome:
    """tr.5: at least two periods over a time axis whose ends are the asked ones, the slope recomputed."""
    spans = [_periods(q, tag, case.periods.get(tag, 1000)) for q in case.queries for tag in q.tags]
    widest = max(spans, default=0.0)
    main = case.main

    def axis() -> Judged | None:
        if widest < limits["least_periods"].value:
            return State.NOT_CHECKED, "trend_too_short", ""
        if main is None or case.look.fault is not None:
            return None
        for name, asked in (("from", main.span[0]), ("to", main.span[1])):
            said = case.look.said(name)
            if any(s != str(asked) for s in said):
                return State.FAIL, "axis_differs", f"{name} {said} ≠ {asked}"
            if not said and case.look.browser is not None:
                return State.FAIL, "axis_missing", name
        return None

    more = (
        figure("periods", widest, limits["least_periods"]),
        figure("axis", f"{main.span[0]}…{main.span[1]}" if main else None),
    )
    return _judge_figures(case, ("trend",), limits=limits, evidence=evidence, further=axis, more=more)


def _periods(query: Query, tag: str, period_ms: int) -> float:
    """How many periods of acquisition the points of a chart span."""
    points = ft.read_points(query.by_tag.get(tag, {}).get("points")) or []
    return (points[-1][0] - points[0][0]) / max(1, period_ms) if len(points) > 2 else 0.0
