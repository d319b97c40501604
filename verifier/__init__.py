"""Confirms every criterion from live evidence; imports nothing but telemetry."""
