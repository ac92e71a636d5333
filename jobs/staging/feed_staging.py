"""Steps shared by all staging jobs: read a feed, reject bad lines, refuse bad days, account for every line."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from jobs.errors import JobError
from jobs.staging import erasures, feed_loads, feeds, parsing, rejected_rows
from jobs.staging.feeds import FeedFile
from jobs.store import tables
from jobs.store.disk_cache import kept_on_disk

log = logging.getLogger("marquee")

# In the reason of a rejected duplicate, after the key's name.
COPY = ": a copy of"
_MAX_UNKNOWN_FIELDS = 20


@dataclass(frozen=True)
class FeedSpec:
    """A raw feed: the name of its folder, its fields, and the column that names a user, if any."""

    name: str
    fields: tuple[parsing.Field, ...]
    user_column: str | None = None


@dataclass(frozen=True)
class DayCounts:
    """Counts of the lines of one feed day by outcome. `rejected` excludes `duplicates`, which are found later."""

    lines: int = 0
    rejected: int = 0
    duplicates: int = 0
    erased: int = 0
    unknown_fields: tuple[str, ...] = ()
    missing_fields: tuple[str, ...] = ()  # required, and in no line of the day

    @property
    def loaded(self) -> int:
        return self.lines - self.rejected - self.duplicates - self.erased


@contextmanager
def parsed_lines(
    spark: SparkSession, settings: Settings, feed: FeedSpec, files: Sequence[FeedFile], ds: date | None = None
) -> Iterator[DataFrame]:
    """The feed's lines with a column per field, `feed_date`, `file`, `is_good`, `is_erased`.

    Parsed once and kept on disk until the block ends, since staging reads it several times. `ds` is the feed day of
    files that have none in their path.
    """
    lines = feeds.read_lines(spark, files)
    if ds is not None:
        lines = lines.withColumn("feed_date", F.lit(ds))
    parsed = parsing.parse_lines(lines, feed.fields, parsing.MAX_LINE_BYTES)
    with kept_on_disk(_mark_erased(spark, settings, parsed, feed.user_column)) as kept:
        yield kept


def _mark_erased(spark: SparkSession, settings: Settings, parsed: DataFrame, user_column: str | None) -> DataFrame:
    erased = erasures.read_erased(spark, settings) if user_column else None
    if erased is None:
        return parsed.withColumn("is_erased", F.lit(False))
    is_same_user = erasures.user_hash(F.col(str(user_column))) == F.col("user_hash")
    marked = parsed.join(F.broadcast(erased), on=is_same_user, how="left")
    return marked.withColumn("is_erased", F.col("user_hash").isNotNull()).drop("user_hash")


def count_days(parsed: DataFrame, feed: FeedSpec) -> dict[date, DayCounts]:
    """Counts per feed day that has lines, without duplicates."""
    required = [field.name for field in feed.fields if field.is_required]
    unknown = F.array_sort(F.array_distinct(F.flatten(F.collect_set("unknown_fields"))))
    is_object = F.col("missing_fields").isNotNull()
    days = parsed.groupBy("feed_date").agg(
        F.count("*").alias("lines"),
        F.count_if(~F.col("is_good") & ~F.col("is_erased")).alias("rejected"),
        F.count_if("is_erased").alias("erased"),
        F.slice(unknown, 1, _MAX_UNKNOWN_FIELDS).alias("unknown_fields"),
        F.count_if(is_object).alias("objects"),
        *[F.count_if(F.array_contains("missing_fields", name)).alias(f"without_{name}") for name in required],
    )
    counts = {}
    for day in days.orderBy("feed_date").collect():
        missing = [name for name in required if day["objects"] and day[f"without_{name}"] == day["objects"]]
        counts[day["feed_date"]] = DayCounts(
            lines=day["lines"],
            rejected=day["rejected"],
            erased=day["erased"],
            unknown_fields=tuple(day["unknown_fields"]),
            missing_fields=tuple(missing),
        )
    return counts


def refused_days(settings: Settings, feed: FeedSpec, counts: Mapping[date, DayCounts]) -> dict[date, str]:
    """Reasons per day that can't be loaded: a required field is in no line, or too many lines are rejected."""
    limit = settings.staging.max_rejected_share
    refused = {}
    for ds, count in counts.items():
        if count.unknown_fields:
            log.warning("%s: ds=%s: unknown fields, kept out: %s", feed.name, ds, ", ".join(count.unknown_fields))
        if count.missing_fields:
            present = [f.name for f in feed.fields if f.name not in count.missing_fields] + list(count.unknown_fields)
            refused[ds] = (
                f"{feed.name} for ds={ds}: missing column '{count.missing_fields[0]}'; found {present}. Mend the "
                "feed and run the day again"
            )
        elif count.rejected > limit * count.lines:
            refused[ds] = (
                f"{feed.name} for ds={ds}: {count.rejected} of {count.lines} lines are bad, more than "
                f"staging.max_rejected_share={limit}. Their reasons stand in rejected_rows"
            )
    return refused


def lost_days(settings: Settings, feed: FeedSpec, days: Iterable[date], files: Sequence[FeedFile]) -> dict[date, str]:
    """Reasons per day that can't be loaded again: it has rows, and the files they came from are gone."""
    without_files = set(days) - {file.day for file in files}
    loads = feed_loads.read(settings, feed.name) if without_files else {}
    return {
        ds: f"{feed.name} for ds={ds}: {loads[ds]['count_loaded']} rows were loaded from files that are gone; put the "
        "files back, or leave the day out"
        for ds in without_files & set(loads)
        if loads[ds]["count_loaded"]
    }


def raise_refused(refused: Mapping[date, str]) -> None:
    """Raise JobError with the first reason, if there is one, and the number of the rest."""
    if refused:
        first = refused[min(refused)]
        more = f" ({len(refused) - 1} more days were refused)" if len(refused) > 1 else ""
        raise JobError(f"{first}. Nothing of it was loaded{more}")


def explain_rejects(parsed: DataFrame, feed: FeedSpec) -> DataFrame:
    """The rejected lines: `feed_date`, `file`, `reason`, `line`."""
    bad_lines = parsed.where(~F.col("is_good") & ~F.col("is_erased")).select("feed_date", "file", "line")
    explained = parsing.explain(bad_lines, feed.fields, parsing.MAX_LINE_BYTES)
    return explained.select("feed_date", "file", "reason", "line")


def good_rows(parsed: DataFrame, feed: FeedSpec) -> DataFrame:
    """The good rows: the fields, `feed_date`, and the `file` and `line` they came from."""
    names = [field.name for field in feed.fields]
    return parsed.where(F.col("is_good") & ~F.col("is_erased")).select(*names, "feed_date", "file", "line")


def all_rejects(
    parsed: DataFrame, feed: FeedSpec, counts: Mapping[date, DayCounts], duplicates: DataFrame | None = None
) -> DataFrame | None:
    """The rejected lines and the `duplicates`; None where `counts`, which include those, have neither."""
    if not any(count.rejected or count.duplicates for count in counts.values()):
        return None
    rejects = explain_rejects(parsed, feed)
    return rejects if duplicates is None else rejects.unionByName(duplicates)


def replace_rejects(
    spark: SparkSession, settings: Settings, feed: FeedSpec, days: Collection[date], rejects: DataFrame | None
) -> None:
    """Replace the rows that rejected_rows has of these feed days by `rejects`, made by `all_rejects`.

    None stands for no rejects, as of most feeds on most days: then Spark starts only to remove those of an earlier run.
    """
    tables.ensure(spark, settings, rejected_rows.TABLE)
    if rejects is None:
        if not rejected_rows.has_any(settings, feed.name, days):
            return
        rejects = spark.createDataFrame([], "feed_date date, file string, reason string, line string")
    rows = rejects.select(
        F.lit(feed.name).alias("feed"),
        F.col("feed_date").alias("ds"),
        *("file", "reason"),
        F.make_valid_utf8("line").alias("line"),
        F.when(~F.is_valid_utf8("line"), F.col("line").cast("binary")).alias("line_bytes"),
    )
    where = f"feed = '{feed.name}' AND ({tables.is_one_of('ds', days)})"
    tables.retry_conflicts(rejected_rows.TABLE, lambda: tables.replace(rows, settings, rejected_rows.TABLE, where))


def record_loads(
    spark: SparkSession,
    settings: Settings,
    feed: FeedSpec,
    files: Mapping[date, Sequence[FeedFile]],
    counts: Mapping[date, DayCounts],
) -> None:
    """Write the counts of each day of `files` into feed_loads: from then on these days count as loaded."""
    rows = []
    for ds, day_files in files.items():
        count = counts.get(ds, DayCounts())
        rejected = count.rejected + count.duplicates
        size_bytes = sum(file.size_bytes for file in day_files)
        rows.append(
            (
                *(feed.name, ds, len(day_files), size_bytes, feeds.fingerprint(day_files)),
                *(count.lines, count.loaded, rejected, count.duplicates, count.erased, list(count.unknown_fields)),
            )
        )
    feed_loads.replace(spark, settings, feed.name, list(files), rows)


def with_duplicates(counts: Mapping[date, DayCounts], duplicates: DataFrame) -> dict[date, DayCounts]:
    """`counts` with the number of `duplicates` per `feed_date`."""
    per_day = {row["feed_date"]: row["count"] for row in duplicates.groupBy("feed_date").count().collect()}
    return {ds: replace(count, duplicates=per_day.get(ds, 0)) for ds, count in counts.items()}


def check_rows_written(feed: FeedSpec, counts: Mapping[date, DayCounts], rows_written: int) -> None:
    """Raise JobError unless exactly the lines counted as loaded were written."""
    expected = sum(count.loaded for count in counts.values())
    if rows_written != expected:
        raise JobError(
            f"{feed.name}: {expected} lines were good but {rows_written} rows were written; run the days again, and "
            "report this: it should not happen"
        )
