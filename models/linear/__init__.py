"""Closed-form parts of the product: ALS, EASE, and the content kernel with its ridge.

Public: `als.Als`, `ease.Ease`, `linear_part`, `cold_ridge` and `content_kernel.features`. Start with `cold_ridge.py`
for vectors of unseen titles, with `linear_part.py` for scores of seen ones.
"""
