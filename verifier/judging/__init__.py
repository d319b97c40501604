"""Pure functions from what was seen to what it means: no clock, no network, no chance."""
