"""The two towers in TensorFlow: layers, networks with their losses, and the query as serving computes it.

Public: `UserSoftmax`, `SampledSoftmax`, `QueryModule`. Start with `layers.py`; import TensorFlow by `legacy_keras`.
"""
