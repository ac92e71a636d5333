"""Parts of `benchmarks.lake`: its measured runs, and staging in DuckDB and Polars."""
