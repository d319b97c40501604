"""An oil-injected 250 kW screw compressor on a 10 m³ receiver, cycling between its load and unload pressures.

Demand empties the receiver; the inlet valve opens at the load pressure and closes at the unload pressure; power, oil
vessel and temperatures follow the valve. The pneumatics are stepped at 0.25 s or finer, whatever the caller's step.
"""

import math
from enum import IntEnum

from simulators.machine import MORNING_S, Machine, PanelRefused, clip, lag

_ROOT3 = math.sqrt(3.0)
_SUBSTEP_S = 0.25
_FAD = 45.0
_RECEIVER_M3 = 10.0
_ATMOSPHERE_MPA = 0.1013
_FLOW_TAU_S = 0.45
_LOAD_TAU_S = 0.45
_UNLOAD_TAU_S = 0.9
_STAR_DELTA_S = 8.0
_VENTED_MPA = 0.05  # the motor cannot start against oil under pressure
_COOL_DOWN_S = 30.0
_RESTART_S = 600.0
_SEPARATOR_MPA = 0.03
_NARROWEST_BAND_MPA = 0.05
_RELOAD_BELOW_UNLOAD_MPA = 0.01


class State(IntEnum):
    """run_state."""

    STOPPED = 0
    STARTING = 1
    RUNNING = 2
    STOPPING = 3
    FAULT = 4


class Compressor(Machine):
    """air_compressor. After a stop it cannot start for 600 s; allowing it to load again loads it at once."""

    type_id = "air_compressor"

    def __init__(self, uid: str, seed: int = 0, *, start_local_time_s: float = MORNING_S) -> None:
        super().__init__(uid, seed, start_local_time_s=start_local_time_s)
        self._state = State.RUNNING
        self._timer = 0.0  # of the state, running down
        self._wait = 0.0
        self._loaded = True
        self._load_now = False
        self._bar = 0.68
        self._vessel = 0.71
        self._flow = _FAD
        self._power = 271.0
        self._duty = 80.0
        self._temps = {"discharge_temp": 82.0, "cooling_out_temp": 35.5}
        self._demand = (self.wander(0.5, 90.0), self.wander(0.7, 1500.0))
        self._fad = self.wander(0.12, 60.0)
        self._power_noise = self.wander(0.004, 15.0)
        self._voltage = self.wander(1.8, 25.0)
        self._pf = self.wander(0.002, 20.0)
        self._separator = self.wander(0.0004, 30.0)
        self._filter = self.wander(0.03, 120.0)
        self._dew = self.wander(0.25, 600.0)
        self._water = self.wander(0.5, 3600.0)
        self._probe = (self.wander(0.2, 40.0), self.wander(0.15, 60.0))
        self._vibration = self.wander(0.12, 12.0)
        self._advance(1e-3)
        self._show_status()

    def _advance(self, dt: float) -> None:
        v = self.values
        demand = 35.0 + self._demand[0].step(dt) + self._demand[1].step(dt)
        demand *= clip(self._bar / 0.5, 0.0, 1.0)  # tools starve when the net is nearly empty
        full_flow = _FAD + self._fad.step(dt)
        parts = math.ceil(dt / _SUBSTEP_S)
        before = self._bar
        inflow = 0.0
        for _ in range(parts):
            self._pneumatics(dt / parts, demand, full_flow)
            inflow += self._flow / parts
        # What the net took, by the balance of the receiver, over the full flow: what a controller shows as its duty.
        taken = inflow - (self._bar - before) / dt * 60.0 * _RECEIVER_M3 / _ATMOSPHERE_MPA
        self._duty = lag(self._duty, clip(100.0 * taken / _FAD, 0.0, 100.0), dt, 60.0)
        self._wait = max(0.0, self._wait - dt)
        loaded = 1.0 if self._loaded else 0.0
        v["loaded"], v["duty"], v["restart_wait"] = loaded, self._duty, self._wait
        v["discharge_pressure"], v["air_flow"], v["demand_flow"] = self._bar, self._flow, demand
        v["line_pressure"] = max(0.0, self._bar - 0.02 * (demand / 36.0) ** 2)
        separator = _SEPARATOR_MPA + self._separator.step(dt)
        v["oil_separator_dp"] = separator * clip(self._flow / _FAD, 0.0, 1.1)
        v["vessel_pressure"] = self._vessel
        v["oil_pressure"] = max(0.0, self._vessel - 0.41) if self._vessel > 0.62 else 0.8 * min(self._vessel, 0.2625)
        self._electrics(dt)
        self._slow(dt, loaded)
        if self._state in (State.STARTING, State.RUNNING, State.STOPPING):
            v["run_hours"] += dt / 3600.0
            v["load_hours"] += loaded * dt / 3600.0

    def _pneumatics(self, dt: float, demand: float, full_flow: float) -> None:
        self._sequence(dt)
        self._valve()
        self._flow = lag(self._flow, full_flow if self._loaded else 0.0, dt, _FLOW_TAU_S)
        self._bar = max(0.0, self._bar + _ATMOSPHERE_MPA * (self._flow - demand) / _RECEIVER_M3 / 60.0 * dt)
        if self._loaded:
            self._vessel = lag(self._vessel, self._bar + _SEPARATOR_MPA, dt, 0.4)
        elif self._state in (State.RUNNING, State.STOPPING):
            self._vessel = lag(self._vessel, 0.25, dt, 6.0)
        elif self._state is State.STARTING:
            self._vessel = lag(self._vessel, 0.22, dt, 4.0)
        else:
            self._vessel = lag(self._vessel, 0.0, dt, 12.0)
        if self._loaded:
            self._power = lag(self._power, 275.0 * (1.0 + 0.7 * (self._bar - 0.70)), dt, _LOAD_TAU_S)
        elif self._state in (State.RUNNING, State.STOPPING):
            self._power = lag(self._power, 55.0, dt, _UNLOAD_TAU_S)
        elif self._state is State.STARTING:
            self._power = lag(self._power, 55.0, dt, 2.5)
        else:
            self._power = 0.0

    def _sequence(self, dt: float) -> None:
        if self._timer > 0.0:
            self._timer = max(0.0, self._timer - dt)
            if self._timer == 0.0:
                if self._state is State.STARTING:
                    self._state, self._load_now = State.RUNNING, True
                elif self._state is State.STOPPING:
                    self._state, self._wait = State.STOPPED, _RESTART_S

    def _valve(self) -> None:
        v = self.values
        if self._state is not State.RUNNING or v["load_enable_sp"] == 0.0:
            self._loaded = False
            return
        unload, load = v["unload_pressure_sp"], v["load_pressure_sp"]
        if self._loaded:
            if self._bar >= unload:
                self._loaded = False
        elif self._bar <= load or (self._load_now and self._bar < unload - _RELOAD_BELOW_UNLOAD_MPA):
            self._loaded, self._load_now = True, False

    def _electrics(self, dt: float) -> None:
        v = self.values
        volts = 380.0 + self._voltage.step(dt)
        power = self._power * (1.0 + self._power_noise.step(dt))
        pf = clip(0.42 + 0.46 * (power - 55.0) / 220.0, 0.2, 0.92) + self._pf.step(dt)
        v["motor_voltage"], v["motor_power"] = volts, power
        v["motor_pf"] = pf if power > 0.0 else 0.0
        v["motor_current"] = 1000.0 * power / (_ROOT3 * volts * pf)
        if self._loaded and self._flow > 5.0:
            v["specific_power"] = power / self._flow

    def _slow(self, dt: float, loaded: float) -> None:
        v = self.values
        on = self._state in (State.STARTING, State.RUNNING, State.STOPPING)
        water = 28.0 + self._water.step(dt)
        hot = (66.0 + 20.0 * loaded if on else 30.0) + 0.5 * (water - 28.0)
        warm = water + (1.0 + 9.4 * loaded if on else 0.0)
        for key, target, tau, probe in (
            ("discharge_temp", hot, 150.0, self._probe[0]),
            ("cooling_out_temp", warm, 120.0, self._probe[1]),
        ):
            self._temps[key] = lag(self._temps[key], target, dt, tau)
            v[key] = self._temps[key] + probe.step(dt)
        v["cooling_in_temp"] = water
        v["inlet_filter_dp"] = max(0.0, 1.5 + self._filter.step(dt)) * (self._flow / _FAD) ** 2
        v["dew_point"] = 4.0 + self._dew.step(dt) + 0.02 * (v["discharge_temp"] - 82.0)
        v["vibration"] = max(0.05, (1.9 + 0.7 * loaded if on else 0.1) * (1.0 + self._vibration.step(dt) / 2.6))

    def _run_state(self) -> int:
        return self._state

    def _blocked(self) -> str:
        """Why it cannot start; empty where it can."""
        if self._state is not State.STOPPED:
            return "still stopping" if self._state is State.STOPPING else "tripped"
        if self._wait > 0.0:
            return f"restart possible in {math.ceil(self._wait)} s"
        return "oil vessel still under pressure" if self._vessel > _VENTED_MPA else ""

    def _refusal(self, tag_id: str, value: float) -> str:
        v = self.values
        if tag_id == "run_sp" and value == 1.0 and self._state not in (State.STARTING, State.RUNNING):
            return self._blocked()
        unload = value if tag_id == "unload_pressure_sp" else v["unload_pressure_sp"]
        load = value if tag_id == "load_pressure_sp" else v["load_pressure_sp"]
        if unload - load < _NARROWEST_BAND_MPA - 1e-9:
            return f"load and unload pressure must be {_NARROWEST_BAND_MPA} MPa apart"
        return ""

    def _written(self, tag_id: str, value: float) -> None:
        if tag_id == "run_sp":
            if value == 0.0:
                self._stop()
            elif self._state is State.STOPPED:
                self._start()
        elif tag_id == "load_enable_sp":
            self._load_now = value == 1.0 and not self._loaded

    def _start(self) -> None:
        if self._state in (State.STARTING, State.RUNNING):
            return
        reason = self._blocked()
        if reason:
            raise PanelRefused(reason)
        self._state, self._timer = State.STARTING, _STAR_DELTA_S
        self.values["run_sp"] = 1.0

    def _stop(self) -> None:
        self.values["run_sp"] = 0.0
        if self._state in (State.STARTING, State.RUNNING):
            self._state, self._timer, self._loaded = State.STOPPING, _COOL_DOWN_S, False

    def _halt(self, state: State) -> None:
        if self._state in (State.STARTING, State.RUNNING, State.STOPPING):
            self._wait = _RESTART_S
        self._state, self._timer, self._loaded = state, 0.0, False
        self.values["run_sp"] = 0.0

    def _stop_at_once(self) -> None:
        if self._state is not State.FAULT:
            self._halt(State.STOPPED)

    def _trip(self) -> None:
        self._halt(State.FAULT)

    def _reset(self) -> None:
        self._state = State.STOPPED
