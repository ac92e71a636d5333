"""MLflow: runs, registered versions and their aliases, the model card, the model as MLflow serves it.

Public: `registry` and `runs`. Start with `registry.py`.
"""
