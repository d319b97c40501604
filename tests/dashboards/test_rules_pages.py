"""The rule pages, and the form behind them."""

from typing import Any

import pytest

from cloud.alarms.rules import RuleBody
from dashboards.pages import rule_form
from tests.cloud.conftest import House, house
from tests.dashboards.pages_kit import application, browser, marked

__all__ = ["house"]

TAGS = ("p", "n")
GOOD: dict[str, Any] = {
    "scope": "device:edge-1-boiler",
    "tag": "p",
    "zh": "压力高",
    "kind": "limit",
    "high": "90",
    "priority": "2",
    "enabled": "1",
}


def read(**fields: str) -> tuple[RuleBody | None, dict[str, str]]:
    form = {name: [value] for name, value in (GOOD | fields).items()}
    return rule_form.read(form, tags=TAGS, channels=())


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ({"high": "abc"}, "high", rule_form.NUMBER),
        ({"high": "nan"}, "high", rule_form.NUMBER),
        ({"high": ""}, "high", rule_form.NO_LIMIT),
        ({"high_high": "80"}, "high_high", rule_form.ORDER_HIGH),
        ({"low": "1", "low_low": "2"}, "low_low", rule_form.ORDER_LOW),
        ({"low": "95"}, "low", rule_form.ORDER_BOTH),
        ({"zh": " "}, "zh", rule_form.NEEDED),
        ({"tag": "gone"}, "tag", rule_form.NO_TAG),
        ({"scope": ""}, "scope", rule_form.NO_SCOPE),
        ({"delay_s": "-1"}, "delay_s", rule_form.ONE_DAY),
        ({"hysteresis": "-1"}, "hysteresis", rule_form.NOT_NEGATIVE),
        ({"inhibit": "n =="}, "inhibit", rule_form.BAD_INHIBIT),
        ({"inhibit": "gone == 1"}, "inhibit", rule_form.NO_TAG),
        ({"kind": "state", "states": "a"}, "states", rule_form.WHOLE),
        ({"kind": "rate"}, "rate_per_s", rule_form.NEEDED),
        ({"kind": "stale", "stale_s": "0"}, "stale_s", rule_form.STALE_RANGE),
        ({"priority": "9"}, "priority", rule_form.BAD_PRIORITY),
        ({"channels": "gone"}, "channels", rule_form.BAD_CHANNEL),
    ],
)
def test_what_is_wrong_is_said_at_its_field(fields: dict[str, str], place: str, message: str) -> None:
    body, errors = read(**fields)
    assert body is None and errors[place] == message


def test_a_rule_survives_its_form() -> None:
    body, errors = read(high="90.5", high_high="95", delay_s="3", inhibit="n == 1")
    assert body is not None and not errors
    shown = rule_form.fields_of(body)
    again, errors = rule_form.read(
        {n: v if isinstance(v, list) else [v] for n, v in shown.items() if v not in (False, "")} | {"enabled": ["1"]},
        tags=TAGS,
        channels=(),
    )
    assert again == body and not errors


def test_limits_of_another_kind_are_not_kept() -> None:
    body, _ = read(kind="rate", rate_per_s="5")
    assert body is not None and body.high is None and body.rate_per_s == 5


async def test_a_rule_is_made_changed_paused_and_retired(house: House) -> None:
    await house.commit(1.0, at_ms=1_700_000_000_000)
    app = application(house)
    async with browser(app, house, "engineer") as one:
        made = await one.post("/rules", **GOOD)
        assert made.status_code == 303, made.text
        rule = made.headers["location"].removeprefix("/rules/").partition("?")[0]
        wrong = await one.post(f"/rules/{rule}", **GOOD | {"high": "x"}, if_version="1")
        assert wrong.status_code == 422 and 'id="error-high"' in wrong.text
        assert (await one.post(f"/rules/{rule}", **GOOD | {"high": "91"}, if_version="1")).status_code == 303
        late = await one.post(f"/rules/{rule}", **GOOD, if_version="1")
        assert late.status_code == 409
        assert (await one.post(f"/rules/{rule}/enabled", enabled="0")).status_code == 303
        assert (await one.post(f"/rules/{rule}/retire")).status_code == 303
        page = (await one.get(f"/rules/{rule}")).text
        assert marked(page, "version") == ["4", "3", "2", "1"]
        assert "<del>90</del>" in page and "<ins>91</ins>" in page and 'id="save"' not in page
        assert rule not in marked((await one.get("/rules")).text, "rule")
        assert rule in marked((await one.get("/rules?retired=true")).text, "rule")


async def test_a_viewer_sees_rules_but_cannot_change_them(house: House) -> None:
    await house.commit(1.0, at_ms=1_700_000_000_000)
    app = application(house)
    async with browser(app, house, "engineer") as one:
        made = await one.post("/rules", **GOOD)
        rule = made.headers["location"].removeprefix("/rules/").partition("?")[0]
    async with browser(app, house, "viewer") as one:
        page = await one.get(f"/rules/{rule}")
        assert page.status_code == 200 and 'id="save"' not in page.text
        for path in ("/rules", f"/rules/{rule}", f"/rules/{rule}/enabled", f"/rules/{rule}/retire"):
            assert (await one.post(path, **GOOD)).status_code == 403
        assert (await one.get("/rules/new")).status_code == 403
