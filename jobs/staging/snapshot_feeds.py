"""Staging of snapshot feeds (titles, offers, consents): each is complete, and is merged into its table by key."""

import logging
from collections.abc import Callable
from datetime import date

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from conf.settings import Settings
from jobs.errors import JobError
from jobs.staging import erasures, feed_loads, feed_staging, feeds
from jobs.staging.feed_staging import FeedSpec
from jobs.store import tables
from jobs.store.tables import Table

log = logging.getLogger("marquee")


def run(
    spark: SparkSession,
    settings: Settings,
    ds: date,
    feed: FeedSpec,
    table: Table,
    build: Callable[[DataFrame], DataFrame],
    changed: Column,
    copy_order: tuple[Column, ...],
) -> None:
    """Merge the snapshot in the feed into `table`, as of the end of `ds`.

    `build` makes table rows of good lines. `changed` is the condition over aliases `t` and `s` under which a known row
    is updated. Of several lines with one key the first by `copy_order` is kept. A feed without files leaves the table
    unchanged, and so does a `ds` before the newest one merged: the feed is always today's.
    Raises JobError for a snapshot with too many bad lines, or that would remove too many rows.
    """
    for written in (table, feed_loads.TABLE):
        tables.ensure(spark, settings, written)
    files = feeds.list_snapshot(spark, settings.feeds.root, feed.name)
    if not files:
        log.warning("%s: no files in %s/%s; %s stays as it is", feed.name, settings.feeds.root, feed.name, table.name)
        return
    newest = max(feed_loads.read(settings, feed.name), default=None)
    if newest and ds < newest:
        log.info("%s: already holds the snapshot as of %s; ds=%s changes nothing", table.name, newest, ds)
        return
    erasures_before = erasures.version(settings)
    with feed_staging.parsed_lines(spark, settings, feed, files, ds) as parsed:
        counts = feed_staging.count_days(parsed, feed)
        refused = feed_staging.refused_days(settings, feed, counts)
        rows = feed_staging.good_rows(parsed, feed)
        order = Window.partitionBy(*table.primary_key).orderBy(*copy_order, F.desc("file"), F.desc("line"))
        ranked = rows.withColumn("copy_rank", F.row_number().over(order))
        key = ", ".join(table.primary_key)
        duplicates = ranked.where("copy_rank > 1").select(
            "feed_date", "file", F.lit(f"{key}{feed_staging.COPY} another line").alias("reason"), "line"
        )
        counts = feed_staging.with_duplicates(counts, duplicates)
        rejects = feed_staging.all_rejects(parsed, feed, counts, duplicates)
        feed_staging.replace_rejects(spark, settings, feed, [ds], rejects)
        feed_staging.raise_refused(refused)
        snapshot = build(ranked.where("copy_rank = 1"))
        limit = settings.staging.max_removed_share
        tables.retry_conflicts(table, lambda: tables.merge_snapshot(snapshot, settings, table, ds, changed, limit))
        if erasures.version(settings) != erasures_before:
            raise JobError(f"{table.name}: a user was erased while it was loaded; run ds={ds} again")
        feed_staging.record_loads(spark, settings, feed, {ds: files}, counts)
