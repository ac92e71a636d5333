"""Position bias: clicks by rank, the chance that a rank is looked at, and a like's weight by it.

Public: `ClickRanks` and `read_click_ranks`, `Examination` and `fit_examination`, `title_weights` and
`debiased_popularity`. Start with `examination.py`; the command is `models/position_bias.py`.
"""
