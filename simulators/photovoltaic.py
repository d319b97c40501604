"""A 110 kWp string inverter under a moving sun and gentle clouds, with SunSpec's controls.

Irradiance → module temperature (Faiman) → DC power (PVWatts) → limit, clip and ramp → AC power → currents. What is
shown on a coarse grid is computed from what is shown, so that the display agrees with itself even at dawn.
"""

import math
from enum import IntEnum

from simulators.machine import DAY_S, MORNING_S, Machine, clip, lag, ramp
from simulators.sun import SPRING_DAY, tilted_irradiance

_AC_KW = 100.0
_DC_KWP = 110.0
_ROOT3 = math.sqrt(3.0)
_LIMIT_PCT_S = 9.0  # set-points move just under their declared greatest rates
_PF_PER_S = 0.009
_SOFT_START_KW_S = 9.0
_SOFT_START_KW = 6.0
_CONNECT_S = 60.0
_DISCONNECT_S = 2.0
_WAKE_KW, _SLEEP_KW = 1.0, 0.4
_MODULE_TAU_S = 300.0
_CABINET_TAU_S = 900.0
_STRINGS = 16


class State(IntEnum):
    """inverter_state (SunSpec model 103 St)."""

    OFF = 1
    SLEEPING = 2
    STARTING = 3
    MPPT = 4
    THROTTLED = 5
    STOPPING = 6
    FAULT = 7
    STANDBY = 8


def clean_dc_kw(irradiance: float, module_temp: float) -> float:
    """DC power at the maximum power point in kW (r2, PVWatts)."""
    return max(0.0, irradiance / 1000.0 * _DC_KWP * (1.0 - 0.0035 * (module_temp - 25.0)) * 0.95)


class Photovoltaic(Machine):
    """photovoltaic. Connecting waits 60 s and ramps up; the limit moves at 9 %/s, the power factor at 0.009/s."""

    type_id = "photovoltaic"

    def __init__(
        self, uid: str, seed: int = 0, *, start_local_time_s: float = MORNING_S, day_of_year: float = SPRING_DAY
    ) -> None:
        super().__init__(uid, seed, start_local_time_s=start_local_time_s)
        self.day_of_year = day_of_year
        self._state = State.MPPT
        self._timer = 0.0
        self._ceiling = _AC_KW  # soft start
        self._limit = 100.0
        self._pf_limit = 1.0
        self._revert = {"power_limit_sp": 0.0, "power_factor_sp": 0.0}
        self._clouds = (self.wander(0.030, 400.0), self.wander(0.006, 30.0))
        self._gusts = (self.wander(0.25, 180.0), self.wander(0.06, 10.0))
        self._air = self.wander(0.4, 1800.0)
        self._efficiency = self.wander(0.0008, 40.0)
        self._mismatch = self.wander(0.003, 300.0)
        self._array = self.wander(0.002, 20.0)
        self._array_voltage = self.wander(3.0, 20.0)
        self._grid = (self.wander(1.2, 30.0), self.wander(0.012, 20.0))
        self._reactive = self.wander(0.03, 15.0)
        self._leakage = self.wander(4.0, 60.0)
        self._insulation = self.wander(40.0, 1200.0)
        self._module = self._steady_module_temp()
        self._cabinet = 48.0
        self._today = int(self.local_time_s // DAY_S)
        self._advance(1e-3)
        self._cabinet = self.values["ambient_temp"] + 23.0 * self.values["ac_power"] / 76.2
        self.values["daily_energy"] = self._energy_since_midnight()
        self._show_status()

    def _steady_module_temp(self) -> float:
        sun = 0.865 * tilted_irradiance(self.local_time_s, self.day_of_year)
        return self._air_temp(self.local_time_s) + sun / (25.0 + 6.84 * 2.1)

    def _energy_since_midnight(self) -> float:
        """kWh made before the start, in ten-minute steps without clouds' changes."""
        kwh, t, end = 0.0, 0.0, self.start_local_time_s % DAY_S
        while t < end:
            sun = 0.865 * tilted_irradiance(t, self.day_of_year)
            module = self._air_temp(t) + sun / (25.0 + 6.84 * 2.1)
            kwh += min(_AC_KW, 0.983 * clean_dc_kw(sun, module)) * min(600.0, end - t) / 3600.0
            t += 600.0
        return kwh

    @staticmethod
    def _air_temp(local_s: float) -> float:
        return 22.5 + 5.0 * math.cos(2.0 * math.pi * (local_s / 3600.0 - 15.0) / 24.0)

    def _advance(self, dt: float) -> None:
        v = self.values
        self._weather(dt)
        self._take_back(dt)
        self._limit = ramp(self._limit, self._wanted_limit(), _LIMIT_PCT_S * dt)
        wanted_pf = v["power_factor_sp"] if v["power_factor_ena_sp"] == 1.0 else 1.0
        self._pf_limit = ramp(self._pf_limit, wanted_pf, _PF_PER_S * dt)
        v["power_limit_pct"] = self._limit
        dc_free = clean_dc_kw(v["poa_irradiance"], v["module_temp"]) * (1.0 + self._array.step(dt))
        efficiency = 0.983 + self._efficiency.step(dt)
        self._sequence(dt, dc_free * efficiency)
        self._electrics(dt, dc_free, efficiency)
        self._count(dt)
        self._cabinet = lag(self._cabinet, v["ambient_temp"] + 23.0 * v["ac_power"] / 76.2, dt, _CABINET_TAU_S)
        v["inverter_temp"] = self._cabinet
        v["insulation_resistance"] = 1800.0 + self._insulation.step(dt)
        v["residual_current"] = max(0.0, 25.0 + 0.46 * v["ac_power"] + self._leakage.step(dt))

    def _weather(self, dt: float) -> None:
        v = self.values
        sky = 0.865 + self._clouds[0].step(dt) + self._clouds[1].step(dt)
        v["poa_irradiance"] = self.on_grid(
            "poa_irradiance", sky * tilted_irradiance(self.local_time_s, self.day_of_year)
        )
        v["wind_speed"] = 2.1 * math.exp(self._gusts[0].step(dt) + self._gusts[1].step(dt))
        v["ambient_temp"] = self._air_temp(self.local_time_s) + self._air.step(dt)
        steady = v["ambient_temp"] + v["poa_irradiance"] / (25.0 + 6.84 * v["wind_speed"])
        self._module = lag(self._module, steady, dt, _MODULE_TAU_S)
        v["module_temp"] = self._module

    def _take_back(self, dt: float) -> None:
        """A value written with a revert time goes back by itself when it runs out (SunSpec 123, RvrtTms)."""
        for tag, left in self._revert.items():
            if left > 0.0:
                self._revert[tag] = max(0.0, left - dt)
                if self._revert[tag] == 0.0:
                    self.values[tag] = self.type.tag(tag).normal

    def _wanted_limit(self) -> float:
        return self.values["power_limit_sp"] if self.values["power_limit_ena_sp"] == 1.0 else 100.0

    def _sequence(self, dt: float, ac_free: float) -> None:
        """Run state and the soft-start ceiling, from the AC power that the sun allows."""
        self._timer = max(0.0, self._timer - dt)
        room = min(_AC_KW, _AC_KW * self._limit / 100.0)
        if self._state is State.STOPPING and self._timer == 0.0:
            self._state = State.OFF
        elif self._state is State.SLEEPING and ac_free >= _WAKE_KW:
            self._state, self._timer = State.STARTING, _CONNECT_S
        elif self._state is State.STARTING:
            if ac_free < _SLEEP_KW:
                self._state = State.SLEEPING
            elif self._timer == 0.0:
                self._ceiling = self._ceiling + _SOFT_START_KW_S * dt if self._ceiling > 0.0 else _SOFT_START_KW
                if self._ceiling >= min(ac_free, room):
                    self._ceiling = _AC_KW
                    self._state = State.MPPT
        if self._state in (State.MPPT, State.THROTTLED):
            if ac_free < _SLEEP_KW:
                self._state, self._ceiling = State.SLEEPING, 0.0
            elif ac_free > room:
                self._state = State.THROTTLED
            elif ac_free < 0.995 * room:
                self._state = State.MPPT

    def _electrics(self, dt: float, dc_free: float, efficiency: float) -> None:
        v, grid = self.values, self.on_grid
        on = self._state in (State.MPPT, State.THROTTLED, State.STARTING)
        ac = min(dc_free * efficiency, self._ceiling, _AC_KW * self._limit / 100.0) if on else 0.0
        ac = grid("ac_power", ac)
        dc = grid("dc_power", ac / efficiency)
        volts = 638.0 - 0.9 * (v["module_temp"] - 25.0) + self._array_voltage.step(dt)
        if dc > 0.0:  # off the maximum power point the voltage rises
            volts += 110.0 * (1.0 - min(1.0, dc / max(dc_free, 1e-9)))
        else:
            volts = min(790.0, volts + 110.0) * clip(v["poa_irradiance"] / 20.0, 0.0, 1.0)
        amps = grid("dc_current", 1000.0 * dc / volts) if dc > 0.0 else 0.0
        v["ac_power"], v["dc_power"], v["dc_current"] = ac, dc, amps
        v["dc_voltage"] = 1000.0 * dc / amps if amps > 0.0 else volts
        v["string_current_avg"] = amps / _STRINGS
        v["string_current_min"] = amps / _STRINGS * (0.985 + self._mismatch.step(dt))
        v["ac_voltage"] = 400.0 + self._grid[0].step(dt)
        v["grid_frequency"] = 50.0 + self._grid[1].step(dt)
        # The filter makes some reactive power of its own; beyond that the set power factor rules.
        own = min(0.0446 * ac, 3.3) + (self._reactive.step(dt) if ac >= 1.0 else 0.0)
        tangent = math.sqrt(max(0.0, 1.0 - self._pf_limit**2)) / self._pf_limit
        q = max(own, ac * tangent + (self._reactive.x if ac >= 1.0 else 0.0)) if ac > 0.0 else 0.0
        v["reactive_power"] = q
        v["power_factor"] = ac / math.hypot(ac, q) if ac > 0.0 else 1.0
        v["ac_current"] = 1000.0 * ac / (_ROOT3 * v["ac_voltage"] * v["power_factor"])
        poa = v["poa_irradiance"]
        v["performance_ratio"] = ac / (poa / 1000.0 * _DC_KWP) if poa >= 1.0 else 0.0

    def _count(self, dt: float) -> None:
        v = self.values
        day = int(self.local_time_s // DAY_S)
        if day != self._today:
            self._today, v["daily_energy"] = day, 0.0
        v["daily_energy"] += v["ac_power"] * dt / 3600.0
        v["total_energy"] += v["ac_power"] * dt / 3.6e6

    def _run_state(self) -> int:
        return self._state

    def _refusal(self, tag_id: str, value: float) -> str:
        if tag_id == "conn_sp" and value == 1.0 and self._state is State.FAULT:
            return "tripped"
        return ""

    def _written(self, tag_id: str, value: float) -> None:
        if tag_id == "conn_sp":
            if value == 1.0:
                self._start()
            else:
                self._stop()
        elif tag_id in self._revert:
            self._revert[tag_id] = self.values[tag_id.replace("_sp", "_rvrt_sp")]

    def _start(self) -> None:
        self.values["conn_sp"] = 1.0
        if self._state in (State.OFF, State.STANDBY, State.STOPPING):
            self._state, self._timer, self._ceiling = State.STARTING, _CONNECT_S, 0.0

    def _open(self) -> None:
        self.values["conn_sp"] = 0.0
        self._ceiling = 0.0

    def _stop(self) -> None:
        self._open()
        if self._state not in (State.OFF, State.FAULT):
            self._state, self._timer = State.STOPPING, _DISCONNECT_S

    def _stop_at_once(self) -> None:
        self._open()
        if self._state is not State.FAULT:
            self._state = State.OFF

    def _trip(self) -> None:
        self._open()
        self._state = State.FAULT

    def _reset(self) -> None:
        self._state = State.OFF
