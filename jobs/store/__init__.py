"""The job side of the lake: Spark sessions, Delta tables and the ledger of days that were built.

Start with `tables.Table`, the declaration of a table, and `tables.replace_days`, which writes most of them. `catalog`
lists all tables and the jobs that make them, `built_days` says which days are there or stale, and `change_rows` reads
tables that have a row only where something changed.
"""
