"""Every control point of the simulated machines is answered as its type declares: echo, direction, tolerance, time, rate."""

import math
import random
from collections.abc import Mapping

import numpy as np
import pytest

from simulators.catalogue import SIMULATED, make_machine
from simulators.machine import Machine, PanelAction
from simulators.recording import record
from telemetry.equipment import Control, ControlKind, Direction, Response, Stat, equipment_types

ALL = [(t, c.id) for t in SIMULATED for c in equipment_types()[t].controls]
DT = 0.2


def prepare(machine: Machine, control: Control) -> None:
    """Bring the machine to where the control is meant to be used."""
    key = (machine.type.id, control.id)
    if control.kind is ControlKind.START:
        machine.panel(PanelAction.STOP)
        record(machine, 700.0)
    elif control.id in ("burner_max_load", "load_limit"):  # brought down in steps until it is about to limit
        machine.write(control.write, math.ceil(machine.values[control.responses[0].tag]) + 1.0)
        record(machine, 60.0)
    elif key == ("cnc_machine", "program_download"):
        machine.panel(PanelAction.STOP)
        record(machine, 10.0)
        machine.panel(PanelAction.CONFIRM)


def situations(machine: Machine, control: Control, rng: random.Random) -> tuple[float, Response]:
    """Wait for a moment at which a value can be drawn that `when` admits, as an inspector would; the value and its answer."""
    for _ in range(3000):
        machine.step(1.0)
        if not all(p.evaluate({**machine.values, "value": control.lo}) for p in control.pre if "value" not in p.names):
            continue
        value = draw(machine, control, rng)
        response = control.response_to(value)
        env = {**machine.values, "value": value}
        if not (response and response.when.evaluate(env) and all(p.evaluate(env) for p in control.pre)):
            continue
        there = [abs(machine.values[response.tag] - e.evaluate(env)) <= response.tol for e in response.expected]
        if response.direction is not Direction.TOWARD or response.stat or not any(there):
            return value, response
    pytest.fail(f"no moment for {control.id}")


def draw(machine: Machine, control: Control, rng: random.Random) -> float:
    now = machine.values[control.write]
    if control.kind is ControlKind.ACTION and control.hi == 1.0:
        return 1.0 - now
    if control.kind is not ControlKind.SETPOINT:
        return float(rng.randint(int(control.lo), int(control.hi)))
    least = control.min_step or 0.4 * control.max_step
    size = rng.uniform(least, control.max_step)
    value = now + rng.choice((-1.0, 1.0)) * size
    if not control.lo <= value <= control.hi:
        value = 2.0 * now - value
    step = machine.type.tag(control.write).resolution
    return min(control.hi, max(control.lo, round(value / step) * step))


def targets(response: Response, shown: Mapping[str, np.ndarray], value: float) -> list[np.ndarray]:
    n = len(shown[response.tag])
    return [np.broadcast_to(e.evaluate({**shown, "value": value}), (n,)) for e in response.expected]


def turning_points(x: np.ndarray, stat: Stat) -> np.ndarray:
    """Rows of the upper or lower turning points of a cycling quantity."""
    y = x if stat is Stat.PEAK else -x
    wide = 20
    return np.array([i for i in range(wide, len(y) - wide) if y[i] == y[i - wide : i + wide + 1].max()], dtype=int)


def check_answer(machine: Machine, control: Control, response: Response, value: float) -> None:
    before = dict(machine.values)
    machine.write(control.write, value)
    for tag, extra in control.together.items():
        machine.write(tag, extra)
    assert machine.values[control.echo] == pytest.approx(value, abs=machine.type.tag(control.echo).resolution / 2)
    settle = response.settle_s
    r = record(machine, settle, dt_s=DT)
    y = r.shown[response.tag]
    y0 = before[response.tag]
    where = f"{control.id}={value:g} {response.tag} {y0:g} → {y[-1]:g}"
    if response.direction in (Direction.UP, Direction.DOWN):
        sign = 1.0 if response.direction is Direction.UP else -1.0
        assert np.any(sign * (y - y0) > response.tol), where
        return
    rows = turning_points(y, response.stat) if response.stat else np.arange(len(y))
    near = [np.abs(y - goal) <= response.tol for goal in targets(response, r.shown, value)]
    assert any(n[rows].any() for n in near), where
    if response.stat or response.direction is not Direction.TOWARD:
        return
    goal, first = targets(response, r.shown, value)[0], int(np.argmax(near[0]))
    assert (y[first] - y0) * (goal[first] - y0) > 0.0, where
    if machine.type.id != "cnc_machine":  # whose program goes on to other moves
        assert np.abs(y - goal)[-int(len(y) * 0.1) :].max() <= response.tol * 1.2, where
    if control.max_rate is not None and control.kind is ControlKind.SETPOINT:
        check_rate(control, response, before, value, y[: first + 1], where)


def check_rate(
    control: Control, response: Response, before: dict[str, float], value: float, y: np.ndarray, where: str
) -> None:
    """The answer is never further than the machine's own greatest rate would have taken it."""
    expect = response.expected[0]
    gain = (
        expect.evaluate({**before, "value": value + 1e-4}) - expect.evaluate({**before, "value": value - 1e-4})
    ) / 2e-4
    if control.id == "power_factor_sp":  # steepest near one
        gain = before["ac_power"] / math.sqrt(max(1e-9, 1.0 - max(value, before["power_factor_sp"] - 5e-4) ** 2))
    t = DT * np.arange(1, len(y) + 1)
    most = abs(gain) * (control.max_rate or 0.0) * t + 0.5 * response.tol
    assert np.all(np.abs(y - before[response.tag]) <= most), where


@pytest.mark.parametrize(("type_id", "control_id"), ALL, ids=[f"{t}-{c}" for t, c in ALL])
def test_every_control_is_answered(type_id: str, control_id: str) -> None:
    control = equipment_types()[type_id].control(control_id)
    for seed in range(4):
        machine = make_machine(type_id, "m1", seed)
        rng = random.Random(seed)
        record(machine, 60.0 + 37.0 * seed)
        prepare(machine, control)
        value, response = situations(machine, control, rng)
        check_answer(machine, control, response, value)
        both = control.kind is ControlKind.ACTION and control.undo == "self"
        if both:  # and back, after the time a test may leave it
            hold = max(
                0.0, min(control.hold_s or 10.0, 10.0 if type_id == "air_compressor" else 35.0) - response.settle_s
            )
            record(machine, max(hold, 1.0))
            back = control.response_to(1.0 - value)
            assert back is not None
            check_answer(machine, control, back, 1.0 - value)
