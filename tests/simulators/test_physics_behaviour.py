"""What a simulated machine lets happen to itself: refused writes, lock-out, trips, single requests, repeatability."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.catalogue import SIMULATED, make_machine
from simulators.machine import Machine, PanelAction, PanelRefused, WriteRefused
from simulators.recording import record
from simulators.sun import tilted_irradiance

A = PanelAction
RUN = {"industrial_boiler": "run_sp", "large_motor": "run_sp", "air_compressor": "run_sp", "photovoltaic": "conn_sp"}


def state(machine: Machine) -> str:
    tag = machine.type.tag(machine.type.status.run_state)
    return tag.states[int(machine.values[tag.id])].name


def some_setpoint(machine: Machine) -> tuple[str, float]:
    control = next(c for c in machine.type.controls if c.kind == "setpoint")
    return control.write, machine.values[control.write]


@pytest.mark.parametrize("type_id", SIMULATED)
def test_every_tag_is_there_from_the_start(type_id: str) -> None:
    machine = make_machine(type_id, "m1")
    assert set(machine.values) == {t.id for t in machine.type.tags}
    machine.step(1.0)
    assert set(machine.values) == {t.id for t in machine.type.tags}
    assert all(isinstance(v, float) for v in machine.values.values())


@pytest.mark.parametrize("type_id", SIMULATED)
def test_the_same_seed_gives_the_same_values_and_another_does_not(type_id: str) -> None:
    def run(uid: str, seed: int) -> list[dict[str, float]]:
        machine = make_machine(type_id, uid, seed)
        rows: list[dict[str, float]] = []
        for _ in range(50):
            machine.step(0.7)
            rows.append(dict(machine.values))
        return rows

    assert run("m1", 7) == run("m1", 7)
    assert run("m1", 7) != run("m1", 8)
    assert run("m1", 7) != run("m2", 7)


@pytest.mark.parametrize("type_id", SIMULATED)
def test_the_length_of_a_step_does_not_change_the_machine(type_id: str) -> None:
    means: dict[float, dict[str, float]] = {}
    for dt in (1.0, 0.1):
        recording = record(make_machine(type_id, "m1", 2), 1800.0, dt_s=dt)
        means[dt] = {name: float(column.mean()) for name, column in recording.exact.items()}
    for tag in make_machine(type_id, "m1").type.tags:
        if tag.kind in ("a", "d"):
            assert means[1.0][tag.id] == pytest.approx(means[0.1][tag.id], abs=0.12 * (tag.hi - tag.lo)), tag.id


@pytest.mark.parametrize("dt", [0.0, -1.0, 1.01, float("nan")])
def test_a_step_out_of_range_is_an_error(dt: float) -> None:
    with pytest.raises(ValueError, match="step"):
        make_machine("large_motor", "m1").step(dt)


@pytest.mark.parametrize("type_id", SIMULATED)
def test_writes_that_a_machine_refuses(type_id: str) -> None:
    machine = make_machine(type_id, "m1")
    tag, value = some_setpoint(machine)
    limits = machine.type.tag(tag)
    for bad in (limits.lo - 1.0, limits.hi + 1.0, float("nan"), float("inf")):
        with pytest.raises(WriteRefused, match="within"):
            machine.write(tag, bad)
    with pytest.raises(WriteRefused, match="not writable"):
        machine.write(machine.type.status.run_state, 1.0)
    with pytest.raises(WriteRefused, match="not writable"):
        machine.write("no_such_tag", 1.0)
    machine.panel(A.REMOTE_OFF)
    with pytest.raises(WriteRefused, match="remote"):
        machine.write(tag, value)
    machine.panel(A.REMOTE_ON)
    machine.write(tag, value)


@given(type_id=st.sampled_from(sorted(SIMULATED)), value=st.floats(), index=st.integers(0, 50))
@settings(max_examples=150, deadline=None)
def test_any_write_is_shown_or_refused(type_id: str, value: float, index: int) -> None:
    machine = make_machine(type_id, "m1")
    tag = machine.type.tags[index % len(machine.type.tags)]
    before = dict(machine.values)
    try:
        machine.write(tag.id, value)
    except WriteRefused:
        assert machine.values == before
    else:
        assert tag.writable and abs(machine.values[tag.id] - value) <= tag.resolution
    machine.step(0.5)


@pytest.mark.parametrize("type_id", SIMULATED)
def test_the_local_lock_out_wins(type_id: str) -> None:
    machine = make_machine(type_id, "m1")
    record(machine, 30.0)
    machine.panel(A.LOCKOUT_ON)
    tag, value = some_setpoint(machine)
    with pytest.raises(WriteRefused, match="locked"):
        machine.write(tag, value)
    with pytest.raises(PanelRefused, match="locked"):
        machine.panel(A.START)
    if type_id in RUN:
        assert machine.values[RUN[type_id]] == 0.0
        with pytest.raises(WriteRefused, match="locked"):
            machine.write(RUN[type_id], 1.0)
    record(machine, 120.0)
    assert machine.values["local_lockout"] == 1.0
    assert state(machine) in ("stopped", "standby")
    machine.panel(A.LOCKOUT_OFF)
    record(machine, 120.0)
    assert state(machine) in ("stopped", "standby")  # nothing restarts by itself
    if type_id == "air_compressor":
        record(machine, 600.0)
    machine.panel(A.START)
    record(machine, 120.0)
    assert state(machine) == "running"


@pytest.mark.parametrize("type_id", SIMULATED)
def test_a_trip_holds_until_reset_by_hand(type_id: str) -> None:
    machine = make_machine(type_id, "m1")
    machine.panel(A.EMERGENCY_STOP)
    assert machine.values[machine.type.status.trip] == 1.0 and state(machine) == "fault"
    if type_id in RUN:
        assert machine.values[RUN[type_id]] == 0.0
        with pytest.raises(WriteRefused):
            machine.write(RUN[type_id], 1.0)
    with pytest.raises(PanelRefused, match="tripped"):
        machine.panel(A.START)
    record(machine, 60.0)
    assert state(machine) == "fault"
    machine.panel(A.RESET)
    assert machine.values[machine.type.status.trip] == 0.0
    record(machine, 60.0)
    assert state(machine) in ("stopped", "standby")


def test_a_boiler_is_lit_only_by_hand() -> None:
    boiler = make_machine("industrial_boiler", "m1")
    boiler.write("run_sp", 0.0)
    record(boiler, 120.0)
    assert boiler.values["flame_on"] == 0.0 and state(boiler) == "stopped"
    with pytest.raises(WriteRefused, match="panel"):
        boiler.write("run_sp", 1.0)
    boiler.panel(A.START)
    assert boiler.values["run_sp"] == 1.0 and boiler.values["run_state"] == 1.0
    record(boiler, 90.0)
    assert boiler.values["flame_on"] == 1.0


def test_a_compressor_waits_before_it_starts_again() -> None:
    compressor = make_machine("air_compressor", "m1")
    record(compressor, 10.0)
    compressor.write("run_sp", 0.0)
    record(compressor, 100.0)
    assert compressor.values["motor_power"] == 0.0 and 500.0 < compressor.values["restart_wait"] < 600.0
    with pytest.raises(WriteRefused, match="restart possible"):
        compressor.write("run_sp", 1.0)
    record(compressor, 550.0)
    assert compressor.values["restart_wait"] == 0.0 and compressor.values["vessel_pressure"] <= 0.05
    compressor.write("run_sp", 1.0)
    record(compressor, 30.0)
    assert state(compressor) == "running"
    with pytest.raises(WriteRefused, match="apart"):
        compressor.write("unload_pressure_sp", compressor.values["load_pressure_sp"] + 0.04)


def test_a_motor_may_start_three_times_an_hour() -> None:
    motor = make_machine("large_motor", "m1")
    for _ in range(3):
        motor.write("run_sp", 0.0)
        record(motor, 60.0)
        motor.write("run_sp", 1.0)
        record(motor, 60.0)
    motor.write("run_sp", 0.0)
    record(motor, 60.0)
    assert motor.values["starts_last_hour"] == 3.0 and motor.values["start_ready"] == 0.0
    with pytest.raises(WriteRefused, match="not ready"):
        motor.write("run_sp", 1.0)
    record(motor, 3600.0)
    motor.write("run_sp", 1.0)
    assert motor.values["start_count"] == 240.0


def test_single_requests_fall_when_the_operator_starts_again() -> None:
    cnc = make_machine("cnc_machine", "m1")
    cnc.write("feed_hold_sp", 1.0)
    record(cnc, 5.0)
    assert state(cnc) == "paused" and cnc.values["feed_hold_sp"] == 1.0 and cnc.values["feed_actual"] == 0.0
    cnc.panel(A.START)
    record(cnc, 5.0)
    assert state(cnc) == "running" and cnc.values["feed_hold_sp"] == 0.0
    parts = cnc.values["part_count"]
    cnc.write("stop_after_part_sp", 1.0)
    record(cnc, 900.0)
    assert state(cnc) == "standby" and cnc.values["part_count"] == parts + 1.0
    with pytest.raises(WriteRefused, match="no program"):
        cnc.write("feed_pause_sp", 1.0)
    with pytest.raises(WriteRefused, match="confirmed"):
        cnc.write("program_hash_sp", 1234.0)
    cnc.panel(A.CONFIRM)
    cnc.write("program_hash_sp", 4294967295.0)
    record(cnc, 10.0)
    assert cnc.values["program_hash_ack"] == 4294967295.0
    cnc.panel(A.START)
    record(cnc, 5.0)
    assert state(cnc) == "running" and cnc.values["stop_after_part_sp"] == 0.0
    with pytest.raises(PanelRefused):
        cnc.panel(A.CONFIRM)


def test_the_inverter_takes_its_limit_back_by_itself() -> None:
    pv = make_machine("photovoltaic", "m1")
    pv.write("power_limit_rvrt_sp", 60.0)
    pv.write("power_limit_sp", 30.0)
    record(pv, 30.0)
    assert pv.values["ac_power"] == pytest.approx(30.0, abs=0.1) and state(pv) == "limited"
    record(pv, 60.0)
    assert pv.values["power_limit_sp"] == 100.0 and state(pv) == "running"
    pv.write("power_limit_ena_sp", 0.0)
    pv.write("power_limit_sp", 30.0)
    record(pv, 30.0)
    assert pv.values["ac_power"] > 40.0


def test_a_day_of_sun() -> None:
    noon, evening = tilted_irradiance(12 * 3600.0), tilted_irradiance(21 * 3600.0)
    assert 900.0 < noon < 1150.0 and evening == 0.0
    pv = make_machine("photovoltaic", "m1", 0, start_local_time_s=20 * 3600.0)
    before = pv.values["daily_energy"]
    assert 300.0 < before < 900.0
    recording = record(pv, 5 * 3600.0, dt_s=1.0)
    assert state(pv) == "standby" and pv.values["ac_power"] == 0.0
    assert recording.shown["daily_energy"][-1] == 0.0 and pv.local_time_s == pytest.approx(25 * 3600.0)
    assert make_machine("photovoltaic", "m1", 0, day_of_year=355).values["poa_irradiance"] < 800.0


def test_what_is_not_simulated_or_not_an_action_is_an_error() -> None:
    with pytest.raises(KeyError):
        make_machine("blast_furnace", "m1")
    with pytest.raises(TypeError):
        make_machine("large_motor", "m1", day_of_year=3)
    with pytest.raises(ValueError, match="kick"):
        make_machine("large_motor", "m1").panel("kick")
    with pytest.raises(PanelRefused):
        make_machine("large_motor", "m1").panel(A.CONFIRM)
