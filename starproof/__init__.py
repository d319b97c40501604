"""The command line, the wiring of services, and the whole plant on one machine."""
