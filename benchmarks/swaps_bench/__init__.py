"""Parts of `benchmarks.swaps`: the process that sends requests while bundles are swapped."""
