"""Benchmarks, each runnable as `python -m benchmarks.<name>`: figures as JSON lines and as a table.

The commands are the modules of this folder; each one's parts lie in the folder of its name. `harness/` holds what all
of them use: meters, reports, and processes of their own for measured runs.
"""
