"""Parts of `benchmarks.training`: the networks, the tables they are trained on, and the TFRS tutorial's model."""
