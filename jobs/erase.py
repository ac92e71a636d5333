"""Erase users: remove the users of the `erasures` feed from every table and from the files of older versions.

Reads <feeds.root>/erasures/*.jsonl[.gz], requests made up to the end of --ds; writes `erasures` (a hash of each id,
which keeps the user out of all later loads), every table that names users, rejected_rows, feed_loads and the lists of
recommendations that nights keep for their reports. Then it removes the files of older versions of these tables:
versions before this run can no longer be read in full, even those that a model was trained on. Erasure takes
precedence.

Files of a killed write are in no version; `maintain` removes them after `maintain.retention_hours`. The raw feeds
belong to their producer and are not touched, nor are files written by `jobs.recommend --out`.
"""

import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.table import Table as RichTable

from conf.settings import Settings
from jobs import command, stg_consents, stg_events
from jobs.staging import erasures, feed_loads, feed_staging, feeds, rejected_rows
from jobs.staging.feed_staging import FeedSpec
from jobs.staging.parsing import Field
from jobs.store import catalog, tables
from jobs.store.session import spark_session
from jobs.store.tables import Table
from lake import delta_log, night_files

log = logging.getLogger("marquee")

FEED = "erasures"
NIGHT_LISTS = "lists of past nights"
_FEEDS_WITH_USERS = ("events", "consents", FEED)


@dataclass(frozen=True)
class Erased:
    """The result for one table, or for the nights' lists."""

    table: str
    rows_removed: int
    files_rewritten: int
    old_files_removed: int


def feed_spec() -> FeedSpec:
    """The fields of the raw feed and what they must hold."""
    return FeedSpec(
        FEED,
        (
            Field("user_id", "string", "an id", is_required=True),
            Field(*("requested_at", "string", "an RFC 3339 time"), is_required=True, convert=stg_events.parse_time),
        ),
    )


def names_user(line: Column, user_id: Column) -> Column:
    """True where a rejected line is about a user: by its user_id, or, if it can't be parsed, by the id as a word."""
    named = F.get_json_object(line, "$.user_id")
    edge = "[0-9A-Za-z_-]"
    as_word = F.concat(F.lit(f"(?<!{edge})\\Q"), user_id, F.lit(f"\\E(?!{edge})"))
    return F.when(named.isNotNull(), F.trim(named) == user_id).otherwise(F.regexp_like(line, as_word))


def run(spark: SparkSession, settings: Settings, ds: date) -> list[Erased]:
    """Carry out the requests made up to the end of `ds`. Raises JobError for a feed with too many bad lines."""
    tables.ensure(spark, settings, erasures.TABLE)
    files = feeds.list_snapshot(spark, settings.feeds.root, FEED)
    spec = feed_spec()
    with feed_staging.parsed_lines(spark, settings, spec, files, ds) as parsed:
        counts = feed_staging.count_days(parsed, spec)
        refused = feed_staging.refused_days(settings, spec, counts)
        rejects = feed_staging.all_rejects(parsed, spec, counts)
        feed_staging.replace_rejects(spark, settings, spec, [ds], rejects)
        feed_staging.raise_refused(refused)
        due = feed_staging.good_rows(parsed, spec).where(F.to_date("requested_at") <= F.lit(ds))
        users = due.groupBy("user_id").agg(F.min("requested_at").alias("requested_at"))
        # Registered before anything is removed: no load that ends from now on can add them again.
        _register(users, settings)
        present = [table for table in catalog.TABLES if table.user_column and tables.exists(settings, table)]
        done = [_erase_user_rows(spark, settings, table) for table in present]
        done.append(_erase_rejects(users, settings))
        done.append(_erase_night_lists(spark, settings))
    _recount_loads(spark, settings)
    return done


def _register(users: DataFrame, settings: Settings) -> None:
    hashed = users.select(erasures.user_hash(F.col("user_id")).alias("user_hash"), "requested_at")
    target = DeltaTable.forPath(users.sparkSession, tables.location(settings, erasures.TABLE))
    merge = target.alias("t").merge(hashed.alias("s"), "t.user_hash = s.user_hash").whenNotMatchedInsertAll()
    tables.retry_conflicts(erasures.TABLE, merge.execute)


def _erase_user_rows(spark: SparkSession, settings: Settings, table: Table) -> Erased:
    erased = tables.read(spark, settings, erasures.TABLE)
    return _erase_from(
        settings, table, erased, erasures.user_hash(F.col(f"t.{table.user_column}")) == F.col("user_hash")
    )


def _erase_rejects(users: DataFrame, settings: Settings) -> Erased:
    spark = users.sparkSession
    rejects = tables.read(spark, settings, rejected_rows.TABLE).where(F.col("feed").isin(*_FEEDS_WITH_USERS))
    is_about_user = names_user(F.col("line"), F.col("user_id"))
    lines = rejects.join(F.broadcast(users), on=is_about_user, how="left_semi").select("feed", "ds", "line").distinct()
    return _erase_from(settings, rejected_rows.TABLE, lines, tables.same_columns("t", "s", ("feed", "ds", "line")))


def _erase_night_lists(spark: SparkSession, settings: Settings) -> Erased:
    files = night_files.all_lists(settings)
    if not files:
        return Erased(NIGHT_LISTS, 0, 0, 0)
    erased = tables.read(spark, settings, erasures.TABLE)
    # Not read by Spark: reports lie on this machine's disk and list few users.
    listed = spark.createDataFrame(pa.table({"user_id": pa.array(night_files.listed_users(files), pa.string())}))
    is_erased = erasures.user_hash(F.col("user_id")) == F.col("user_hash")
    erased_ids = [row["user_id"] for row in listed.join(erased, on=is_erased, how="left_semi").collect()]
    removed = [night_files.erase_users(file, erased_ids) for file in files] if erased_ids else []
    rewritten = sum(rows > 0 for rows in removed)
    log.info("%s: removed %d rows; rewrote %d files", NIGHT_LISTS, sum(removed), rewritten)
    return Erased(NIGHT_LISTS, sum(removed), rewritten, rewritten)


def _erase_from(settings: Settings, table: Table, keys: DataFrame, is_match: Column) -> Erased:
    """Delete the rows of `table` (alias `t`) that match `keys` (alias `s`), and the files of its older versions."""
    spark, path = keys.sparkSession, tables.location(settings, table)
    before = tables.version(settings, table)
    delete = DeltaTable.forPath(spark, path).alias("t").merge(keys.alias("s"), is_match).whenMatchedDelete()
    with tables.row_groups(spark, settings, table):
        tables.retry_conflicts(table, delete.execute)
    merges = [commit for commit in delta_log.commits(path, after=before) if commit.operation == "MERGE"]
    rows = sum(int(merge.metrics["numTargetRowsDeleted"]) for merge in merges)
    files = sum(int(merge.metrics["numTargetFilesRemoved"]) for merge in merges)
    removed = tables.vacuum(spark, settings, table, retention_hours=0, lite=True)
    log.info("%s: removed %d rows; rewrote %d files, removed %d old ones", table.name, rows, files, removed)
    return Erased(table.name, rows, files, removed)


def _recount_loads(spark: SparkSession, settings: Settings) -> None:
    """Count the lines of erased rows as erased in feed_loads.

    Counts rows anew instead of subtracting, so that the next run corrects a killed one.
    """
    for table in (feed_loads.TABLE, stg_events.TABLE, stg_consents.TABLE):
        tables.ensure(spark, settings, table)
    loads = tables.read(spark, settings, feed_loads.TABLE)
    newest_consents = loads.where("feed = 'consents'").groupBy("feed").agg(F.max("ds").alias("ds"))
    consents = tables.read(spark, settings, stg_consents.TABLE).agg(F.count("*").alias("loaded"))
    events = tables.read(spark, settings, stg_events.TABLE).groupBy(F.col("feed_date").alias("ds"))
    rows = newest_consents.crossJoin(consents).unionByName(
        loads.where("feed = 'events'").select("feed", "ds").join(events.agg(F.count("*").alias("loaded")), "ds", "left")
    )
    rejects = tables.read(spark, settings, rejected_rows.TABLE).groupBy("feed", "ds")
    is_copy = F.col("reason").contains(feed_staging.COPY)
    rejected = rejects.agg(F.count("*").alias("rejected"), F.count_if(is_copy).alias("duplicates"))
    counted = rows.join(rejected, on=["feed", "ds"], how="left").na.fill(0)
    target = DeltaTable.forPath(spark, tables.location(settings, feed_loads.TABLE)).alias("t")
    recorded = F.struct("t.count_loaded", "t.count_rejected", "t.count_duplicates")
    merge = target.merge(counted.alias("s"), tables.same_columns("t", "s", ("feed", "ds"))).whenMatchedUpdate(
        condition=recorded != F.struct("s.loaded", "s.rejected", "s.duplicates"),
        set={
            "count_loaded": "s.loaded",
            "count_rejected": "s.rejected",
            "count_duplicates": "s.duplicates",
            "count_erased": "t.count_lines - s.loaded - s.rejected",
        },
    )
    tables.retry_conflicts(feed_loads.TABLE, merge.execute)


def main(argv: Sequence[str] | None = None) -> int:
    parser = command.parser(__doc__)
    parser.add_argument("--ds", type=command.day, required=True, metavar="DATE", help="requests made up to its end")

    def work(settings: Settings, arguments: Namespace) -> None:
        with spark_session(settings, "erase") as spark:
            done = run(spark, settings, arguments.ds)
            count = tables.read(spark, settings, erasures.TABLE).count()
        shown = RichTable(
            "table", "rows removed", "files rewritten", "old files removed", title=f"{count:,} users erased"
        )
        for entry in done:
            numbers = (entry.rows_removed, entry.files_rewritten, entry.old_files_removed)
            shown.add_row(entry.table, *[f"{n:,}" for n in numbers])
        command.console().print(shown)

    return command.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
