"""The parent of Spark's Python workers: pyspark.daemon with the encoders' libraries imported once.

Workers are forked from it. Spark ends those that are idle for a minute, and a new one would spend seconds on imports.
"""

import pandas as pd  # noqa: F401
import pyarrow as pa  # noqa: F401
from pyspark.daemon import manager

from jobs.features import title_encoding  # noqa: F401

if __name__ == "__main__":
    manager()
