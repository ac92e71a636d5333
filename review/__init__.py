"""The nightly report, a page to read in the morning.

`python -m review.report --ds DATE` writes it. Start with `report.py`; `night.py` reads what a night left behind,
`examples.py` draws the example users, `figures.py` plots, and `sections.py` defines what a page is made of.
"""
