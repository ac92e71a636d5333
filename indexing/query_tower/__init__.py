"""The query tower of a bundle, from a history to an embedding, in three forms.

query_export.py writes it, as a SavedModel, as arrays, and inside the SavedModel from features to titles. numpy_tower.py
computes it from the arrays, which serving uses; legacy_query_tower.py reads bundles built before the arrays were.
"""
