"""Encoders: a plot or a poster into one vector. No Spark and no settings here: plain values in, arrays out.

Every encoder has a `version`, which names its vectors and changes when they would, `dims`, and
`encode(items) -> [items, dims]`, float32 rows of length one, each independent of the items beside it.
"""
