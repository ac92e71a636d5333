"""What is measured against what, each runnable as `python -m benchmarks.<name>`."""
