"""recommendations: one row per user_id and rank: the best titles for all users, by a bundle on Spark's executors.

Reads user_histories, interactions and the live bundle, or --bundle; writes recommendations and, with --out, the columns
user_id, rank, title_id and score as Parquet files in a folder of its own, which is replaced.

A history is as of the end of --ds, by default the newest day of user_histories; titles a user has interacted with are
not recommended. With --histories training_users it is as of the split of the training examples, to measure what a model
would have recommended then. --users FILE and --titles FILE are CSV files, gzipped or not, with a column user_id or
title_id: the users to recommend for (rows of other users are kept), and the titles that may be recommended. Users
without a history get popular titles.

Every executor needs this project's environment and access to the bundle: a folder that all of them can read, or object
storage, of which each machine makes a copy in <bundles.copies>. A cluster is named by --set spark.master=spark://….
"""

import csv
import gzip
import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from indexing.errors import BundleError, RequestError
from jobs import command, interactions, training_users, user_histories
from jobs.errors import JobError
from jobs.features import history_entries
from jobs.serving import batch_inference
from jobs.serving.batch_inference import BatchRecommender
from jobs.serving.recommendations import TABLE
from jobs.staging import erasures
from jobs.store import built_days, change_rows, tables
from jobs.store.session import hadoop_path, spark_session
from jobs.store.tables import Commit

log = logging.getLogger("marquee")

Value = TypeVar("Value", int, str)


def with_seen_titles(users: DataFrame, interacted: DataFrame, max_titles: int) -> DataFrame:
    """`users` (with `entries`) with `seen_title_ids`, for those whose history was cut to `max_titles`.

    `interacted` are interactions. The column is null for all others: their entries are all titles they have seen.
    """
    cut = users.where(F.size("entries") >= max_titles).select("user_id")
    seen = interacted.join(cut, on="user_id", how="left_semi").groupBy("user_id")
    return users.join(seen.agg(F.collect_set("title_id").alias("seen_title_ids")), on="user_id", how="left")


def read_histories(spark: SparkSession, settings: Settings, source: str, ds: date) -> DataFrame:
    """`batch_inference.HISTORY_COLUMNS` as of the end of `ds`, or as of the split; the newest title first."""
    if source == training_users.TABLE.name:
        users = tables.read(spark, settings, training_users.TABLE)
        return users.withColumn("seen_title_ids", F.lit(None).cast("array<long>")).select(
            *batch_inference.HISTORY_COLUMNS
        )
    histories = tables.read(spark, settings, user_histories.TABLE)
    users = change_rows.as_of(histories, user_histories.KEYS, ds, change_rows.CHECKPOINT_DAYS)
    interacted = tables.read(spark, settings, interactions.TABLE).where(F.col("known_ds") <= F.lit(ds))
    users = with_seen_titles(users, interacted, settings.histories.max_titles)
    moment = F.lit(ds + timedelta(days=1)).cast("timestamp")
    columns = history_entries.pad(F.col("entries"), moment, settings.histories.max_titles)
    country = F.get("entries", F.lit(0))["country"]
    return users.withColumns({"country": country, **columns}).select(*batch_inference.HISTORY_COLUMNS)


def write(rows: DataFrame, requested: DataFrame | None, settings: Settings) -> Commit:
    """Replace the table by `rows`, or, where `requested` names users, only the rows of these users."""
    if requested is None:
        return tables.replace(rows, settings, TABLE, "true")
    before = tables.version(settings, TABLE)
    stored = tables.read_version(rows.sparkSession, settings, TABLE, before)
    kept = stored.join(requested, on="user_id", how="left_anti")
    return tables.replace(rows.unionByName(kept), settings, TABLE, "true", expected_version=before)


def run(spark: SparkSession, settings: Settings, arguments: Namespace) -> None:
    """Recommend for all users, or for those of --users."""
    built = built_days.read(settings, user_histories.TABLE)
    if not built or (arguments.ds and arguments.ds not in built):
        which = f"for ds={arguments.ds}" if arguments.ds else "yet"
        raise JobError(f"{user_histories.TABLE.name} is not built {which}; run python -m jobs.backfill first")
    ds = arguments.ds or max(built)
    if arguments.out:
        refuse_foreign(spark, arguments.out)
    titles = _column(arguments.titles, "title_id", int) if arguments.titles else None
    recommender = BatchRecommender(
        settings, arguments.bundle, _dial(arguments.dial), arguments.k, titles, arguments.available
    )
    users = read_histories(spark, settings, arguments.histories, ds)
    requested = None
    if arguments.users:
        user_ids = pd.DataFrame({"user_id": _column(arguments.users, "user_id", str)})
        requested = spark.createDataFrame(user_ids, "user_id string").distinct()
        users = requested.join(users, on="user_id", how="left")
    users = users.repartition(spark.sparkContext.defaultParallelism)
    rows = users.mapInPandas(recommender.recommend, batch_inference.LIST_SCHEMA).withColumns(
        {"dial": F.lit(recommender.dial).cast("float"), "bundle": F.lit(recommender.version), "ds": F.lit(ds)}
    )
    tables.ensure(spark, settings, TABLE)
    with erasures.none_meanwhile(settings, TABLE):
        commit = tables.retry_conflicts(TABLE, lambda: write(rows, requested, settings))
    if arguments.out:
        written = tables.read_version(spark, settings, TABLE, commit.version)
        lists = written if requested is None else written.join(requested, on="user_id", how="left_semi")
        lists.select("user_id", "rank", "title_id", "score").write.mode("overwrite").parquet(arguments.out)
        log.info("%s: written to %s too", TABLE.name, arguments.out)


def refuse_foreign(spark: SparkSession, out: str) -> None:
    """Raise JobError where `out` is a file, or a folder with content that is no complete output of Spark."""
    filesystem, path = hadoop_path(spark, out)
    if not filesystem.exists(path):
        return
    if not filesystem.getFileStatus(path).isDirectory():
        raise JobError(
            f"--out {out}: expected a folder that is new or holds an earlier output, found a file; give another"
        )
    names = {status.getPath().getName() for status in filesystem.listStatus(path)}
    if names and "_SUCCESS" not in names:
        raise JobError(f"--out {out}: the folder holds something else, which would be lost; give another")


def _dial(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _column(file: Path, name: str, convert: Callable[[str], Value]) -> list[Value]:
    """A column of a CSV file, gzipped or not."""
    open_text = gzip.open if file.suffix == ".gz" else open
    with open_text(file, "rt", encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        if name not in (reader.fieldnames or ()):
            raise JobError(f"{file}: expected a column {name!r}; found {reader.fieldnames}")
        try:
            return [convert(row[name]) for row in reader]
        except ValueError as error:
            raise JobError(f"{file}: column {name!r}: {error}") from error


def main(argv: Sequence[str] | None = None) -> int:
    parse = command.parser(__doc__)
    parse.add_argument("--ds", type=command.day, metavar="DATE", help="histories as of its end")
    parse.add_argument("--k", type=int, default=20, metavar="N", help="titles for each (default: 20)")
    parse.add_argument("--dial", default="0", metavar="DIAL", help="a setting of the bundle, or a number (default: 0)")
    parse.add_argument("--titles", type=Path, metavar="CSV", help="title_id: which may be recommended (default: all)")
    parse.add_argument("--users", type=Path, metavar="CSV", help="user_id: for whom (default: all with a history)")
    sources = [user_histories.TABLE.name, training_users.TABLE.name]
    parse.add_argument("--histories", choices=sources, default=sources[0], help=f"default: {sources[0]}")
    parse.add_argument("--available", action="store_true", help="only what is on offer in the user's country")
    parse.add_argument("--bundle", metavar="FOLDER", help="default: the live one of bundles.root")
    parse.add_argument("--out", metavar="FOLDER", help="Parquet files beside the table")

    def work(settings: Settings, arguments: Namespace) -> None:
        try:
            with spark_session(settings, TABLE.name) as spark:
                run(spark, settings, arguments)
        except (BundleError, RequestError) as error:
            raise JobError(str(error)) from error

    return command.run(parse, work, argv)


if __name__ == "__main__":
    sys.exit(main())
