"""Alarms: rules with versions, their evaluation on committed data, notices, and the package of raw values around each."""
