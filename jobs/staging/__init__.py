"""Staging: raw feeds into typed tables, with every line accounted for.

`feeds` lists files and reads lines, `parsing` makes typed columns of them, `feed_staging` has the steps of every
staging job, `snapshot_feeds` the whole job of a snapshot feed. `feed_loads`, `rejected_rows` and `erasures` are tables
that staging jobs share. Start with `feed_staging`, then read jobs/stg_titles.py as an example.
"""
