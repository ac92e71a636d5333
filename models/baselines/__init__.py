"""Recommenders to compare with: popularity, content neighbours, MARec, and ALS and EASE completed by content.

Public: `build.baselines`, which makes each by its name; ALS and EASE themselves are parts of the product, in `linear`.
"""
