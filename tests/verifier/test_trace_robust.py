"""Whatever a cloud answers, the check of history ends in a state of the plant's, never in an error of the verifier's."""

import copy
import random
from typing import Any

import pytest

from tests.verifier.paper_cloud import PaperCloud, PaperViewer, findings, observed
from verifier.criteria import device_mon_trace

JUNK: list[Any] = [None, True, -1, 1 << 60, 10**400, 1e308, "", "x" * 300, [], [[]], [None], {}, {"a": []}, [[1, 2, 3]]]
PATHS = ["/time", "/devices", "/coverage", "/history", "/features", "/trend", "/frames", "/ledger/proof"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_pause(_: float) -> None: ...

    monkeypatch.setattr(device_mon_trace, "pause", no_pause)
    monkeypatch.setattr("verifier.observing.history.pause", no_pause)


def spoil(data: Any, chance: random.Random) -> None:
    """Put junk somewhere into a JSON value, in place."""
    for _ in range(chance.randint(1, 12)):
        if isinstance(data, dict) and data:
            key: Any = chance.choice(sorted(data))
        elif isinstance(data, list) and data:
            key = chance.randrange(len(data))
        else:
            return
        if chance.random() < 0.35 or not isinstance(data[key], dict | list) or not data[key]:
            data[key] = copy.deepcopy(chance.choice(JUNK))
            return
        data = data[key]


@pytest.mark.parametrize("path", PATHS)
def test_junk_among_the_answers(path: str) -> None:
    for seed in range(6):
        chance = random.Random(f"{path}{seed}")
        cloud = PaperCloud(uids=("m1",), seconds=60)

        def spoiled(body: Any, chance: random.Random = chance) -> Any:
            if chance.random() < 0.5:
                spoil(body, chance)
            return body

        cloud.answers[path] = spoiled
        found = observed(cloud)
        assert [f.statement for f in findings(found) if f.state.value == "error"] == [], (path, seed)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", [{}, {"items": None, "tags": 3, "series": "x", "rows": {}, "devices": [1]}])
def test_a_body_that_is_something_else(path: str, body: Any) -> None:
    cloud = PaperCloud(uids=("m1",), seconds=60)
    cloud.answers[path] = lambda _: body
    said = {f.state.value for f in findings(observed(cloud))}
    assert "error" not in said
    assert said != {"pass"} or path == "/time"


@pytest.mark.parametrize("html", ["", "<html>" * 1000, "<body><div id=chart data-query=0 data-from=x data-to=y></div>"])
def test_a_page_that_is_something_else(html: str) -> None:
    cloud = PaperCloud(uids=("m1",), seconds=60)
    found = observed(cloud, PaperViewer(cloud, html=lambda _: html))
    assert {f.statement for f in findings(found) if f.state.value in ("fail", "not_checked")} >= {"tr.3", "tr.4"}


def test_a_history_of_a_few_seconds_is_too_short_to_check() -> None:
    cloud = PaperCloud(uids=("m1",), seconds=8)
    said = {f.statement: f"{f.state.value} {f.reason}" for f in findings(observed(cloud))}
    assert said["tr.1"] == "not_checked no_history"


def test_a_history_of_half_a_minute_is_checked() -> None:
    cloud = PaperCloud(uids=("m1",), seconds=35)
    assert {f.state.value for f in findings(observed(cloud))} == {"pass"}
