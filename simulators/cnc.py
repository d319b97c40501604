"""A vertical machining centre running one part program over and over.

The program (cnc_program.py) gives spindle speed, feed and kind of move; overrides, caps and holds act on them; spindle
load follows the cut. Feeds and speeds are shown in steps of 10, so torque is computed from what is shown.
"""

from simulators.cnc_program import PROGRAM, CncState, Move, Op
from simulators.machine import MORNING_S, Machine, PanelRefused, clip, lag, ramp

_FEED_OVERRIDE_PCT_S = 90.0  # caps act just under their declared greatest rates
_SPINDLE_OVERRIDE_PCT_S = 18.0
_SPINDLE_RPM_S = 6000.0
_FEED_TAU_S = 0.08
_BASE_RPM = 1500.0
_SPINDLE_KW = 15.0
_FULL_TORQUE_NM = 9550.0 * _SPINDLE_KW / _BASE_RPM
_CORNER_EVERY_S, _CORNER_S, _CORNER_FEED = 24.0, 0.8, 0.4
_CONFIRM_S = 120.0
_DOWNLOAD_S = 5.0
_TOOL_LIFE_PCT_H = 30.0


class CncMachine(Machine):
    """cnc_machine. One part takes about five minutes; caps act at up to 90 and 18 %/s."""

    type_id = "cnc_machine"

    def __init__(self, uid: str, seed: int = 0, *, start_local_time_s: float = MORNING_S) -> None:
        super().__init__(uid, seed, start_local_time_s=start_local_time_s)
        self._state = CncState.RUNNING
        self._op, self._op_s = 4, 6.0  # inside the first long cut
        self._feed_override = self._spindle_override = 100.0
        self._dials = (100.0, 100.0)  # feed and spindle override at the machine
        self._path = 0.0  # speed along the path at 100 %
        self._feed = self._rpm = 0.0
        self._cutting = False
        self._confirm_left = 0.0
        self._download_left = 0.0
        self._temp = 38.0
        self._load = self.wander(2.5, 4.0)
        self._load_slow = self.wander(2.0, 40.0)
        self._axes = [self.wander(2.0, 5.0) for _ in range(3)]
        self._shake = self.wander(0.07, 4.0)
        self._base = self.wander(0.008, 10.0)
        self._servo = self.wander(0.002, 1.5)
        self._turn = self.wander(0.0012, 2.0)
        self._air = self.wander(0.006, 30.0)
        self._probe = self.wander(0.1, 60.0)
        self._rpm, self._path = PROGRAM[self._op].rpm, PROGRAM[self._op].feed
        self._advance(1e-3)
        self._show_status()

    def _advance(self, dt: float) -> None:
        v = self.values
        self._overrides(dt)
        held = v["feed_hold_sp"] == 1.0 or v["feed_pause_sp"] == 1.0
        if self._state in (CncState.RUNNING, CncState.PAUSED):
            self._state = CncState.PAUSED if held else CncState.RUNNING
        if self._state is CncState.RUNNING:
            self._run_program(dt)
        op = PROGRAM[self._op] if self._state in (CncState.RUNNING, CncState.PAUSED) else None
        self._axes_move(dt, op)
        self._spindle(dt, op)
        self._rest(dt, op)
        self._downloads(dt)

    def _overrides(self, dt: float) -> None:
        v = self.values
        feed = min(self._dials[0], v["feed_override_cap_sp"])
        spindle = min(self._dials[1], v["spindle_override_cap_sp"])
        self._feed_override = ramp(self._feed_override, feed, _FEED_OVERRIDE_PCT_S * dt)
        self._spindle_override = ramp(self._spindle_override, spindle, _SPINDLE_OVERRIDE_PCT_S * dt)
        v["feed_override"] = float(round(self._feed_override))  # the switch has whole per cents
        v["spindle_override"] = self._spindle_override

    def _run_program(self, dt: float) -> None:
        """Programme time runs with the feed override while cutting, and waits for the spindle where it must."""
        op = PROGRAM[self._op]
        pace = self.values["feed_override"] / 100.0 if op.move in (Move.CUT, Move.RAPID) else 1.0
        self._op_s += dt * pace
        if self._op_s < op.seconds or (op.move is Move.SPIN_UP and not self._spindle_there(op)):
            return
        self._op_s = 0.0
        self._op += 1
        if self._op == len(PROGRAM):
            self._op = 0
            self.values["part_count"] += 1.0
            if self.values["stop_after_part_sp"] == 1.0:
                self._state = CncState.IDLE

    def _spindle_there(self, op: Op) -> bool:
        return abs(self._rpm - op.rpm * self._spindle_override / 100.0) < 20.0

    def _axes_move(self, dt: float, op: Op | None) -> None:
        v = self.values
        programmed = op.feed if op else 0.0
        corner = op is not None and op.move is Move.CUT and self._op_s % _CORNER_EVERY_S < _CORNER_S
        moving = self._state is CncState.RUNNING
        target = programmed * (_CORNER_FEED if corner else 1.0) if moving else 0.0
        self._path = lag(self._path, target, dt, _FEED_TAU_S)
        if abs(self._path - target) < 0.01 * target + 1.0:
            self._path = target
        self._feed = self._path * v["feed_override"] / 100.0
        self._cutting = moving and op is not None and op.move is Move.CUT and not corner
        v["feed_programmed"] = programmed
        v["feed_actual"] = max(0.0, self._feed * (1.0 + self._servo.step(dt)))
        v["cutting"] = float(self._cutting)
        drive = min(1.0, self._feed / 2000.0)
        for key, noise, normal in zip(
            ("axis_x_load", "axis_y_load", "axis_z_load"), self._axes, (22.0, 18.0, 30.0), strict=True
        ):
            still = 12.0 if key == "axis_z_load" else 4.0  # the z axis carries the head
            v[key] = max(0.0, still + (normal - still) * drive + noise.step(dt) * (0.2 + 0.8 * drive))

    def _spindle(self, dt: float, op: Op | None) -> None:
        v = self.values
        programmed = op.rpm if op else 0.0
        target = programmed * self._spindle_override / 100.0
        before = self._rpm
        self._rpm = ramp(self._rpm, target, _SPINDLE_RPM_S * dt)
        accelerating = self._rpm > before + 1.0 and target > 0.0 and self._rpm < target
        shown = self.on_grid("spindle_speed", self._rpm * (1.0 + self._turn.step(dt)) if self._rpm > 0.0 else 0.0)
        noise = self._load.step(dt) + self._load_slow.step(dt)
        load = 0.0
        if shown > 0.0:
            load = 6.0 + 0.15 * self._load.x
            if accelerating:
                load = 80.0 + self._load.x
            elif self._cutting and op is not None:
                load += (op.load - 6.0 + noise) * clip(self._feed / op.feed, 0.0, 1.2)
        load = max(load, 4.0) if shown > 0.0 else 0.0
        zone = min(1.0, shown / _BASE_RPM)  # constant torque below the base speed, constant power above
        power = self.on_grid("spindle_power", _SPINDLE_KW * load / 100.0 * zone)
        v["spindle_programmed"], v["spindle_speed"], v["spindle_power"] = programmed, shown, power
        v["spindle_load"] = 100.0 * power / _SPINDLE_KW / zone if zone > 0.0 else 0.0
        v["spindle_torque"] = 9550.0 * power / shown if shown > 0.0 else 0.0
        v["total_power"] = (2.5 + power / 0.9) * (1.0 + self._base.step(dt))
        self._temp = lag(self._temp, 24.0 + 0.0012 * shown + 0.14 * v["spindle_load"], dt, 900.0)
        v["spindle_temp"] = self._temp + self._probe.step(dt)

    def _rest(self, dt: float, op: Op | None) -> None:
        v = self.values
        quiet = 0.25 + 0.05 * min(1.0, v["spindle_speed"] / 3000.0)
        v["vibration"] = max(0.02, quiet + (0.6 if self._cutting else 0.0) + self._shake.step(dt) * quiet / 0.3)
        v["air_pressure"] = 0.55 + self._air.step(dt)
        v["mode"], v["door_closed"], v["alarm_code"] = 1.0, 1.0, 9001.0 if self.tripped else 0.0
        if op:
            v["tool_number"] = float(op.tool)
        v["power_on_hours"] += dt / 3600.0
        if self._cutting:
            v["cutting_hours"] += dt / 3600.0
            v["tool_life"] -= _TOOL_LIFE_PCT_H * dt / 3600.0
            v["coolant_level"] -= 2.0 * dt / 3600.0
        if v["tool_life"] < 8.0:
            v["tool_life"] = 100.0  # changed in good time
        if v["coolant_level"] < 40.0:
            v["coolant_level"] = 90.0

    def _downloads(self, dt: float) -> None:
        self._confirm_left = max(0.0, self._confirm_left - dt)
        self.values["operator_confirm"] = float(self._confirm_left > 0.0)
        if self._download_left > 0.0:
            self._download_left = max(0.0, self._download_left - dt)
            if self._download_left == 0.0:
                self.values["program_hash_ack"] = self.values["program_hash_sp"]

    def _run_state(self) -> int:
        return self._state

    def _refusal(self, tag_id: str, value: float) -> str:
        if tag_id == "program_hash_sp":
            if self._state is not CncState.IDLE:
                return "a program can be loaded only while idle"
            return "" if self._confirm_left > 0.0 else "not confirmed at the machine"
        in_cycle = self._state in (CncState.RUNNING, CncState.PAUSED)
        if tag_id in ("feed_pause_sp", "feed_hold_sp", "stop_after_part_sp") and value == 1.0 and not in_cycle:
            return "no program is running"
        return ""

    def _written(self, tag_id: str, value: float) -> None:
        if tag_id == "program_hash_sp":
            self._download_left = _DOWNLOAD_S

    def _start(self) -> None:
        self.values["feed_hold_sp"] = self.values["stop_after_part_sp"] = 0.0
        if self._state is CncState.IDLE:
            self._state, self._op, self._op_s = CncState.RUNNING, 0, 0.0

    def _requests_fall(self) -> None:
        for tag in ("feed_pause_sp", "feed_hold_sp", "stop_after_part_sp"):
            self.values[tag] = 0.0
        self._op, self._op_s = 0, 0.0

    def _stop(self) -> None:
        """The operator's reset key: the program is abandoned, the spindle stops."""
        self._requests_fall()
        if self._state is not CncState.FAULT:
            self._state = CncState.IDLE

    def _stop_at_once(self) -> None:
        self._stop()
        self._path = self._rpm = 0.0

    def _trip(self) -> None:
        self._requests_fall()
        self._path = self._rpm = 0.0
        self._state = CncState.FAULT

    def _reset(self) -> None:
        self._state = CncState.IDLE

    def _confirm(self) -> None:
        if self._state is not CncState.IDLE:
            raise PanelRefused("a program is running")
        self._confirm_left = _CONFIRM_S
        self.values["operator_confirm"] = 1.0
