"""Parts of `benchmarks.index` and `benchmarks.index_build`: the catalogue, the indexes, their runs and figures.

Start with `catalogue.py`, which defines what all indexes are compared on.
"""
