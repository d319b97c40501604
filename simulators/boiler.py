"""A 10 t/h gas-fired steam boiler: water and steam as one energy store, a burner on a pressure controller, a drum level.

Heat in minus heat out moves the pressure; feedwater minus steam and blow-down moves the level; the steam user wanders.
Steam temperature is the saturation line's, gas follows the burner, air follows gas and oxygen (relations r1 to r6).
It can be stopped from afar, but lit only by hand at the panel.
"""

import math
from enum import IntEnum

from simulators.machine import MORNING_S, Machine, clip, lag, ramp
from telemetry.steam import saturation_temperature

_GAS_FULL_NM3_H = 706.0
_LHV_KJ_NM3 = 35_500.0
_STEAM_KJ_KG = 2781.0 - 436.0  # saturated steam at 1.0 MPa gauge from feedwater at 104 °C
_BLOWDOWN_KJ_KG = 781.0 - 436.0
_STORE_KJ_MPA = 1.9e6  # 10.5 t of water and 5 t of steel along the saturation line
_KJ_S_PER_PCT = _GAS_FULL_NM3_H * _LHV_KJ_NM3 / 3600.0 / 100.0
_EFFICIENCY = 0.94
_MM_PER_T = 92.0  # drum level for a tonne of water
_PRESSURE_MPA_S = 0.0004  # set-points move just under their declared greatest rates
_LIMIT_PCT_S = 0.9
_O2_PCT_S = 0.045
_VALVE_PCT_S = 1.8
_BURNER_PCT_S = 4.0
_LOW_FIRE, _LEAST_FIRE = 30.0, 20.0
_HEAT_TAU_S = 6.0
_GAIN_PCT_MPA = 1100.0
_INTEGRAL_S = 120.0
_DETECTOR_ZERO = 0.4  # %LEL: the zero of a catalytic detector drifts above its stop, it does not sit on it
_PURGE_S, _IGNITION_S, _COOL_DOWN_S, _POST_PURGE_S = 60.0, 10.0, 30.0, 60.0


class State(IntEnum):
    """run_state."""

    STOPPED = 0
    PURGE = 1
    IGNITION = 2
    RUNNING = 3
    LOW_FIRE = 4
    STOPPING = 5
    FAULT = 6


class Boiler(Machine):
    """industrial_boiler. Pressure follows its set-point at 0.0004 MPa/s, the burner moves at 4 %/s."""

    type_id = "industrial_boiler"

    def __init__(self, uid: str, seed: int = 0, *, start_local_time_s: float = MORNING_S) -> None:
        super().__init__(uid, seed, start_local_time_s=start_local_time_s)
        self._state = State.RUNNING
        self._timer = 0.0
        self._flame = True
        self._burner = 80.0
        self._heat_pct = 80.0  # burner load as the water feels it
        self._wanted = 1.0  # pressure set-point in force
        self._integral = 0.0
        self._limit = 100.0
        self._o2_wanted = self._o2 = 3.5
        self._valve = 10.0
        self._pressure = 1.0
        self._steam = 8.0
        self._feed = 8.24
        self._water_mm = 0.0
        self._flue = 135.0
        self._demand = (self.wander(0.06, 40.0), self.wander(0.30, 900.0))
        self._gas_noise = self.wander(0.006, 8.0)
        self._o2_noise = self.wander(0.025, 15.0)
        self._fan_noise = self.wander(0.004, 10.0)
        self._feed_noise = self.wander(0.06, 20.0)
        self._level_noise = self.wander(0.5, 6.0)
        self._blowdown_noise = self.wander(0.006, 20.0)
        self._pressure_noise = self.wander(0.0006, 4.0)
        self._furnace = self.wander(8.0, 3.0)
        self._fuel_pressure = self.wander(0.15, 30.0)
        self._slow = {
            "feedwater_temp": self.wander(0.4, 300.0),
            "feedwater_pressure": self.wander(0.012, 30.0),
            "flue_co": self.wander(2.5, 40.0),
            "flue_nox": self.wander(0.8, 200.0),
            "gas_leak": self.wander(0.1, 60.0),
            "water_conductivity": self.wander(60.0, 3600.0),
            "flue_gas_temp": self.wander(0.5, 60.0),
        }
        self._advance(1e-3)
        self._show_status()

    def _advance(self, dt: float) -> None:
        v = self.values
        self._sequence(dt)
        self._move_setpoints(dt)
        before = self._burner
        self._burner = self._move_burner(dt)
        self._energy(dt)
        self._level(dt)
        self._combustion(dt, (self._burner - before) / dt)
        right = 0.0
        if v["gas_flow"] > 0.0:
            out = 1000.0 * v["steam_flow"] * _STEAM_KJ_KG + 1000.0 * v["blowdown_flow"] * _BLOWDOWN_KJ_KG
            right = clip(100.0 * out / (v["gas_flow"] * _LHV_KJ_NM3), 0.0, 115.0)
        v["efficiency"] = right
        if self._flame:
            v["run_hours"] += dt / 3600.0

    def _sequence(self, dt: float) -> None:
        self._timer = max(0.0, self._timer - dt)
        if self._state is State.PURGE and self._timer == 0.0:
            self._state, self._timer = State.IGNITION, _IGNITION_S
        elif self._state is State.IGNITION and self._timer == 0.0:
            self._state, self._flame, self._burner = State.RUNNING, True, _LEAST_FIRE
            self._integral, self._wanted = 0.0, self._pressure
        elif self._state is State.STOPPING and self._timer == 0.0:
            if self._flame:
                self._put_out()
                self._timer = _POST_PURGE_S
            else:
                self._state = State.STOPPED

    def _put_out(self) -> None:
        self._flame, self._burner = False, 0.0

    def _move_setpoints(self, dt: float) -> None:
        v = self.values
        self._wanted = ramp(self._wanted, v["steam_pressure_sp"], _PRESSURE_MPA_S * dt)
        if v["burner_max_load_sp"] < self._limit:  # what lies above the present load limits nothing
            self._limit = min(self._limit, max(self._burner, v["burner_max_load_sp"]))
        self._limit = ramp(self._limit, v["burner_max_load_sp"], _LIMIT_PCT_S * dt)
        self._o2_wanted = ramp(self._o2_wanted, v["o2_trim_sp"], _O2_PCT_S * dt)
        self._valve = ramp(self._valve, v["blowdown_valve_sp"], _VALVE_PCT_S * dt)

    def _move_burner(self, dt: float) -> float:
        """Burner load after the actuator's rate: feed-forward of the steam taken and a PI on the pressure."""
        if not self._flame:
            return 0.0
        if self._state is State.STOPPING:
            target = _LEAST_FIRE
        elif self._state is State.LOW_FIRE:
            target, self._integral = _LOW_FIRE, 0.0
            self._wanted = min(self._wanted, self._pressure + 0.02)
        else:
            error = self._wanted - self._pressure
            known = (
                self._steam * _STEAM_KJ_KG / 3.6 + self.values["blowdown_flow"] * _BLOWDOWN_KJ_KG / 3.6
            ) / _EFFICIENCY
            climb = self.values["steam_pressure_sp"] - self._wanted
            rate = math.copysign(_PRESSURE_MPA_S, climb) if abs(climb) > 1e-6 else 0.0
            known += rate * _STORE_KJ_MPA / _EFFICIENCY
            free = known / _KJ_S_PER_PCT + _GAIN_PCT_MPA * error + self._integral
            target = clip(free, _LEAST_FIRE, 100.0)
            if _LEAST_FIRE < free < min(100.0, self._limit) and abs(error) < 0.01:
                self._integral += _GAIN_PCT_MPA * error * dt / _INTEGRAL_S
            elif error > 0.02:
                self._wanted = self._pressure + 0.02  # the burner is at its limit: no need to run ahead of it
        target = min(target, self._limit)
        return clip(ramp(self._burner, target, _BURNER_PCT_S * dt), _LEAST_FIRE, 100.0)

    def _energy(self, dt: float) -> None:
        v = self.values
        demand = 8.0 + self._demand[0].step(dt) + self._demand[1].step(dt)
        demand *= clip(self._pressure / 0.8, 0.0, 1.0) if self._flame else 0.0
        self._steam = lag(self._steam, demand, dt, 3.0 if self._flame else 10.0)
        self._heat_pct = lag(self._heat_pct, self._burner, dt, _HEAT_TAU_S)
        trickle = 1.0 + self._blowdown_noise.step(dt)
        blowdown = 0.024 * self._valve * math.sqrt(max(0.0, self._pressure)) * trickle
        heat = self._heat_pct * _KJ_S_PER_PCT * _EFFICIENCY
        heat -= (self._steam * _STEAM_KJ_KG + blowdown * _BLOWDOWN_KJ_KG) / 3.6
        heat -= 25.0 * (not self._flame)  # loss to the room
        self._pressure = clip(self._pressure + heat / _STORE_KJ_MPA * dt, 0.0, 1.25)
        shown = self.on_grid("steam_pressure", max(0.0, self._pressure + self._pressure_noise.step(dt)))
        v["steam_pressure"] = shown
        v["steam_temp"] = saturation_temperature(shown + 0.1013)
        v["steam_flow"], v["blowdown_flow"] = self._steam, blowdown

    def _level(self, dt: float) -> None:
        v = self.values
        level_now = self._water_mm + 2.0 * (self._steam - 8.0)
        wanted = self._steam + v["blowdown_flow"] - 0.12 * level_now
        self._feed = lag(self._feed, clip(wanted + self._feed_noise.step(dt), 0.0, 11.0), dt, 4.0)
        self._water_mm += (self._feed - self._steam - v["blowdown_flow"]) / 3600.0 * _MM_PER_T * dt
        v["feedwater_flow"] = self._feed
        v["drum_level"] = self._water_mm + 2.0 * (self._steam - 8.0) + self._level_noise.step(dt)
        for tag, wander in self._slow.items():
            wander.step(dt)
            if tag in ("feedwater_temp", "feedwater_pressure"):
                v[tag] = self.type.tag(tag).normal + wander.x

    def _combustion(self, dt: float, burner_rate: float) -> None:
        v = self.values
        noise = 1.0 + self._gas_noise.step(dt)
        gas = self.on_grid("gas_flow", _GAS_FULL_NM3_H * self._burner / 100.0 * noise) if self._flame else 0.0
        least_air = 20.9 * (1.0 - 0.056 * gas / 20.0)  # the fan cannot go below 20 Hz
        most_air = 20.9 * (1.0 - 0.056 * gas / 50.0)
        target = clip(self._o2_wanted - 0.04 * burner_rate, 0.5, 20.9)
        target = min(max(target, least_air), most_air) if self._flame else 20.9
        self._o2 = lag(self._o2, target, dt, 5.0)
        o2 = self._o2 + (self._o2_noise.step(dt) if self._flame else 0.0)
        air = 0.056 * gas * 20.9 / max(0.5, 20.9 - o2)
        fan_on = self._state is not State.STOPPED and (self._state is not State.FAULT)
        v["fan_freq"] = clip(air, 20.0, 50.0) * (1.0 + self._fan_noise.step(dt)) if fan_on else 0.0
        if self._state is State.PURGE or (self._state is State.STOPPING and not self._flame):
            v["fan_freq"] = 40.0 * (1.0 + self._fan_noise.x)
        v["burner_load"], v["gas_flow"], v["flue_o2"] = self._burner, gas, min(20.9, o2)
        v["flame_on"] = float(self._flame)
        self._flue = lag(self._flue, 91.0 + 0.55 * self._burner if self._flame else 60.0, dt, 90.0)
        v["flue_gas_temp"] = self._flue + self._slow["flue_gas_temp"].x
        v["flue_co"] = max(0.0, (20.0 + self._slow["flue_co"].x) * self._flame)
        v["flue_nox"] = max(0.0, (28.0 + self._slow["flue_nox"].x) * self._flame)
        full = 600.0 * (v["fan_freq"] / 38.0) ** 2 * (1.0 if self._flame else 0.4)
        v["furnace_pressure"] = max(0.0, full + self._furnace.step(dt) * (1.0 if fan_on else 0.1))
        v["gas_pressure"] = 15.0 + self._fuel_pressure.step(dt) - 0.01 * (self._burner - 80.0)
        v["gas_leak"] = max(0.0, _DETECTOR_ZERO + self._slow["gas_leak"].x)
        v["water_conductivity"] = 2500.0 + self._slow["water_conductivity"].x

    def _run_state(self) -> int:
        return self._state

    def _refusal(self, tag_id: str, value: float) -> str:
        burning = self._state in (State.RUNNING, State.LOW_FIRE)
        if tag_id == "run_sp" and value == 1.0 and not burning:
            return "can be lit only at the panel"
        if tag_id == "low_fire_hold_sp" and value == 1.0 and not burning:
            return "no fire to hold"
        return ""

    def _written(self, tag_id: str, value: float) -> None:
        if tag_id == "run_sp" and value == 0.0:
            self._stop()
        elif tag_id == "low_fire_hold_sp" and self._state in (State.RUNNING, State.LOW_FIRE):
            self._state = State.LOW_FIRE if value == 1.0 else State.RUNNING

    def _start(self) -> None:
        if self._state is State.STOPPED:
            self._state, self._timer = State.PURGE, _PURGE_S
            self.values["run_sp"] = 1.0

    def _stop(self) -> None:
        self._requests_fall()
        if self._state in (State.RUNNING, State.LOW_FIRE):
            self._state, self._timer = State.STOPPING, _COOL_DOWN_S
        elif self._state in (State.PURGE, State.IGNITION):
            self._state, self._timer = State.STOPPING, _POST_PURGE_S

    def _requests_fall(self) -> None:
        self.values["run_sp"] = self.values["low_fire_hold_sp"] = 0.0

    def _stop_at_once(self) -> None:
        self._requests_fall()
        self._put_out()
        if self._state not in (State.STOPPED, State.FAULT):
            self._state, self._timer = State.STOPPING, _POST_PURGE_S

    def _trip(self) -> None:
        self._requests_fall()
        self._put_out()
        self._state = State.FAULT

    def _reset(self) -> None:
        self._state = State.STOPPED
