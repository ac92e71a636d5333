"""recommendations: one row per user_id and rank: the best titles for everybody, by a bundle on Spark's executors.

Reads user_histories and the live bundle, or --bundle; writes recommendations, whole, and with --out the columns
user_id, rank, title_id and score as Parquet files in a folder of its own.

A history is as of the end of --ds, by default the newest day that user_histories is built for; its titles are not
recommended. With --histories training_users it is as of the split of the training examples, to measure what a model
would have recommended then. --users FILE and --titles FILE are CSV files with a column user_id or title_id: for whom,
and which titles may be recommended; somebody of whom nothing is known gets what is popular.
"""

import csv
import gzip
import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Serving, Settings
from indexing import publication
from indexing.bundle import Bundle
from indexing.errors import BundleError, RequestError
from indexing.people import History, Person
from indexing.pointer import Entry
from indexing.retriever import Lists, Retriever
from indexing.storage import open_store
from jobs import built_days, change_rows, command, erasures, histories, tables, training_users, user_histories
from jobs.errors import JobError
from jobs.recommendations import TABLE
from jobs.session import spark_session
from models.recommender import NO_TITLE

log = logging.getLogger("marquee")

Value = TypeVar("Value", int, str)

_HISTORY = ("user_id", "country", "history_title_ids", "history_weights", "history_ages_days")
_ANSWER = "user_id string, rank int, title_id long, score float, is_popular boolean"


class Answering:
    """Which bundle answers, and how: what every worker gets, and loads the bundle by once for itself."""

    def __init__(self, settings: Settings, folder: str | None, dial: float | str, k: int, titles: Sequence[int] | None):
        self._root, self._copies = settings.bundles.root, settings.bundles.copies
        self._options: Serving = settings.serving
        self._folder = folder
        # All workers answer by one bundle, though another be published meanwhile.
        self._entry: Entry | None = None if folder else publication.live_entry(publication.store_of(settings))
        self.k, self._titles = k, titles
        opened = self._retriever()
        self.version = opened.version
        self.dial = opened.dial_value(dial)

    def __call__(self, batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Rows of _HISTORY to rows of _ANSWER, batch by batch."""
        for batch in batches:
            people = [_person(row) for row in batch.itertuples(index=False)]
            lists = self._retriever().recommend_many(people, self.dial, self.k, self._titles)
            yield as_rows(batch["user_id"].to_numpy(), lists)

    def _retriever(self) -> Retriever:
        return _load(self._root, self._copies, self._entry, self._folder, self._options)


@lru_cache(maxsize=1)
def _load(root: str, copies: str, entry: Entry | None, folder: str | None, options: Serving) -> Retriever:
    if folder is not None:
        return Retriever(Bundle.open(folder), options)
    if entry is None:
        raise ValueError("neither a folder nor an entry of the pointer")
    return Retriever(publication.open_entry(open_store(root, copies), entry), options)


def as_rows(user_ids: NDArray[Any], lists: Lists) -> pd.DataFrame:
    """Lists [users, k] as one row per title, without the places at which a list has none."""
    users, places = np.nonzero(lists.title_ids != NO_TITLE)
    return pd.DataFrame(
        {
            "user_id": user_ids[users],
            "rank": (places + 1).astype(np.int32),
            "title_id": lists.title_ids[users, places],
            "score": lists.scores[users, places],
            "is_popular": lists.is_popular[users],
        }
    )


def _person(row: Any) -> Person:
    if row.history_title_ids is None:
        return Person(History.of(()))
    is_title = np.asarray(row.history_title_ids) != histories.NO_TITLE
    history = History(
        np.asarray(row.history_title_ids, dtype=np.int64)[is_title],
        np.asarray(row.history_weights, dtype=np.float32)[is_title],
        np.asarray(row.history_ages_days, dtype=np.float32)[is_title],
    )
    return Person(history, row.country)


def read_histories(spark: SparkSession, settings: Settings, source: str, ds: date) -> DataFrame:
    """`user_id, country` and the history as of the end of `ds`, or as of the split; the newest title first."""
    if source == training_users.TABLE.name:
        return tables.read(spark, settings, training_users.TABLE).select(*_HISTORY)
    known = tables.read(spark, settings, user_histories.TABLE)
    users = change_rows.as_of(known, user_histories.KEYS, ds, settings.change_rows.checkpoint_days)
    moment = F.lit(ds + timedelta(days=1)).cast("timestamp")
    columns = histories.pad(F.col("entries"), moment, settings.histories.max_titles)
    own = {name: column for name, column in columns.items() if name in _HISTORY}
    return users.select(
        "user_id",
        F.get("entries", F.lit(0))["country"].alias("country"),
        *[column.alias(name) for name, column in own.items()],
    )


def run(spark: SparkSession, settings: Settings, arguments: Namespace) -> None:
    """Recommend to everybody, or to those in the file."""
    newest = max(built_days.read(settings, user_histories.TABLE), default=None)
    if newest is None:
        raise JobError(f"{user_histories.TABLE.name} holds nothing yet; run jobs.backfill first")
    ds = arguments.ds or newest
    titles = _column(arguments.titles, "title_id", int) if arguments.titles else None
    answering = Answering(settings, arguments.bundle, _dial(arguments.dial), arguments.k, titles)
    people = read_histories(spark, settings, arguments.histories, ds)
    if arguments.users:
        asked = spark.createDataFrame(pd.DataFrame({"user_id": _column(arguments.users, "user_id", str)})).distinct()
        people = asked.join(people, on="user_id", how="left")
    people = people.repartition(spark.sparkContext.defaultParallelism)
    answers = people.mapInPandas(answering.__call__, _ANSWER)
    rows = answers.withColumns(
        {
            "dial": F.lit(answering.dial).cast("float"),
            "bundle": F.lit(answering.version),
            "ds": F.lit(ds),
        }
    )
    tables.ensure(spark, settings, TABLE)
    with erasures.none_meanwhile(settings, TABLE):
        commit = tables.retry_conflicts(settings, TABLE, lambda: tables.replace(rows, settings, TABLE, "true"))
    if arguments.out:
        written = tables.read_version(spark, settings, TABLE, commit.version)
        written.select("user_id", "rank", "title_id", "score").write.mode("overwrite").parquet(arguments.out)


def _dial(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _column(file: Path, name: str, of: Callable[[str], Value]) -> list[Value]:
    """A column of a CSV file, gzipped or not."""
    open_text = gzip.open if file.suffix == ".gz" else open
    with open_text(file, "rt", encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if name not in (reader.fieldnames or ()):
            raise JobError(f"{file}: expected a column {name!r}; found {reader.fieldnames}")
        try:
            return [of(row[name]) for row in reader]
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
