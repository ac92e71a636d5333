"""The parts as one model: `combined` compresses them into one vector, `two_tower` is the trained model.

Public: `TwoTower`, `CatalogueModel` and `standardised.popularity`. Start with `two_tower.py`.
"""
