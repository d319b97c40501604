"""The reader that fits a machine's connection."""

import logging

from telemetry.points import Machine, OpcUaConnection
from verifier.readers.base import Clock, Reader
from verifier.readers.modbus import ModbusReader
from verifier.readers.opcua import Credentials, OpcUaReader

# They log what a device does wrong; a Scan carries the reason already.
LIBRARIES = ("asyncua", "pymodbus", "pymodbus.logging")


def quiet_libraries() -> None:
    """Keep the device libraries' own logs off the inspector's terminal."""
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def reader_for(machine: Machine, clock: Clock, credentials: Credentials | None = None) -> Reader:
    """A reader for a machine of the point list; it connects at its first read."""
    if isinstance(machine.connection, OpcUaConnection):
        return OpcUaReader(machine, clock, credentials)
    return ModbusReader(machine, clock)
