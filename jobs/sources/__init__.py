"""Sources of raw feeds: commands that write the JSON-lines folders which the staging jobs read.

`python -m jobs.sources.movielens` converts a MovieLens folder; `python -m jobs.sources.simulate` simulates the guide
with a known truth. `feed_files` writes the files.
"""
