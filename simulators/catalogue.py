"""Which machines can be simulated."""

from simulators.boiler import Boiler
from simulators.cnc import CncMachine
from simulators.compressor import Compressor
from simulators.machine import Machine
from simulators.motor import Motor
from simulators.photovoltaic import Photovoltaic

SIMULATED: dict[str, type[Machine]] = {
    machine.type_id: machine for machine in (Boiler, Motor, Compressor, Photovoltaic, CncMachine)
}


def make_machine(type_id: str, uid: str, seed: int = 0, **options: float) -> Machine:
    """A running machine of an equipment type. Options: start_local_time_s (all), day_of_year (photovoltaic).

    Raises KeyError for a type without a model, TypeError for an option it does not have."""
    return SIMULATED[type_id](uid, seed, **options)
