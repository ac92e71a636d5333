"""Staging of events in DuckDB and in Polars, by the same rules as `jobs.stg_events` in Spark.

Both read the same files, check each line by the same rules, keep one row per event_id, and write Parquet:
`events/` partitioned like the table, `rejected/` with the feed day, file, reason and line. This file imports neither
Spark nor the jobs, so that their memory is not counted here.

`LEAVES_OUT` lists what a library does differently or not at all; the benchmark prints it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import polars as pl

# Valid hours, minutes and seconds, and offsets up to 18 hours: libraries differ in what else they accept.
_RFC_3339 = r"\d{4}-\d{2}-\d{2}[Tt ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?([Zz]|[+-]((0\d|1[0-7]):[0-5]\d|18:00))"
_NO_SEPARATOR = "\x01"  # for the CSV reader: no text holds it, so each line is one value
_SHOWN_CHARACTERS = 80

_NOT_STAGED = (
    "no commit, no table constraints, no search for copies of events loaded earlier, no erased users, no refusal of "
    "bad days, no account per day, no list of unknown fields"
)
LEAVES_OUT: Mapping[str, str] = {
    "duckdb": f"{_NOT_STAGED}; takes a trailing comma and NaN for JSON; of a key given twice the first counts, not the "
    "last; bytes that are not UTF-8 become '?' in the rejected line",
    "polars": f'{_NOT_STAGED}; it can\'t tell 5 from "5" when it reads JSON, so number fields are looked up in the '
    "line's text, where a nested object's field of the same name would mislead; any line with U+FFFD counts as not "
    "UTF-8, which becomes U+FFFD in the rejected line",
}


@dataclass(frozen=True)
class Rules:
    """The rules of staging; dates are ISO texts, so that all fields can be sent as JSON."""

    event_types: Sequence[str]
    min_rating: float
    max_rating: float
    min_event_date: str
    max_days_ahead: int
    max_line_bytes: int
    partition_by: Sequence[str]


@dataclass(frozen=True)
class EventField:
    """One field: its kind (`text`, `time`, `bigint`, `int` or `double`) and whether every event has it."""

    name: str
    kind: str
    expected: str
    is_required: bool = False


EVENT_FIELDS = (
    EventField("event_id", "text", "an id", True),
    EventField("user_id", "text", "an id", True),
    EventField("title_id", "bigint", "a 64-bit integer from 0", True),
    EventField("event_type", "text", "a known event type", True),
    EventField("event_time", "time", "an RFC 3339 time in range", True),
    EventField("country", "text", "an ISO 3166-1 alpha-2 code", True),
    EventField("provider_id", "text", "a text"),
    EventField("rating", "double", "a number in the range of ratings"),
    EventField("surface", "text", "a text"),
    EventField("variant", "text", "a text"),
    EventField("recommender_version", "text", "a text"),
    EventField("rank", "int", "an integer from 1"),
)


def stage_with_duckdb(files: Sequence[Path], out: Path, rules: Rules) -> None:
    """Stage `files` into the new folder `out`, in SQL."""
    out.mkdir(parents=True)
    with duckdb.connect(config={"temp_directory": str(out / "spill")}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(_duckdb_parse(rules), {"files": [str(file) for file in files]})
        connection.execute(_DUCKDB_COPIES)
        columns = ", ".join(["ds", "feed_date", *(field.name for field in EVENT_FIELDS)])
        partitions = ", ".join(rules.partition_by)
        connection.execute(
            f"COPY (SELECT {columns} FROM parsed WHERE reason IS NULL AND event_id NOT IN (SELECT event_id FROM copies)"
            f" UNION ALL SELECT {columns} FROM copies WHERE copy_rank = 1)"
            f" TO {_quoted(out / 'events')} (FORMAT parquet, PARTITION_BY ({partitions}))"
        )
        connection.execute(f"COPY ({_DUCKDB_REJECTED}) TO {_quoted(out / 'rejected.parquet')} (FORMAT parquet)")


# The reader drops lines that are not UTF-8 or too long, and lists them in its own table of rejects.
_DUCKDB_REJECTED = r"""
    SELECT feed_date, file, reason, line FROM parsed WHERE reason IS NOT NULL
    UNION ALL
    SELECT feed_date, file, 'event_id: a copy of an event of feed day ' || first_feed_date, line
    FROM copies WHERE copy_rank > 1
    UNION ALL
    SELECT CAST(regexp_extract(file_path, 'event_date=([0-9-]{10})/[^/]*$', 1) AS DATE), file_path,
        'line: ' || any_value(lower(CAST(error_type AS VARCHAR))), any_value(csv_line)
    FROM reject_errors JOIN reject_scans USING (scan_id, file_id) GROUP BY scan_id, file_id, file_path, line
"""
_DUCKDB_COPIES = """
    CREATE TEMP TABLE copies AS
    SELECT *, row_number() OVER by_event AS copy_rank, first_value(feed_date) OVER by_event AS first_feed_date
    FROM parsed WHERE reason IS NULL
        AND event_id IN (SELECT event_id FROM parsed WHERE reason IS NULL GROUP BY event_id HAVING count(*) > 1)
    WINDOW by_event AS (PARTITION BY event_id ORDER BY feed_date, event_time, line)
"""


def _duckdb_parse(rules: Rules) -> str:
    """SQL to create `parsed`: line, file, feed_date, ds, a column per field, and `reason`, null if good."""
    paths = ", ".join(f"'$.{field.name}'" for field in EVENT_FIELDS)
    is_object = "CASE WHEN json_valid(line) THEN json_type(line) = 'OBJECT' ELSE false END"
    values = ", ".join(f"{_duckdb_value(n, field)} AS {field.name}" for n, field in enumerate(EVENT_FIELDS, start=1))
    problems = ", ".join(_duckdb_problem(n, field, rules) for n, field in enumerate(EVENT_FIELDS, start=1))
    return rf"""
        CREATE TEMP TABLE parsed AS
        WITH lines AS (
            SELECT line, filename AS file, {is_object} AS is_object,
                CAST(regexp_extract(filename, 'event_date=([0-9-]{{10}})/[^/]*$', 1) AS DATE) AS feed_date
            FROM read_csv($files, columns = {{'line': 'VARCHAR'}}, delim = '{_NO_SEPARATOR}', quote = '', escape = '',
                comment = '', new_line = '\n', header = false, auto_detect = false, strict_mode = false,
                max_line_size = {rules.max_line_bytes}, ignore_errors = true, store_rejects = true, filename = true)
            WHERE trim(line) <> ''
        ), json AS (
            SELECT *, CASE WHEN is_object THEN json_type(line, [{paths}]) END AS types,
                CASE WHEN is_object THEN json_extract_string(line, [{paths}]) END AS texts FROM lines
        ), events AS (SELECT *, {values} FROM json)
        SELECT * EXCLUDE (types, texts, is_object), CAST(event_time AS DATE) AS ds,
            CASE WHEN is_object THEN nullif(concat_ws('; ', {problems}), '') ELSE 'line: not one JSON object' END
            AS reason
        FROM events
    """


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _duckdb_value(number: int, field: EventField) -> str:
    kind, text = f"types[{number}]", f"texts[{number}]"
    if field.kind in ("bigint", "int"):
        return f"CASE WHEN {kind} IN ('BIGINT', 'UBIGINT') THEN try_cast({text} AS {field.kind}) END"
    if field.kind == "double":
        return f"CASE WHEN {kind} IN ('BIGINT', 'UBIGINT', 'DOUBLE') THEN try_cast({text} AS double) END"
    trimmed = f"CASE WHEN {kind} NOT IN ('OBJECT', 'ARRAY') THEN nullif(trim({text}), '') END"
    if field.kind == "time":
        time = f"CAST(try_cast(upper({trimmed}) AS TIMESTAMPTZ) AS TIMESTAMP)"
        return f"CASE WHEN regexp_full_match({trimmed}, '{_RFC_3339}') THEN {time} END"
    return f"upper({trimmed})" if field.name == "country" else trimmed


def _duckdb_problem(number: int, field: EventField, rules: Rules) -> str:
    kind, text = f"types[{number}]", f"texts[{number}]"
    is_text = field.kind in ("text", "time")
    is_given = f"(coalesce({kind}, 'NULL') <> 'NULL'" + (f" AND trim({text}) <> '')" if is_text else ")")
    is_valid = {
        "title_id": "title_id >= 0",
        "event_type": f"event_type IN ({', '.join(repr(name) for name in rules.event_types)})",
        "event_time": f"CAST(event_time AS DATE) BETWEEN DATE '{rules.min_event_date}' "
        f"AND feed_date + {rules.max_days_ahead}",
        "country": "regexp_full_match(country, '[A-Z]{2}')",
        "rating": f"rating BETWEEN {rules.min_rating} AND {rules.max_rating}",
        "rank": "rank >= 1",
    }.get(field.name, f"{field.name} IS NOT NULL")
    type_at = next(n for n, other in enumerate(EVENT_FIELDS, start=1) if other.name == "event_type")
    is_needed = f"texts[{type_at}] = 'rating'" if field.name == "rating" else str(field.is_required).lower()
    message = f"'{field.name}: expected {field.expected}, found ' || left({text}, {_SHOWN_CHARACTERS})"
    return (
        f"CASE WHEN {is_given} AND NOT coalesce({is_valid}, false) THEN {message} "
        f"WHEN NOT {is_given} AND {is_needed} THEN '{field.name}: missing' END"
    )


def stage_with_polars(files: Sequence[Path], out: Path, rules: Rules) -> None:
    """Stage `files` into the new folder `out`, with expressions only: no Python function sees a row."""
    out.mkdir(parents=True)
    parsed = _polars_parse(files, rules).collect(engine="streaming")
    is_good = pl.col("reason").is_null()
    good = parsed.filter(is_good)
    copied = good.group_by("event_id").len().filter(pl.col("len") > 1).select("event_id")
    copies = good.join(copied, on="event_id", how="semi").sort("event_id", "feed_date", "event_time", "line")
    is_first = pl.col("event_id").is_first_distinct()
    first_day = pl.col("feed_date").first().over("event_id").cast(pl.String)
    later = copies.with_columns(
        reason=pl.concat_str(pl.lit("event_id: a copy of an event of feed day "), first_day)
    ).filter(~is_first)
    kept = pl.concat([good.join(copied, on="event_id", how="anti"), copies.filter(is_first)])
    columns = ["ds", "feed_date", *(field.name for field in EVENT_FIELDS)]
    kept.select(columns).write_parquet(f"{out}/events/", partition_by=list(rules.partition_by))
    rejected = pl.concat([parsed.filter(~is_good), later])
    rejected.select("feed_date", "file", "reason", "line").write_parquet(out / "rejected.parquet")


def _polars_parse(files: Sequence[Path], rules: Rules) -> pl.LazyFrame:
    """Lines with `file`, `feed_date`, `ds`, a column per field, and `reason`, null for a good line."""
    line = pl.col("line")
    lines = pl.scan_csv(
        list(files),
        has_header=False,
        separator=_NO_SEPARATOR,
        quote_char=None,
        schema={"line": pl.String},
        encoding="utf8-lossy",
        include_file_paths="file",
        raise_if_empty=False,
    ).filter(line.str.strip_chars(" \r") != "")
    day = pl.col("file").str.extract(r"event_date=([0-9-]{10})/[^/]*$", 1).str.to_date("%Y-%m-%d")
    is_readable = ~line.str.contains("\ufffd", literal=True) & (line.str.len_bytes() <= rules.max_line_bytes)
    is_object = is_readable & line.str.json_path_match("$").str.starts_with("{").fill_null(value=False)
    # Decode the JSON in one pass where no value is nested; nested values would raise.
    is_nested = line.str.contains(r":\s*[\[{]")
    plain = pl.when(is_object & ~is_nested).then(line).otherwise(pl.lit("{}"))
    as_texts = pl.Struct({field.name: pl.String for field in EVENT_FIELDS})
    texts = lines.with_columns(
        is_object=is_object,
        feed_date=day,
        json=plain.str.json_decode(as_texts),
        nested=pl.when(is_object & is_nested).then(line),
    ).with_columns(_text_of(field).alias(f"text_{field.name}") for field in EVENT_FIELDS)
    values = texts.with_columns(_polars_value(field).alias(field.name) for field in EVENT_FIELDS)
    problems = pl.concat_str(
        [_polars_problem(field, rules) for field in EVENT_FIELDS], separator="; ", ignore_nulls=True
    )
    reason = pl.when("is_object").then(problems.replace("", None)).otherwise(pl.lit("line: not one JSON object"))
    return values.select(
        "line",
        "file",
        "feed_date",
        *(field.name for field in EVENT_FIELDS),
        ds=pl.col("event_time").dt.date(),
        reason=reason,
    )


def _text_of(field: EventField) -> pl.Expr:
    return pl.coalesce(pl.col("json").struct.field(field.name), pl.col("nested").str.json_path_match(f"$.{field.name}"))


def _token(field: EventField, pattern: str) -> pl.Expr:
    """The field's value as written in the line, if it matches `pattern`."""
    return pl.col("line").str.extract(rf'[{{,]\s*"{field.name}"\s*:\s*({pattern})', 1)


def _polars_value(field: EventField) -> pl.Expr:
    text = pl.col(f"text_{field.name}")
    if field.kind in ("bigint", "int"):
        kind = pl.Int64 if field.kind == "bigint" else pl.Int32
        whole = _token(field, r"-?\d+\s*[,}]").str.strip_chars_end(" \t,}")
        return pl.when(text.is_not_null()).then(whole.cast(kind, strict=False))
    if field.kind == "double":
        number = _token(field, r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
        return pl.when(text.is_not_null()).then(number.cast(pl.Float64, strict=False))
    # "[REC]" is a title's name: only the line tells such a text from a list.
    may_nest = text.str.contains(r"^\s*[\[{]")
    trimmed = pl.when(~(may_nest & _token(field, r"[\[{]").is_not_null())).then(
        text.str.strip_chars(" ").replace("", None)
    )
    if field.kind == "time":
        upper = trimmed.str.to_uppercase().str.replace(" ", "T", literal=True).str.replace(r"Z$", "+00:00")
        time = upper.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)
        return pl.when(trimmed.str.contains(f"^{_RFC_3339}$")).then(time)
    return trimmed.str.to_uppercase() if field.name == "country" else trimmed


def _polars_problem(field: EventField, rules: Rules) -> pl.Expr:
    text, value = pl.col(f"text_{field.name}"), pl.col(field.name)
    is_text = field.kind in ("text", "time")
    is_given = (text.str.strip_chars(" ") != "").fill_null(value=False) if is_text else text.is_not_null()
    first_date, ahead = date.fromisoformat(rules.min_event_date), pl.duration(days=rules.max_days_ahead)
    is_valid = {
        "title_id": value >= 0,
        "event_type": value.is_in(list(rules.event_types)),
        "event_time": value.dt.date().is_between(pl.lit(first_date), pl.col("feed_date") + ahead),
        "country": value.str.contains("^[A-Z]{2}$"),
        "rating": value.is_between(rules.min_rating, rules.max_rating),
        "rank": value >= 1,
    }.get(field.name, value.is_not_null())
    is_needed = pl.lit(field.is_required)
    if field.name == "rating":
        is_needed = (pl.col("text_event_type") == "rating").fill_null(value=False)
    message = pl.concat_str(
        pl.lit(f"{field.name}: expected {field.expected}, found "), text.str.head(_SHOWN_CHARACTERS)
    )
    return (
        pl.when(is_given & ~is_valid.fill_null(value=False))
        .then(message)
        .when(~is_given & is_needed)
        .then(pl.lit(f"{field.name}: missing"))
    )


ENGINES: Mapping[str, Callable[[Sequence[Path], Path, Rules], None]] = {
    "duckdb": stage_with_duckdb,
    "polars": stage_with_polars,
}
