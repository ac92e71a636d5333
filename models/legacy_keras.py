"""TensorFlow with Keras 2, which `tensorflow-recommenders` is written for.

The one place where models import TensorFlow from, since the choice must be made before anything imports it.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow as tf
import tf_keras as keras

__all__ = ["keras", "tf"]
