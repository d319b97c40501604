"""The whole plant on one machine: files, processes, verification."""
