"""Spark jobs: each file here is a command that makes the table of its name, or does one action.

Start with `jobs.backfill`, which runs all of them in the order of `jobs.store.catalog`. The folders are library:
`sources` writes raw feeds, `staging` reads them, `features` holds transforms, `serving` runs a bundle on Spark, and
`store` reads and writes tables. TensorFlow is imported by `jobs.serving.batch_inference` alone, and by encoders on use.
"""
