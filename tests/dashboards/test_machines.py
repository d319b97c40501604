"""How a machine and its values are read: pure functions of what the API answers."""

from typing import Any

import pytest
from markupsafe import Markup

from dashboards import machines, markup
from telemetry.equipment import equipment_types
from telemetry.samples import Quality, Reason, quality


def device(kind: str = "industrial_boiler", uid: str = "b-1") -> dict[str, Any]:
    tags = [
        {
            "id": tag.id,
            "kind": "bool" if tag.kind == "b" else "enum" if tag.kind == "e" else "float",
            "unit": tag.unit,
            "resolution": tag.resolution_text,
            "period_ms": int(tag.period_s * 1000),
        }
        for tag in equipment_types()[kind].tags
    ]
    return {"uid": uid, "name": uid, "type": kind, "edge": "e", "simulated": True, "last_ms": None, "tags": tags}


def card(values: dict[str, Any], *, alarms: list[dict[str, Any]] | None = None, now_ms: int = 1000, uid: str = "b-1"):
    return machines.machine_view(device(uid=uid), values, alarms or [], language="zh", now_ms=now_ms)


def test_values_are_read_as_their_tag_says() -> None:
    values = {
        "steam_pressure": {"t": 1, "v": 1.00004, "q": 0},
        "run_state": {"t": 1, "v": 3, "q": 0},
        "flame_on": {"t": 1, "v": True, "q": 0},
        "flue_o2": {"t": 1, "v": None, "q": quality(Quality.BAD, Reason.NO_REPLY, has_value=False)},
    }
    views = machines.tag_views(device(), values, "zh")
    assert [views[name].text for name in values] == ["1.0000", "运行", "是", "—"]
    assert [views[name].severity for name in values] == ["good", "good", "good", "none"]
    assert views["flue_o2"].reason == "设备无应答"
    assert machines.tag_views(device(), values, "en")["flame_on"].text == "yes"


def test_every_tag_is_in_one_group() -> None:
    for kind in equipment_types():
        views = machines.tag_views(device(kind), {}, "zh")
        rows = [view.id for _, some in machines.groups(device(kind), views) for view in some]
        assert sorted(rows) == sorted(views)
        assert set(machines.KEY_TAGS[kind]) <= views.keys()


def test_an_unknown_type_is_shown_all_the_same() -> None:
    unknown = device() | {"type": "toaster"}
    views = machines.tag_views(unknown, {"steam_pressure": {"t": 1, "v": 2.5, "q": 0}}, "zh")
    assert [title for title, _ in machines.groups(unknown, views)] == [machines.OTHERS]
    view = machines.machine_view(unknown, {}, [], language="zh", now_ms=0)
    assert view.run is None and view.stale and len(view.key) == 4


def test_worst_comes_first() -> None:
    fresh = {"steam_pressure": {"t": 1000, "v": 1.0, "q": 0}, "run_state": {"t": 1000, "v": 3, "q": 0}}
    urgent, low = ({"device": "b-1", "state": "active", "priority": one} for one in (1, 4))
    order = [
        card(fresh, alarms=[urgent]),
        card(fresh, now_ms=60_000),  # stale
        card(fresh | {"run_state": {"t": 1000, "v": 6, "q": 0}}),  # fault
        card(fresh, alarms=[low]),
        card(fresh | {"flue_o2": {"t": 1000, "v": None, "q": 0xA002}}),
        card(fresh),
    ]
    assert [one.worst for one in order] == sorted(one.worst for one in order)
    assert len({one.worst for one in order}) == len(order)


def test_the_pointer_stands_within_the_typical_range_for_normal_values() -> None:
    boiler = equipment_types()["industrial_boiler"]
    values = {tag.id: {"t": 1, "v": tag.normal, "q": 0} for tag in boiler.tags}
    for view in machines.tag_views(device(), values, "zh").values():
        if view.lo is not None:
            assert 24 <= view.needle <= 74, view.id
    values = {"steam_pressure": {"t": 1, "v": 99.0, "q": 0}}
    assert machines.tag_views(device(), values, "zh")["steam_pressure"].needle == 98.0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mg/m3", "mg/m<sup>3</sup>"),
        ("kW/(m3/min)", "kW/(m<sup>3</sup>/min)"),
        ("degC", "℃"),
        ("", ""),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_units(text: str, shown: str) -> None:
    assert markup.unit(text) == Markup(shown)


def test_formulas() -> None:
    assert markup.chemical("烟气NOx(折算3.5%O2)") == Markup("烟气NO<sub>x</sub>(折算3.5%O<sub>2</sub>)")
    assert markup.chemical("炉顶煤气CO2") == Markup("炉顶煤气CO<sub>2</sub>")
    assert markup.chemical("烟气CO <i>") == Markup("烟气CO &lt;i&gt;")
