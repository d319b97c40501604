"""rt.4 and rt.5 judge the page's own live feed where the plan names a page."""

from typing import Any

import pytest

from tests.verifier import scene as s


def with_page(**said: Any) -> dict[str, Any]:
    found = s.scene()
    found["page"] = {"planned": True, "fault": "", "details": "", "live": "/live"} | said
    return found


def test_a_page_whose_feed_was_heard_is_judged_as_ever() -> None:
    assert s.odd(with_page()) == {}
    silent = with_page()
    silent["live/m1"]["messages"] = silent["live/m1"]["messages"][:1]
    assert s.odd(silent) == {"rt.5": "fail no_messages"}


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"fault": "page_unreachable", "feed": "page_unreachable"}, "fail page_unreachable"),
        ({"fault": "page_login_refused", "feed": "page_login_refused"}, "not_checked page_login_refused"),
        ({"feed": "page_not_live"}, "fail page_not_live"),
        ({"feed": "page_live_elsewhere"}, "fail page_live_elsewhere"),
        ({"feed": "InvalidStatus"}, "fail feed_refused"),
    ],
)
def test_a_page_without_a_feed_does_not_pass_by_the_api(said: dict[str, Any], outcome: str) -> None:
    """What the API's feed brought still serves for the values."""
    found = with_page(**said)
    assert s.odd(found) == {"rt.5": outcome}
    assert s.blocked(found) == {"rt.4": "rt.5"}


def test_without_a_page_in_the_plan_the_api_is_listened_to() -> None:
    found = s.scene()
    found["page"] = {"planned": False}
    assert s.odd(found) == {}
