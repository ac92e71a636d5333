"""TensorFlow with Keras 2, which `tensorflow-recommenders` is written for.

The one place where models import TensorFlow from, since the choice must be made before anything imports it.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
# What it says of the machine at every start would bury what a command says.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras

__all__ = ["keras", "tf", "tfrs"]
