"""Shared parts of the benchmarks: meters of time and memory, reports, measured processes, simulated feeds."""
