"""Approximate nearest-neighbour search with ScaNN: compilation, tuning against exact search, and searching.

Start at compilation.py, which writes both searchers of a bundle. pybind_search.py is all that serving needs.
"""
