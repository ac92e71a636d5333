"""Tables of the lake as arrays and batches: catalogue, content, positives, histories, title names.

Public: `read_catalogue`, `read_positives`, `BatchReader`. Start with `catalogue.py`; only `dataset.py` uses Petastorm.
"""
