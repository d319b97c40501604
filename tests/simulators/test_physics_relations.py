"""The simulated machines obey the physical relations of their types, on values rounded to each tag's resolution."""

from collections.abc import Callable

import numpy as np
import pytest

from simulators.catalogue import SIMULATED, make_machine
from simulators.machine import Machine, PanelAction
from simulators.recording import Recording, record
from simulators.relations import check, examine

Action = Callable[[Machine], None]


def write(tag: str, value: float) -> Action:
    return lambda machine: machine.write(tag, value)


def panel(*actions: PanelAction) -> Action:
    return lambda machine: [machine.panel(a) for a in actions] and None


A = PanelAction
EVENTFUL: dict[str, dict[float, Action]] = {
    "industrial_boiler": {
        300: write("steam_pressure_sp", 1.02),
        900: write("steam_pressure_sp", 0.99),
        1500: write("o2_trim_sp", 4.0),
        1800: write("blowdown_valve_sp", 15.0),
        2100: write("blowdown_valve_sp", 10.0),
        2400: write("low_fire_hold_sp", 1.0),
        2435: write("low_fire_hold_sp", 0.0),
        3000: write("burner_max_load_sp", 75.0),
        3300: write("burner_max_load_sp", 100.0),
        4300: write("o2_trim_sp", 3.0),
        5000: write("run_sp", 0.0),
        5200: panel(A.START),
        7000: panel(A.EMERGENCY_STOP),
        7100: panel(A.RESET, A.START),
        8000: panel(A.LOCKOUT_ON),
        8100: panel(A.LOCKOUT_OFF, A.REMOTE_OFF),
    },
    "large_motor": {
        300: write("frequency_sp", 48.0),
        600: write("frequency_sp", 46.0),
        1200: write("frequency_sp", 50.0),
        1800: write("load_limit_sp", 70.0),
        2100: write("load_limit_sp", 60.0),
        2400: write("load_limit_sp", 100.0),
        3000: write("run_sp", 0.0),
        3100: write("run_sp", 1.0),
        3600: write("frequency_sp", 30.0),
        4500: write("run_sp", 0.0),
        4600: write("run_sp", 1.0),
        5200: write("frequency_sp", 50.0),
        5600: panel(A.EMERGENCY_STOP),
        5700: panel(A.RESET, A.START),
        6300: panel(A.LOCKOUT_ON),
        6400: panel(A.LOCKOUT_OFF),
    },
    "air_compressor": {
        300: write("unload_pressure_sp", 0.74),
        600: write("load_pressure_sp", 0.64),
        900: write("load_pressure_sp", 0.62),
        1000: write("unload_pressure_sp", 0.70),
        1500: write("load_enable_sp", 0.0),
        1510: write("load_enable_sp", 1.0),
        2000: write("load_enable_sp", 0.0),
        2200: write("load_enable_sp", 1.0),
        3600: write("run_sp", 0.0),
        4250: write("run_sp", 1.0),
        5600: panel(A.EMERGENCY_STOP),
        5700: panel(A.RESET),
        6250: panel(A.START),
        7000: panel(A.LOCKOUT_ON),
    },
    "photovoltaic": {
        300: write("power_limit_sp", 60.0),
        600: write("power_limit_sp", 30.0),
        900: write("power_limit_sp", 100.0),
        1200: write("power_factor_sp", 0.97),
        1500: write("power_factor_sp", 0.95),
        1800: write("power_factor_sp", 1.0),
        2400: write("conn_sp", 0.0),
        2414: write("conn_sp", 1.0),
        3000: write("power_limit_sp", 20.0),
        4500: panel(A.EMERGENCY_STOP),
        4600: panel(A.RESET, A.START),
        6000: panel(A.LOCKOUT_ON),
        6050: panel(A.LOCKOUT_OFF, A.START),
    },
    "cnc_machine": {
        300: write("feed_override_cap_sp", 80.0),
        340: write("feed_override_cap_sp", 60.0),
        360: write("feed_override_cap_sp", 40.0),
        380: write("feed_override_cap_sp", 20.0),
        400: write("feed_override_cap_sp", 1.0),
        420: write("feed_override_cap_sp", 0.0),
        440: write("feed_override_cap_sp", 20.0),
        460: write("feed_override_cap_sp", 100.0),
        600: write("spindle_override_cap_sp", 90.0),
        700: write("spindle_override_cap_sp", 80.0),
        900: write("spindle_override_cap_sp", 100.0),
        1200: write("feed_pause_sp", 1.0),
        1210: write("feed_pause_sp", 0.0),
        1300: write("feed_hold_sp", 1.0),
        1340: panel(A.START),
        1500: write("stop_after_part_sp", 1.0),
        2500: panel(A.START),
        3000: panel(A.EMERGENCY_STOP),
        3050: panel(A.RESET, A.START),
        4000: panel(A.LOCKOUT_ON),
        4050: panel(A.LOCKOUT_OFF, A.START),
    },
}


def counters_rise(machine: Machine, recording: Recording) -> None:
    for tag in machine.type.tags:
        if tag.kind == "c" and tag.id != "daily_energy":
            assert np.all(np.diff(recording.exact[tag.id]) >= 0.0), tag.id


@pytest.mark.parametrize("dt", [1.0, 0.37, 0.1])
@pytest.mark.parametrize("type_id", SIMULATED)
def test_relations_hold_through_steps_stops_starts_trips_and_lock_outs(type_id: str, dt: float) -> None:
    actions = EVENTFUL[type_id]
    if dt == 0.1:  # the first half will do
        actions = {at: action for at, action in actions.items() if at <= 2500.0}
    for seed in range(2 if dt == 1.0 else 1):
        machine = make_machine(type_id, "m1", seed)
        recording = record(machine, max(actions) + 1900.0, dt_s=dt, actions=actions)
        tested = {t.relation: t.tested for t in examine(machine.type, recording.times, recording.shown)}
        long = {"r4"} if type_id in ("large_motor", "air_compressor") else set[str]()
        if dt != 0.1:
            assert {r for r, n in tested.items() if n == 0} <= long
        assert check(machine.type, recording.times, recording.shown) == []
        counters_rise(machine, recording)


@pytest.mark.parametrize(
    ("type_id", "hours", "start_h"),
    [("large_motor", 5, 11), ("air_compressor", 25, 11), ("industrial_boiler", 4, 11), ("photovoltaic", 26, 3)],
)
def test_relations_hold_over_long_quiet_times(type_id: str, hours: float, start_h: float) -> None:
    machine = make_machine(type_id, "m2", 5, start_local_time_s=start_h * 3600.0)
    recording = record(machine, hours * 3600.0)
    assert [t.relation for t in examine(machine.type, recording.times, recording.shown) if t.tested == 0] in (
        [],
        ["r9"],
    )
    assert check(machine.type, recording.times, recording.shown) == []
    counters_rise(machine, recording)


@pytest.mark.parametrize("type_id", SIMULATED)
def test_a_machine_starts_running_near_its_normal_values_and_never_stands_still(type_id: str) -> None:
    machine = make_machine(type_id, "m3", 1)
    plate = machine.nameplate
    assert plate["maker"].startswith("SIMULATED") and plate["serial"] and plate["model"]
    run_state = machine.type.tag(machine.type.status.run_state)
    assert run_state.states[int(machine.values[run_state.id])].name == "running"
    recording = record(machine, 900.0)
    discrete = {"b", "e", "sp", "c"}
    steady = {
        "spindle_override",
        "feed_override",
        "starts_last_hour",
        "restart_wait",
        "power_limit_pct",
        "power_factor",
    }
    for tag in machine.type.tags:
        column = recording.shown[tag.id]
        assert np.all(np.isfinite(column)), tag.id
        if tag.kind not in discrete:
            assert tag.id in steady or tag.id in ("feed_programmed", "spindle_programmed") or np.ptp(column) > 0.0, (
                tag.id
            )
            wide = 0.25 * (tag.hi - tag.lo)
            assert min(0.0, tag.lo - wide) <= column.min() and column.max() <= tag.hi + wide, tag.id


def test_the_checker_finds_a_broken_law() -> None:
    machine = make_machine("large_motor", "m4", 0)
    recording = record(machine, 7200.0)
    broken = dict(recording.shown)
    broken["active_power"] = broken["active_power"].copy()
    broken["active_power"][3000] *= 1.05
    found = check(machine.type, recording.times, broken)
    assert [(v.relation, v.count, v.worst_s) for v in found] == [("r1", 1, 3001.0), ("r2", 1, 3001.0)]
    broken = dict(recording.shown) | {"energy": recording.shown["energy"] * 0.0}
    assert [v.relation for v in check(machine.type, recording.times, broken)] == ["r7"]


def test_after_s_and_window_rules() -> None:
    kind = make_machine("air_compressor", "m5").type
    times = np.arange(1.0, 121.0)
    machine = make_machine("air_compressor", "m5", 3)
    shown = dict(record(machine, 120.0).shown)
    shown["loaded"] = np.ones(120)
    shown["load_enable_sp"] = np.ones(120)
    shown["load_enable_sp"][50:53] = 0.0  # not yet three seconds
    assert "r9" not in {v.relation for v in check(kind, times, shown)}
    shown["load_enable_sp"][50:54] = 0.0
    assert ("r9", 1) in {(v.relation, v.count) for v in check(kind, times, shown)}
