"""The judge on paper, rt.2 and rt.3: the cloud shows what the machine says, or is found out."""

import struct
from typing import Any

import pytest

from tests.verifier import scene as s
from verifier.observing.machines import declared


def test_swapped_machines_are_found() -> None:
    found = s.scene("m1", "m2")
    for part in ("shown", "live"):
        found[f"{part}/m1"], found[f"{part}/m2"] = found[f"{part}/m2"], found[f"{part}/m1"]
    for uid in ("m1", "m2"):
        assert s.odd(found, uid) == {"rt.3": "fail values_differ"}


def swap_words(value: float) -> float:
    a, b, c, d = struct.unpack(">4H", struct.pack(">d", value))
    return struct.unpack(">d", struct.pack(">4H", b, a, d, c))[0]


def test_a_wrong_word_order_is_found() -> None:
    found = s.scene()
    s.show(found, "active_power", lambda v, _: swap_words(v))
    assert s.odd(found) == {"rt.3": "fail values_differ"}
    (finding,) = [f for f in s.findings(found) if f.statement == "rt.3"]
    assert {"worst_tag", "worst_outside"} <= {f.name for f in finding.figures}


@pytest.mark.parametrize("off", [1, -1])
def test_a_64_bit_counter_is_compared_exactly(off: int) -> None:
    found = s.scene()
    for read in found["machine/m1"]["reads"]["energy"]:
        read[2] = s.ENERGY
    for row in s.every_row(found, "energy"):
        row[-2] = s.ENERGY + off
    assert s.odd(found) == {"rt.3": "fail values_differ"}


REVIEW, FAIL = "review values_differ_once", "fail values_differ"


@pytest.mark.parametrize(
    ("wrong", "state"),
    [
        ((3,), REVIEW),
        ((3, 4), REVIEW),
        ((3, 4, 5), FAIL),
        ((3, 6, 9), REVIEW),  # it agrees in between: a question
        ((1, 2, 4, 5, 7, 8, 10, 11), FAIL),  # it agrees in between, but is wrong more often than right
    ],
)
def test_three_separate_moments_make_a_contradiction(wrong: tuple[int, ...], state: str) -> None:
    found = s.scene()
    times = [s.history_rows(found, "active_power")[i][0] for i in wrong]
    s.show(found, "active_power", lambda v, t: v + 100 if t in times else v)
    assert s.odd(found) == {"rt.3": state}


@pytest.mark.parametrize("way", ["history", "live", "latest"])
@pytest.mark.parametrize("tag", ["active_power", "energy", "remote_mode"])
def test_a_lie_on_one_way_of_showing_is_found_whatever_the_others_show(way: str, tag: str) -> None:
    found = s.scene()
    lie = {"active_power": -5000.0, "energy": 7, "remote_mode": False}[tag]
    rows = s.history_rows(found, tag)
    match way:
        case "history":
            for row in rows:
                row[-2] = lie
        case "live":
            for row in s.every_row(found, tag)[len(rows) :]:
                row[-2] = lie
        case _:
            for said in s.every_latest(found, tag):
                said["v"] = lie
    assert s.odd(found)["rt.3"] == FAIL


def test_a_latest_value_that_is_invented_at_the_end_is_a_question() -> None:
    found = s.scene()
    for late in (500, 700, 1600):  # the last is later than all reads
        found["shown/m1"]["latest"]["body"]["values"]["active_power"] = {"t": s.ENDED + late - 400, "v": -5e3, "q": 0}
        assert s.odd(found)["rt.3"] == REVIEW


def only_latest(found: dict[str, Any], tag: str) -> None:
    """Nothing of a tag in history or feed."""
    found["shown/m1"]["history"][tag][0]["body"]["rows"] = []
    for message in found["live/m1"]["messages"]:
        message["m"]["rows"] = [r for r in message["m"]["rows"] if r[0] != tag]


def test_values_invented_for_the_latest_page_only() -> None:
    found = s.scene()
    for tag, lie in (("active_power", 99999.0), ("energy", 99999), ("remote_mode", False)):
        only_latest(found, tag)
        for said in s.every_latest(found, tag):
            said["v"] = lie
    assert s.odd(found)["rt.3"] == FAIL
    for tag in ("active_power", "energy", "remote_mode"):
        s.forget_latest(found, tag)
    assert s.odd(found)["rt.3"] == REVIEW


def old_latest(found: dict[str, Any], tag: str, age_s: float, value: Any) -> None:
    """A tag that was acquired last before the watch."""
    only_latest(found, tag)
    for said in s.every_latest(found, tag):
        said |= {"t": s.T0 - round(age_s * 1000), "v": value}


def test_a_slow_tag_is_held_against_the_first_reads() -> None:
    found = s.scene()
    old_latest(found, "energy", 40, s.ENERGY - 40)  # period 60 s, counts one a second
    assert s.odd(found) == {}
    old_latest(found, "energy", 40, s.ENERGY - 4000)
    assert s.odd(found) == {"rt.3": REVIEW}


@pytest.mark.parametrize(("age_s", "odd"), [(30, {}), (55, {"rt.3": REVIEW})])
def test_what_jumped_before_the_watch_need_not_be_known_before_it_is_due(age_s: float, odd: dict[str, str]) -> None:
    found = s.scene()
    found["scope"]["machines"]["m1"]["tags"]["winding_temp_u"]["period_ms"] = 60_000
    for read in found["machine/m1"]["reads"]["winding_temp_u"]:
        read[2] = 0.0
    old_latest(found, "winding_temp_u", age_s, 80.0)
    assert s.odd(found) == odd


def test_what_jumps_after_the_last_read_is_nobodys_fault() -> None:
    found = s.scene()
    found["scope"]["machines"]["m1"]["tags"]["winding_temp_u"]["period_ms"] = 30_000
    for read in found["machine/m1"]["reads"]["winding_temp_u"]:
        read[2] = 0.0
    old_latest(found, "winding_temp_u", 15, 0.0)
    after = found["machine/m1"]["reads"]["winding_temp_u"][-1][1] + 40
    rows = s.every_row(found, "winding_temp_u")
    assert rows == []
    found["shown/m1"]["history"]["winding_temp_u"][0]["body"]["rows"] = [[after, 80.0, 0]]
    assert s.odd(found) == {}


def compared(found: dict[str, Any]) -> dict[str, Any]:
    (finding,) = [f for f in s.findings(found) if f.statement == "rt.3"]
    return {f.name: f.value for f in finding.figures}


def test_what_could_not_be_compared_is_named() -> None:
    found = s.scene()
    old_latest(found, "energy", 4000, s.ENERGY - 4000)
    found["scope"]["machines"]["m1"]["tags"]["energy"]["period_ms"] = 3_600_000
    found["machine/m1"]["reads"]["winding_temp_u"] = found["machine/m1"]["reads"]["winding_temp_u"][:2]
    assert s.odd(found) == {}
    assert compared(found)["not_compared"] == "winding_temp_u"
    assert compared(found)["compared"] == 4


def test_a_machine_of_which_most_could_not_be_compared_is_a_question() -> None:
    found = s.scene()
    tags = found["scope"]["machines"]["m1"]["tags"]
    tags["energy"]["kind"] = "analogue"
    for tag in ("winding_temp_u", "energy"):
        found["machine/m1"]["reads"][tag] = found["machine/m1"]["reads"][tag][:2]
    assert s.odd(found) == {"rt.3": "review few_compared"}


def in_future(found: dict[str, Any], tag: str, count: int, by_ms: int = 86_400_000) -> None:
    """The last `count` rows of a tag in history are stamped ahead, and carry something else."""
    for row in s.history_rows(found, tag)[-count:]:
        row[0], row[1] = row[0] + by_ms, 12345


@pytest.mark.parametrize(("count", "state"), [(1, "review"), (2, "review"), (3, "fail"), (9, "fail")])
def test_samples_from_the_future(count: int, state: str) -> None:
    found = s.scene()
    in_future(found, "active_power", count)
    assert s.odd(found) == {"rt.3": f"{state} stamped_in_future"}
    assert compared(found)["stamped_in_future"] == count


def test_garbage_stamped_a_day_ahead_on_every_way() -> None:
    found = s.scene()
    for tag in ("active_power", "energy", "remote_mode"):
        s.show(found, tag, lambda *_: 12345)
        for row in s.every_row(found, tag):
            row[-3] += 86_400_000
        for said in s.every_latest(found, tag):
            said["t"] += 86_400_000
    assert s.odd(found)["rt.3"] == "fail stamped_in_future"


def test_a_clock_ahead_that_was_measured_is_no_future() -> None:
    assert s.odd(s.scene(edge_clock=4000)) == {}


def test_a_clock_that_could_not_be_measured_accuses_nobody() -> None:
    found = s.scene(edge_clock=3_600_000)
    found[f"edge/{s.EDGE}"]["echo"] = None
    assert "fail" not in "".join(s.odd(found).values())
    assert s.odd(found)["rt.3"] == "review stamped_in_future"


def test_a_clock_that_stepped_during_the_watch_accuses_nobody() -> None:
    found = s.scene()
    edge = found[f"edge/{s.EDGE}"]
    step, since = 3_600_000, s.T0 + 8000
    late = s.challenge(clock=step)
    edge["closing"] = {"nonce": late["nonce"], "sent_ms": late["sent_ms"], "echo": late["echo"]}
    for point in s.POINTS:
        for row in s.every_row(found, point.tag):
            row[-3] += step if row[-3] > since else 0
        for said in s.every_latest(found, point.tag):
            said["t"] += step if said["t"] > since else 0
    assert "fail" not in "".join(s.odd(found).values())


def pulse(t: float, width_ms: int = 100) -> bool:
    """100 ms each second, just when the edge scans."""
    return 250 <= (t - s.T0) % 1000 < 250 + width_ms


@pytest.mark.parametrize("tag", ["remote_mode", "active_power"])
@pytest.mark.parametrize("seed", range(6))
def test_an_honest_pulse_in_step_with_the_edges_scan_is_a_question(tag: str, seed: int) -> None:
    found = s.scene()
    high, low = (True, False) if tag == "remote_mode" else (200.0, 0.0)
    reads = [[t, t + 20, high if pulse(t + 10) else low, ""] for t in s.read_times(seed)]
    found["machine/m1"]["reads"][tag] = reads
    s.show(found, tag, lambda _, t: high if pulse(t) else low)
    assert s.odd(found).get("rt.3", REVIEW) == REVIEW


def test_a_noisy_sensor_is_not_accused() -> None:
    found = s.scene()
    noise = [0.7, -1.1, 0.2, 1.3, -0.4, -0.9, 0.5, 1.0, -1.2, 0.1]
    for i, read in enumerate(found["machine/m1"]["reads"]["active_power"]):
        read[2] += noise[i % 10]
    for row in s.every_row(found, "active_power"):
        row[-2] += noise[(row[-3] // 1000) % 10]
    for said in s.every_latest(found, "active_power"):
        said["v"] += noise[(said["t"] // 1000) % 10]
    assert s.odd(found) == {}


def test_a_scale_that_is_wrong_by_ten_per_cent_is_found() -> None:
    found = s.scene()
    for row in s.every_row(found, "winding_temp_u"):
        row[-2] *= 1.1
    assert s.odd(found) == {"rt.3": "fail values_differ"}


def test_a_resolution_declared_absurdly_coarse_excuses_nothing() -> None:
    found = s.scene()
    for spec in found["cloud"]["devices"]["body"]["devices"][0]["tags"]:
        spec["resolution"] = "1000"
    for row in s.every_row(found, "winding_temp_u"):
        row[-2] *= 1.1
    assert s.odd(found) == {"rt.3": "fail values_differ"}


@pytest.mark.parametrize("half_ms", [300, 700, 1000, 1100])
@pytest.mark.parametrize("seed", range(5))
def test_an_honest_heartbeat_bit_is_not_accused(half_ms: int, seed: int) -> None:
    """Faster than the verifier reads, it may be a question."""
    found = s.scene()

    def beat(t: float) -> bool:
        return int((t - s.T0) // half_ms) % 2 == 0

    found["machine/m1"]["reads"]["remote_mode"] = [[t, t + 20, beat(t + 10), ""] for t in s.read_times(seed)]
    s.show(found, "remote_mode", lambda _, t: beat(t))
    assert s.odd(found) in (({}, {"rt.3": REVIEW}) if half_ms < 500 else ({},))


def declare(found: dict[str, Any], tag: str, **fields: Any) -> None:
    """What the cloud says of a tag."""
    found["cloud"]["devices"]["body"]["devices"][0]["tags"][[p.tag for p in s.POINTS].index(tag)] |= fields


def listed(found: dict[str, Any], tag: str) -> dict[str, Any]:
    """What the plant's signed list and the catalogue say of a tag."""
    return found["scope"]["machines"]["m1"]["tags"][tag]


def test_a_deadband_that_hides_everything_is_a_question() -> None:
    found = s.scene()
    declare(found, "winding_temp_u", deadband=1e9)
    assert s.odd(found) == {"rt.3": "review deadband_wide"}


def test_a_deadband_that_the_cloud_declares_excuses_no_counter() -> None:
    found = s.scene()
    declare(found, "energy", deadband=1e18)
    s.show(found, "energy", lambda *_: 3)
    assert s.odd(found)["rt.3"] == FAIL


def test_a_resolution_that_only_the_cloud_declares_excuses_nothing() -> None:
    found = s.scene()
    declare(found, "active_power", resolution="1e9")
    listed(found, "active_power")["resolution"] = None
    s.show(found, "active_power", lambda *_: 6150.0)
    assert s.odd(found)["rt.3"] == FAIL


@pytest.mark.parametrize(
    ("in_list", "in_cloud", "off", "state"),
    [
        (None, 0.7, 0.6, None),  # up to 1 % of the range of 80 degrees
        (None, 4.0, 4.0, FAIL),
        (2.0, 2.0, 1.9, None),
        (2.0, 0.0, 1.9, FAIL),
        (0.0, 0.7, 0.6, FAIL),
        (2.0, 5.0, 1.9, "review deadband_wide"),
    ],
)
def test_the_smaller_deadband_of_list_and_cloud_counts(
    in_list: float | None, in_cloud: float, off: float, state: str | None
) -> None:
    found = s.scene()
    listed(found, "winding_temp_u")["deadband"] = in_list
    declare(found, "winding_temp_u", deadband=in_cloud)
    s.show(found, "winding_temp_u", lambda v, _: v + off)
    assert s.odd(found) == ({"rt.3": state} if state else {})


def test_the_signed_list_names_deadband_and_protocol() -> None:
    points = [s.POINTS[0].model_copy(update={"deadband": 0.5}), *s.POINTS[1:]]
    said = declared(s.machine("m1").model_copy(update={"points": points}))
    assert said["protocol"] == "modbus_tcp"
    assert [tag["deadband"] for tag in said["tags"].values()] == [0.5, None, None, None, None]


def test_a_declared_tag_that_the_cloud_does_not_have() -> None:
    found = s.scene()
    tags = found["cloud"]["devices"]["body"]["devices"][0]["tags"]
    tags.remove(next(t for t in tags if t["id"] == "winding_temp_u"))
    assert s.odd(found) == {"rt.3": "fail tags_missing"}


def test_a_declared_tag_that_the_cloud_never_shows() -> None:
    found = s.scene()
    for row in s.every_row(found, "winding_temp_u"):
        row[-2], row[-1] = None, 0xA082
    for said in s.every_latest(found, "winding_temp_u"):
        said |= {"v": None, "q": 0xA082}
    assert s.odd(found) == {"rt.3": "fail tags_not_shown"}


def test_a_wrong_run_state_fails_both_that_show_it() -> None:
    found = s.scene()
    for row in s.every_row(found, "run_state"):
        row[-2] = 0
    assert s.odd(found) == {"rt.2": "fail state_differs", "rt.3": "fail values_differ"}


def test_a_run_state_without_a_name_is_a_question() -> None:
    found = s.scene()
    s.show(found, "run_state", lambda *_: 77)
    for read in found["machine/m1"]["reads"]["run_state"]:
        read[2] = 77
    assert s.odd(found) == {"rt.2": "review state_unknown"}


def test_the_run_state_is_named() -> None:
    (finding,) = [f for f in s.findings(s.scene()) if f.statement == "rt.2"]
    assert any(f.name == "state" and "running" in str(f.value) and "运行" in str(f.value) for f in finding.figures)


def only_before(found: dict[str, Any], tag: str, value: Any) -> None:
    """The tag last changed before the watch, as a source that reports changes only would have it."""
    found["scope"]["machines"]["m1"]["protocol"] = "opcua"
    old_latest(found, tag, 60, value)


def test_a_constant_that_was_reported_long_ago_is_compared_too() -> None:
    found = s.scene()
    only_before(found, "remote_mode", True)
    assert s.odd(found) == {}


def test_a_constant_that_was_never_the_machines_is_found() -> None:
    found = s.scene()
    only_before(found, "remote_mode", False)
    assert s.odd(found) == {"rt.3": REVIEW, "rt.4": "fail stale_shown_good"}
