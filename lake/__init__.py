"""Access to the lake for jobs and models, without Spark or TensorFlow.

`snapshot.LakeSnapshot` reads tables at pinned versions: start there. `delta_log` and `delta_files` read one table,
`night_tables` writes small ones; `evaluations`, `gate_results` and `feed_days` declare tables that several rooms share.
Nothing here imports from another room but conf.
"""
