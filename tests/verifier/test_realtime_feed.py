"""The judge on paper, rt.4 and rt.5: real time and push."""

import copy
from typing import Any

import pytest

from tests.verifier import scene as s


def drop_after(found: dict[str, Any], tag: str, seconds: int) -> None:
    """The cloud's values of a tag end early, and the last stays on the screen as good."""
    end = s.T0 + seconds * 1000
    rows = [r for r in s.history_rows(found, tag) if r[0] <= end]
    found["shown/m1"]["history"][tag][0]["body"]["rows"] = rows
    for message in found["live/m1"]["messages"]:
        message["m"]["rows"] = [r for r in message["m"]["rows"] if r[0] != tag or r[1] <= end]
    for said in s.every_latest(found, tag):
        if said["t"] > end:
            said |= {"t": rows[-1][0], "v": rows[-1][1], "q": 0}


def test_a_stale_value_shown_as_good_fails_real_time() -> None:
    found = s.scene()
    drop_after(found, "active_power", 4)
    assert s.odd(found) == {"rt.4": "fail stale_shown_good"}


def test_a_constant_that_is_not_refreshed_is_a_question() -> None:
    found = s.scene()
    drop_after(found, "remote_mode", 4)
    assert s.odd(found) == {"rt.4": "review not_refreshed"}


def test_a_constant_reported_by_exception_is_in_order() -> None:
    found = s.scene()
    drop_after(found, "remote_mode", 4)
    found["scope"]["machines"]["m1"]["protocol"] = "opcua"
    assert s.odd(found) == {}


def test_the_cloud_does_not_decide_what_is_reported_by_exception() -> None:
    found = s.scene()
    drop_after(found, "remote_mode", 4)
    found["cloud"]["devices"]["body"]["devices"][0]["tags"][4]["source_time"] = True
    assert s.odd(found) == {"rt.4": "review not_refreshed"}


def test_a_change_just_before_the_end_is_not_yet_due() -> None:
    """Reported by exception, old, and changed a moment before the watch ended or just after it."""
    for early_ms in (1500, 100, -500):
        found = s.scene()
        found["scope"]["machines"]["m1"]["protocol"] = "opcua"
        drop_after(found, "remote_mode", 4)
        for read in found["machine/m1"]["reads"]["remote_mode"]:
            read[2] = read[0] < s.ENDED - early_ms
        assert s.odd(found) == {}
    for read in found["machine/m1"]["reads"]["remote_mode"]:
        read[2] = read[0] < s.ENDED - 6000
    assert s.odd(found) == {"rt.4": "fail stale_shown_good"}


def test_what_lies_within_the_deadband_that_the_cloud_declares_is_a_question() -> None:
    found = s.scene()
    drop_after(found, "active_power", 4)
    found["cloud"]["devices"]["body"]["devices"][0]["tags"][0]["deadband"] = 60.0
    assert s.odd(found) == {"rt.3": "review deadband_wide", "rt.4": "review not_refreshed"}


def test_late_messages_fail_real_time() -> None:
    found = s.scene()
    for entry in found["live/m1"]["messages"]:
        entry["at"] += 5000
    found["live/m1"] |= {"unsubscribed_ms": s.T0 + 21_000, "closed_ms": s.T0 + 30_000}
    assert s.odd(found)["rt.4"] == "fail newest_too_old"


def test_a_slow_path_fails_by_its_percentile() -> None:
    found = s.scene()
    for entry in found["live/m1"]["messages"]:
        entry["at"] += 4500
    found["live/m1"] |= {"unsubscribed_ms": s.T0 + 18_800, "closed_ms": s.T0 + 30_000}
    assert s.odd(found) == {"rt.4": "fail latency_high"}


def test_the_clouds_clock_an_hour_off_is_review_of_real_time_only() -> None:
    found = s.scene("m1", "m2", cloud_clock=3_600_000)
    for uid in ("m1", "m2"):
        assert s.odd(found, uid) == {"rt.4": "review clock_offset"}


def test_the_edges_clock_an_hour_off_is_review_of_real_time_only() -> None:
    assert s.odd(s.scene(edge_clock=-3_600_000)) == {"rt.4": "review clock_offset"}


def test_three_seconds_off_is_a_note() -> None:
    found = s.scene(edge_clock=3000)
    assert s.odd(found) == {}
    (finding,) = [f for f in s.findings(found) if f.statement == "rt.4"]
    assert any(f.name == "clock_edge_s" and f.value == pytest.approx(3.0, abs=0.1) for f in finding.figures)


def test_an_edge_that_lies_about_its_clock_to_hide_a_delay_is_found() -> None:
    """Values a minute old under a clock that claims to be right."""
    found = s.scene()
    for point in s.POINTS:
        s.show(found, point.tag, lambda _, t, tag=point.tag: s.true_value(tag, t - 60_000))
    assert s.odd(found) == {"rt.3": "fail values_differ"}


def test_a_hole_in_the_sequence() -> None:
    found = s.scene()
    del found["live/m1"]["messages"][5]
    assert s.odd(found) == {"rt.5": "fail sequence_holes"}
    assert s.blocked(found) == {"rt.4": "rt.5"}


def test_a_message_sent_twice() -> None:
    found = s.scene()
    messages = found["live/m1"]["messages"]
    messages.insert(5, copy.deepcopy(messages[5]))
    assert s.odd(found) == {"rt.5": "fail sequence_holes"}


def change_rows(found: dict[str, Any], change: Any) -> None:
    """Every row of every data message but the first."""
    for entry in found["live/m1"]["messages"][2:]:
        entry["m"]["rows"] = [row for r in entry["m"]["rows"] if (row := change(list(r))) is not None]


def test_heartbeats_dressed_up_as_rows_do_not_count() -> None:
    found = s.scene()
    change_rows(found, lambda r: ["heartbeat", *r[1:]])
    assert s.odd(found)["rt.5"] == "fail messages_repeat"


def test_rows_without_a_value_do_not_count() -> None:
    found = s.scene()
    change_rows(found, lambda r: [r[0], r[1], None, 0])
    assert s.odd(found)["rt.5"] == "fail messages_repeat"


def test_rows_from_the_future_do_not_count() -> None:
    found = s.scene()
    change_rows(found, lambda r: [r[0], r[1] + 3_600_000, *r[2:]])
    assert s.odd(found)["rt.5"] == "fail messages_repeat"


@pytest.mark.parametrize(
    ("pushed", "state"),
    [
        (("winding_temp_u",), "fail tags_not_pushed"),
        (("winding_temp_u", "energy"), "review tags_not_pushed"),
        (("winding_temp_u", "energy", "active_power"), None),
    ],
)
def test_a_feed_that_leaves_out_what_changed(pushed: tuple[str, ...], state: str | None) -> None:
    found = s.scene()
    for tag in found["scope"]["machines"]["m1"]["tags"].values():
        tag["period_ms"] = 1000
    for entry in found["live/m1"]["messages"]:
        entry["m"]["rows"] = [r for r in entry["m"]["rows"] if r[0] in pushed]
    assert s.odd(found) == ({"rt.5": state} if state else {})


def test_a_feed_of_one_moving_tag_does_not_pass_at_the_catalogues_periods_either() -> None:
    found = s.scene()
    for entry in found["live/m1"]["messages"]:
        entry["m"]["rows"] = [r for r in entry["m"]["rows"] if r[0] == "winding_temp_u"]
    assert s.odd(found) == {"rt.5": "fail tags_not_pushed"}


def test_a_question_about_push_does_not_block_real_time() -> None:
    found = s.scene()
    found["live/m1"]["closed_ms"] = found["live/m1"]["unsubscribed_ms"] + 500
    assert s.odd(found) == {"rt.5": "review silence_not_heard"}
    assert s.blocked(found) == {}


def test_data_after_unsubscribing() -> None:
    found = s.scene()
    ended = found["live/m1"]["unsubscribed_ms"]
    found["live/m1"]["messages"].append({"at": ended + 2500, "m": {"type": "data", "seq": 15, "rows": []}})
    assert s.odd(found) == {"rt.5": "fail not_silent_after_unsubscribe"}


def test_a_message_under_way_when_the_subscription_ended_is_in_order() -> None:
    found = s.scene()
    ended = found["live/m1"]["unsubscribed_ms"]
    found["live/m1"]["messages"].append({"at": ended + 900, "m": {"type": "data", "seq": 15, "rows": []}})
    assert s.odd(found) == {}


def test_messages_that_repeat_the_same_samples_do_not_count() -> None:
    found = s.scene()
    first = found["live/m1"]["messages"][1]["m"]["rows"]
    for entry in found["live/m1"]["messages"][2:]:
        entry["m"]["rows"] = copy.deepcopy(first)
    assert s.odd(found)["rt.5"] == "fail messages_repeat"


def test_no_messages_fail_push_and_block_real_time() -> None:
    found = s.scene()
    found["live/m1"]["messages"] = found["live/m1"]["messages"][:1]
    assert s.odd(found) == {"rt.5": "fail no_messages"}
    assert s.blocked(found) == {"rt.4": "rt.5"}


def test_a_feed_that_cannot_be_opened() -> None:
    found = s.scene()
    found["live/m1"] = {"reason": "InvalidStatus", "subscribed_ms": None, "unsubscribed_ms": None, "messages": []}
    assert s.odd(found) == {"rt.5": "fail feed_refused"}
