"""The recommender: data, models, training, evaluation and gate. Never imports Spark.

Commands lie here, one module each. Rooms: `data` (tables as arrays and batches), `towers` and `linear` (parts of the
product), `blend` (the parts as one model), `fit` (training), `debiasing` (position bias), `baselines`, `evaluation`,
`studies`, `gating`, `tracking` (MLflow). Start with `blend/two_tower.py`, the trained model, or with `train.py`.
"""
