"""The agent at the machine: drivers, pipeline, outbox, uplink."""
