"""Configuration of a simulated plant."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from telemetry.points import Order, Strict

MachineType = Literal["industrial_boiler", "large_motor", "air_compressor", "photovoltaic", "cnc_machine"]


class MachineSettings(Strict):
    """One machine. `port` 0 takes a free one; `order` overrides the byte order of a register map; `username` is who may
    log in to a secured server (the password is made in the state folder)."""

    uid: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    type: MachineType
    name: str = ""
    port: int = Field(0, ge=0, le=65535)
    seed: int = 1
    order: Order | None = None
    username: str = "starproof"
    options: dict[str, float | int | bool | str] = Field(default_factory=dict[str, float | int | bool | str])


class PlantSettings(Strict):
    """A plant. `state` holds journals, certificates and passwords; `step_s` is the physics' step in real seconds, `speed`
    how much faster than real time the physics runs; `solar_time` when the day begins (HH:MM)."""

    machines: tuple[MachineSettings, ...] = Field(min_length=1)
    state: Path
    host: str = "127.0.0.1"
    control_port: int = Field(0, ge=0, le=65535)
    step_s: float = Field(0.1, ge=0.01, le=1.0)
    speed: float = Field(1.0, gt=0, le=100)
    solar_time: str = Field("11:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")

    @field_validator("machines")
    @classmethod
    def _different(cls, machines: tuple[MachineSettings, ...]) -> tuple[MachineSettings, ...]:
        uids = [m.uid for m in machines]
        if twice := sorted({uid for uid in uids if uids.count(uid) > 1}):
            raise ValueError(f"uid given twice: {', '.join(twice)}")
        ports = [m.port for m in machines if m.port]
        if taken := sorted({port for port in ports if ports.count(port) > 1}):
            raise ValueError(f"port given twice: {', '.join(map(str, taken))}")
        return machines
