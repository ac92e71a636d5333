"""Petastorm to tf.data, the towers, training, baselines, metrics, evaluation, gate. Never imports Spark."""
