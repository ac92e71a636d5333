"""Parts of `benchmarks.features`: its measured runs, and the events that Spark generates for them."""
