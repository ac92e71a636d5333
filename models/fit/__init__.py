"""Training: `inputs` reads pinned tables, `training` trains the towers, `model_assembly` makes the model.

Public: `read_inputs`, `train_model`, `help_train`. Start with `training.py`.
"""
