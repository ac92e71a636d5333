"""TensorFlow with Keras 2, which `tensorflow-recommenders` and the TF classes of `transformers` are written for.

Every other module imports TensorFlow from here: the environment variable must be set before anything imports it.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
# TensorFlow's messages about the machine would bury those of a command.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras

__all__ = ["keras", "tf", "tfrs"]
