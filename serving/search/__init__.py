"""Top-k search over a bundle: which titles may be in a list, and how the best of them are found.

Start with `planner.py`: it chooses between exact search and the index. `availability.py` filters by country and
provider, `candidates.py` scores titles, `indexed_query.py` and `list_spec.py` translate a caller's arguments.
"""
