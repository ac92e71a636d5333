"""Batch serving: `batch_inference` runs a bundle on Spark workers, `recommendations` declares the table of the lists.

Start with jobs/recommend.py, the command. `batch_inference` imports TensorFlow, so no other job imports it.
"""
