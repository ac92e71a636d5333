"""The response: titles with names, scores and reasons.

`response.py` holds the public dataclasses, `response_builder.py` fills them from rows and scores, `attribution.py`
measures how much each title of the history contributes, and `reasons.py` turns that into titles and shared names.
"""
