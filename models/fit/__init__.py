"""Training: `inputs` reads it from pinned tables, `training` trains the towers, `model_assembly` makes the model.

Public: `read_inputs`, `train_model`, `help_train`. Start with `training.py`.
"""
