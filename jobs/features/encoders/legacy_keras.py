"""TensorFlow with Keras 2, which the TF classes of `transformers` and `tensorflow-recommenders` are written for.

The one place where encoders import TensorFlow from, since the choice must be made before anything imports it.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow as tf
import tf_keras as keras

__all__ = ["keras", "tf"]
