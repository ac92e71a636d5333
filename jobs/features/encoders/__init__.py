"""Encoders of plots and posters: plain values in, arrays out, without Spark or settings.

Text: `tfidf` (default), `sentence`. Posters: `posters` (default), `keras_poster`. Every encoder has a `version` that
changes whenever its vectors would, `dim`, and `encode(items) -> [items, dim]`: float32 rows of length one, each
independent of the other items. `jobs.features.title_encoding` chooses the encoder of the settings.
"""
