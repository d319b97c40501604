"""Steps between driver and frame, each Samples to Samples."""
