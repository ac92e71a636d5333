"""TensorFlow and both forms of ScaNN, in the order in which they must be imported.

Slow to import, so readers import it late. Importing ScaNN's TensorFlow ops registers them, which is necessary before a
SavedModel that uses them is loaded.
"""

from pathlib import Path
from typing import Any

# isort: off
from models.towers.legacy_keras import tf
from scann.scann_ops.py import scann_ops, scann_ops_pybind
# isort: on

__all__ = ["load_saved_model", "load_searcher", "save_module", "scann_ops", "scann_ops_pybind", "tf"]


def load_searcher(folder: Path) -> Any:
    """The `scann_ops_pybind` searcher in a folder."""
    return scann_ops_pybind.load_searcher(str(folder))


def load_saved_model(folder: Path) -> Any:
    """Load a SavedModel, which runs its code: only from folders whose checksums were verified."""
    return tf.saved_model.load(str(folder))


def save_module(module: tf.Module, folder: Path) -> None:
    """Export a module with its `__call__`, also as the signature `serving_default`."""
    options = tf.saved_model.SaveOptions(namespace_whitelist=["Scann"])
    tf.saved_model.save(module, str(folder), signatures=module.__call__.get_concrete_function(), options=options)
