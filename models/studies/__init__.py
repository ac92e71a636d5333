"""Studies: analyses of models and metadata behind the commands backtest, true_taste, readiness and ablation.

`historical_nights` and `new_titles` serve models.backtest, `simulated_tastes` models.true_taste, `content_evidence`
models.readiness, `metadata_fields` readiness and ablation. Nothing of the nightly run depends on a study, except the
gate, which reads the file that `new_titles.summary` describes.
"""
