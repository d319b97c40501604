"""A 1 MW four-pole motor on a frequency converter, driving a pump with some static head.

Frequency moves the pump, the pump's load moves power and current, current moves the temperatures; the converter holds
the load below its limit by lowering the frequency. Formulas: relations r1 to r7 of the type.
"""

import math
from enum import IntEnum

from simulators.machine import Machine, PanelRefused, Wander, lag, ramp

_ROOT3 = math.sqrt(3.0)
_SETPOINT_HZ_S = 0.45  # just under the declared greatest rate
_START_HZ_S = 1.4
_STOP_HZ_S = 2.0
_LIMIT_PCT_S = 0.9
_COAST_TAU_S = 6.0
_WINDING_TAU_S = 1800.0
_BEARING_TAU_S = 1200.0
_STARTS_PER_HOUR = 3


class State(IntEnum):
    """run_state."""

    STOPPED = 0
    RUNNING = 1
    STARTING = 2
    FAULT = 3
    STOPPING = 4


def pump_load(hertz: float) -> float:
    """Load of the pump in per cent of the motor's rating (r6); below 5 Hz its valve closes."""
    return 75.0 * (0.15 + 0.85 * (hertz / 50.0) ** 3) * min(1.0, hertz / 5.0)


class Motor(Machine):
    """large_motor. The set-points act at up to 0.5 Hz/s and 1 %/s; a start takes 36 s, a stop 25 s at 50 Hz."""

    type_id = "large_motor"

    def __init__(self, uid: str, seed: int = 0, *, start_local_time_s: float = 11 * 3600.0) -> None:
        super().__init__(uid, seed, start_local_time_s=start_local_time_s)
        self._state = State.RUNNING
        self._hertz = 50.0
        self._limit = 100.0
        self._load = 75.0
        self._coast = 0.0
        self._starts: list[float] = []
        self._ambient = self.wander(0.8, 7200.0)
        self._demand = (self.wander(0.010, 40.0), self.wander(0.012, 600.0))
        self._voltage = self.wander(0.04, 25.0)
        self._efficiency = self.wander(0.0015, 30.0)
        self._pf = self.wander(0.002, 20.0)
        self._jitter = self.wander(0.004, 2.0)
        self._phases = [self.wander(0.0008, 15.0) for _ in range(3)]
        self._vibration = [(self.wander(0.12, 8.0), self.wander(0.10, 120.0)) for _ in range(2)]
        self._probes: list[Wander] = [self.wander(0.15, 90.0) for _ in range(5)]
        rise = 80.0 * (52.7 / 68.6) ** 2
        self._windings = [28.0 + rise, 29.0 + rise, 28.0 + rise]
        self._bearings = [60.0, 56.0]
        self._advance(1e-3)
        self._show_status()

    def _advance(self, dt: float) -> None:
        v = self.values
        demand = 1.0 + self._demand[0].step(dt) + self._demand[1].step(dt)
        self._move_limit(dt)
        self._move_frequency(dt, demand)
        hertz = max(0.0, self._hertz + self._jitter.step(dt)) if self._hertz > 0.0 else 0.0
        self._load = demand * pump_load(hertz)
        self._coast = lag(self._coast, 0.0, dt, _COAST_TAU_S)
        speed = max(0.0, 30.0 * hertz - 0.12 * self._load) if hertz > 0.0 else self._coast
        v["frequency"], v["speed"], v["load_pct"] = hertz, speed, self._load
        self._electrics(dt)
        self._temperatures(dt)
        for key, (fast, slow), normal in zip(
            ("vibration_de", "vibration_nde"), self._vibration, (1.9, 1.6), strict=True
        ):
            shake = normal * (0.35 + 0.65 * speed / 1491.0) * min(1.0, speed / 200.0)
            v[key] = max(0.02, 0.05 + shake * (1.0 + fast.step(dt) + slow.step(dt)))
        self._starts = [t for t in self._starts if self.elapsed_s - t < 3600.0]
        v["starts_last_hour"] = float(len(self._starts))
        v["start_ready"] = float(self._ready())
        if self._state in (State.RUNNING, State.STARTING, State.STOPPING):
            v["run_hours"] += dt / 3600.0

    def _move_limit(self, dt: float) -> None:
        wanted = self.values["load_limit_sp"]
        if wanted < self._limit:  # what lies above the present load limits nothing, so it costs no time
            self._limit = min(self._limit, max(self._load + 0.5, wanted))
        self._limit = ramp(self._limit, wanted, _LIMIT_PCT_S * dt)

    def _move_frequency(self, dt: float, demand: float) -> None:
        room = (self._limit / (75.0 * demand) - 0.15) / 0.85
        target = min(self.values["frequency_sp"], 50.0 * max(0.0, room) ** (1.0 / 3.0))
        if self._state is State.RUNNING:
            self._hertz = ramp(self._hertz, target, _SETPOINT_HZ_S * dt)
        elif self._state is State.STARTING:
            self._hertz = ramp(self._hertz, target, _START_HZ_S * dt)
            if self._hertz >= target:
                self._state = State.RUNNING
        elif self._state is State.STOPPING:
            self._hertz = ramp(self._hertz, 0.0, _STOP_HZ_S * dt)
            if self._hertz == 0.0:
                self._state = State.STOPPED

    def _electrics(self, dt: float) -> None:
        v = self.values
        volts = 10.0 + self._voltage.step(dt)
        power = 10.0 * self._load / (0.955 + self._efficiency.step(dt))
        pf = 0.885 - 0.40 * (1.0 - self._load / 100.0) ** 2 + self._pf.step(dt)
        shape = [1.0, 1.0038, 0.9962]
        shape = [s + phase.step(dt) for s, phase in zip(shape, self._phases, strict=True)]
        mean = power / (_ROOT3 * volts * pf)
        scale = 3.0 * mean / sum(shape)
        currents = [s * scale for s in shape]
        v["voltage_avg"], v["active_power"], v["power_factor"] = volts, power, pf if power > 0.0 else 0.0
        v["current_a"], v["current_b"], v["current_c"] = currents
        v["current_unbalance"] = 100.0 * (max(currents) / mean - 1.0) if mean > 0.0 else 0.0
        v["energy"] += power * dt / 3600.0

    def _temperatures(self, dt: float) -> None:
        v = self.values
        ambient = 28.0 + self._ambient.step(dt)
        heat = 80.0 * ((v["current_a"] + v["current_b"] + v["current_c"]) / 3.0 / 68.6) ** 2
        offsets = (0.0, 1.0, 0.2)
        for i, key in enumerate(("winding_temp_u", "winding_temp_v", "winding_temp_w")):
            rise = heat + (offsets[i] if heat > 1.0 else 0.0)
            self._windings[i] = lag(self._windings[i], ambient + rise, dt, _WINDING_TAU_S)
            v[key] = self._windings[i] + self._probes[i].step(dt)
        speed = v["speed"] / 1491.0
        for i, (key, rise) in enumerate((("bearing_temp_de", 32.0), ("bearing_temp_nde", 28.0))):
            self._bearings[i] = lag(self._bearings[i], ambient + rise * speed, dt, _BEARING_TAU_S)
            v[key] = self._bearings[i] + self._probes[3 + i].step(dt)
        v["ambient_temp"] = ambient

    def _ready(self) -> bool:
        return not self.tripped and not self.locked and len(self._starts) < _STARTS_PER_HOUR

    def _run_state(self) -> int:
        return self._state

    def _refusal(self, tag_id: str, value: float) -> str:
        if tag_id != "run_sp" or value == 0.0 or self._state in (State.RUNNING, State.STARTING):
            return ""
        if self._state is not State.STOPPED:
            return "still stopping" if self._state is State.STOPPING else "tripped"
        return "" if self._ready() else "not ready to start"

    def _written(self, tag_id: str, value: float) -> None:
        if tag_id == "run_sp":
            if value == 1.0 and self._state is State.STOPPED:
                self._start()
            elif value == 0.0:
                self._stop()

    def _start(self) -> None:
        if self._state is State.STOPPED:
            if not self._ready():
                raise PanelRefused("too many starts within the hour")
            self._state = State.STARTING
            self._starts.append(self.elapsed_s)
            self.values["start_count"] += 1.0
            self.values["run_sp"] = 1.0

    def _stop(self) -> None:
        self.values["run_sp"] = 0.0
        if self._state in (State.RUNNING, State.STARTING):
            self._state = State.STOPPING

    def _cut_off(self) -> None:
        """The converter blocks; the machine coasts."""
        self.values["run_sp"] = 0.0
        if self._hertz > 0.0:
            self._coast = self.values["speed"]
        self._hertz = 0.0

    def _stop_at_once(self) -> None:
        self._cut_off()
        if self._state is not State.FAULT:
            self._state = State.STOPPED

    def _trip(self) -> None:
        self._cut_off()
        self._state = State.FAULT

    def _reset(self) -> None:
        self._state = State.STOPPED
