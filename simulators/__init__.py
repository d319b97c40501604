"""Machines with physics and faults, served over real OPC UA and Modbus. Everything here is SIMULATED 仿真."""
