"""Top-k search over a bundle: filters of titles, and search for the best among those that pass.

Start with `planner.py`: it chooses between exact search and the index. `availability.py` filters by country and
provider, `candidates.py` scores titles, `indexed_query.py` and `list_spec.py` translate a caller's arguments.
"""
