"""Raw feeds: list their files, read their lines unparsed."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.errors import JobError
from jobs.store.session import hadoop_path

_DAY_FOLDER = re.compile(r"event_date=(\d{4}-\d{2}-\d{2})")
_GLOB_SIGN = re.compile(r"[\[\]{}*?\\]")
_FEED_FILE = re.compile(r"\.jsonl(\.gz)?$")
# Up to this many days are listed folder by folder; for more, one listing of the whole feed is cheaper.
_MAX_LISTED_DAYS = 100


@dataclass(frozen=True)
class FeedFile:
    """One file of a feed: its path below the feeds' root, its URI, and the day it was delivered for, if it has one."""

    path: str
    uri: str
    day: date | None
    size_bytes: int
    modified_at_ms: int


def list_events(spark: SparkSession, feeds_root: str, days: Sequence[date]) -> list[FeedFile]:
    """The event files of `days`, by day and path. Raises JobError for a file that would be skipped silently."""
    if len(days) <= _MAX_LISTED_DAYS:
        pattern = "event_date={" + ",".join(d.isoformat() for d in days) + "}/*"
    else:
        pattern = "event_date=*/*"
    requested = set(days)
    _require_day_folders(spark, feeds_root)
    files = _glob(spark, feeds_root, f"events/{pattern}")
    return [file for file in files if file.day in requested]


def _require_day_folders(spark: SparkSession, feeds_root: str) -> None:
    """Raise JobError for an entry of the events feed that is no day's folder: it would be skipped silently."""
    filesystem, folders = hadoop_path(spark, f"{feeds_root}/events/*")
    for status in filesystem.globStatus(folders) or []:
        name = status.getPath().getName()
        if not name.startswith((".", "_")):
            _day_of(feeds_root, f"events/{name}/")


def first_and_last_day(spark: SparkSession, feeds_root: str) -> tuple[date, date]:
    """The span of the events feed. Raises JobError where it has no day."""
    days = [file.day for file in _glob(spark, feeds_root, "events/event_date=*/*") if file.day]
    if not days:
        raise JobError(f"no events: expected {feeds_root}/events/event_date=DATE/*.jsonl[.gz]")
    return min(days), max(days)


def require_days(spark: SparkSession, feeds_root: str, days: Sequence[date]) -> None:
    """Raise JobError where none of `days` has a file in the events feed: a missing feed is no empty day."""
    if not list_events(spark, feeds_root, days):
        span = f"ds={days[0]}" if len(days) == 1 else f"{days[0]} to {days[-1]}"
        raise JobError(f"no events for {span}: expected {feeds_root}/events/event_date={days[0]}/*.jsonl[.gz]")


def list_snapshot(spark: SparkSession, feeds_root: str, feed: str) -> list[FeedFile]:
    """The files of a snapshot feed: titles, offers, consents, erasures."""
    return _glob(spark, feeds_root, f"{feed}/*")


def _glob(spark: SparkSession, root: str, pattern: str) -> list[FeedFile]:
    filesystem, path_pattern = hadoop_path(spark, f"{root}/{pattern}")
    depth = pattern.count("/") + 1
    files = []
    for status in filesystem.globStatus(path_pattern) or []:
        uri = status.getPath().toString()
        path = "/".join(uri.split("/")[-depth:])
        name = path.rpartition("/")[2]
        if name.startswith((".", "_")):
            continue
        if status.isDirectory() or not _FEED_FILE.search(name):
            raise JobError(f"{root}/{path}: expected *.jsonl or *.jsonl.gz; move it out of the feed")
        files.append(FeedFile(path, uri, _day_of(root, path), status.getLen(), status.getModificationTime()))
    return sorted(files, key=lambda file: file.path)


def _day_of(root: str, path: str) -> date | None:
    if not path.startswith("events/"):
        return None
    folder = path.split("/")[1]
    match = _DAY_FOLDER.fullmatch(folder)
    try:
        return date.fromisoformat(match[1] if match else "")
    except ValueError:
        raise JobError(f"{root}/{path}: expected a folder like event_date=2024-05-01, found {folder}") from None


def by_day(files: Iterable[FeedFile], days: Iterable[date]) -> dict[date, list[FeedFile]]:
    """The files of each of `days`; an empty list for a day without files."""
    grouped: dict[date, list[FeedFile]] = {day: [] for day in days}
    for file in files:
        if file.day in grouped:
            grouped[file.day].append(file)
    return grouped


def fingerprint(files: Iterable[FeedFile]) -> str:
    """SHA-256 over the names, sizes and modification times of files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path}\t{file.size_bytes}\t{file.modified_at_ms}\n".encode())
    return digest.hexdigest()


def read_lines(spark: SparkSession, files: Sequence[FeedFile]) -> DataFrame:
    """One row per line that is not blank: `line` (raw bytes, maybe no valid UTF-8), `feed_date`, `file`.

    Empty files have no lines, gzipped or not.
    """
    if not files:
        types = {"line": "string", "feed_date": "date", "file": "string"}
        return spark.range(0).select(*[F.lit(None).cast(type_).alias(name) for name, type_ in types.items()])
    is_dated = files[0].day is not None
    source = F.col("_metadata.file_path")
    depth = files[0].path.count("/") + 1
    # Spark names files as URIs: `a%20b` for `a b`, but a plus stays a plus.
    names = F.url_decode(F.replace(source, F.lit("+"), F.lit("%2B")))
    path = F.concat_ws("/", F.slice(F.split(names, "/"), -depth, depth))
    day = F.to_date(F.regexp_extract(source, r"event_date=(\d{4}-\d{2}-\d{2})/[^/]*$", 1)) if is_dated else F.lit(None)
    # Without partition discovery: the day is taken from the path alone, whatever other folders are called.
    uris = [_GLOB_SIGN.sub(r"\\\g<0>", file.uri) for file in files]
    lines = spark.read.option("recursiveFileLookup", "true").text(uris)
    is_blank = F.trim("value", F.lit(" \t")) == ""
    return lines.where(~is_blank).select(
        F.col("value").alias("line"), day.cast("date").alias("feed_date"), path.alias("file")
    )
