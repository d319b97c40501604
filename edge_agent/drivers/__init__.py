"""One driver a protocol; each turns replies into Samples."""
