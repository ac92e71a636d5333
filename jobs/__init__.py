"""Spark jobs: one file makes one table or does one action."""
