"""Transforms that several jobs share: history entries, splits of examples, encoded plots and posters.

Start with `history_entries`, the lists that user_histories and training_examples are made of, or with `title_encoding`,
which runs the encoders of `encoders/` on Spark. `title_content` reads title_features back for `jobs.describe`.
"""
