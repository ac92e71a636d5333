"""MovieLens as raw feeds: one `rating` event per line of ratings, one title per film.

Reads  --source: ratings.csv and movies.csv (UTF-8), or the older ratings.dat and movies.dat (`::` between fields, UTF-8
       or ISO-8859-1), as GroupLens ships them; tags and links are not read
       --titles: further metadata, one JSON object per line in the raw-feed titles format
Writes --out: events/event_date=YYYY-MM-DD/part-00000.jsonl.gz, by the UTC day of the rating, and titles/titles.jsonl.gz

Every rating becomes one event. A line that can't is named and ends the command, and then nothing is written.
"""

import argparse
import csv
import io
import json
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from conf.settings import Settings
from jobs import command
from jobs.errors import JobError
from jobs.sources import feed_files

Title = dict[str, Any]

_RATING_COLUMNS = ("userId", "movieId", "rating", "timestamp")
_MOVIE_COLUMNS = ("movieId", "title", "genres")
_TYPES = {"userId": pa.int64(), "movieId": pa.int64(), "rating": pa.float64(), "timestamp": pa.int64()}
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)

_DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1)
# The years that a date can hold: a timestamp in milliseconds lies beyond them.
_FIRST_SECOND = int(datetime.min.replace(tzinfo=UTC).timestamp())
_LAST_SECOND = int(datetime.max.replace(microsecond=0, tzinfo=UTC).timestamp())

_NO_GENRES = "(no genres listed)"
_NAME_AND_YEAR = re.compile(r"(.*\S) ?\(([0-9]{4})\)")
_ARTICLES = "The A An Le La Les L' L’ Un Une El Los Las Il Lo I Gli Der Die Das Ein Eine Det Den En De Het O Os As"  # noqa: RUF001
# "Matrix, The", and the same in parentheses after it, where another name of the film stands.
_MOVED_ARTICLE = re.compile(rf"(^|\((?:a\.?k\.?a\.? )?)([^()]+), ({'|'.join(_ARTICLES.split())})(?= \(|\)|$)")


@dataclass(frozen=True)
class Summary:
    """What an import read and wrote."""

    ratings: int
    events: int
    days: int
    users: int
    titles: int
    titles_with: Mapping[str, int]
    rated_unknown_titles: int  # rated, yet neither in movies nor in the metadata


def import_folder(source: Path, titles_file: Path | None, out: Path, country: str) -> Summary:
    """Write the raw feeds of one MovieLens folder under `out`: all of them, or nothing.

    Raises JobError for a folder, file or line that can't be used, and where `out` already holds a feed.
    """
    _require_no_feeds(out)
    suffix = _find_form(source)
    movies, own_spellings = read_movies(source / f"movies{suffix}")
    titles = merge_titles(movies, own_spellings, read_metadata(titles_file) if titles_file else {})
    ratings = read_ratings(source / f"ratings{suffix}")

    out.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished.", dir=out))  # in there: --out may be a disk of its own
    try:
        feed_files.write_lines(
            unfinished / "titles" / "titles.jsonl.gz",
            (json.dumps(title, separators=(",", ":")).encode() for title in titles),
        )
        days = [
            feed_files.write_lines(feed_files.events_folder(unfinished, day) / "part-00000.jsonl.gz", lines)
            for day, lines in _event_lines_by_day(ratings, country)
        ]
        if sum(days) != len(ratings):
            raise JobError(f"{source}: {len(ratings)} ratings made {sum(days)} events; nothing was kept; report this")
        # Titles first: should this be cut off in between, events without a catalogue would be the worse half.
        for feed in ("titles", "events"):
            os.replace(unfinished / feed, out / feed)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)

    return Summary(
        ratings=len(ratings),
        events=sum(days),
        days=len(days),
        users=ratings["userId"].nunique(),
        titles=len(titles),
        titles_with={field: sum(bool(title.get(field)) for title in titles) for field in ("plot", "cast", "poster")},
        rated_unknown_titles=len(set(ratings["movieId"].unique().tolist()) - {title["title_id"] for title in titles}),
    )


def read_ratings(path: Path) -> pd.DataFrame:
    """All ratings by time: userId, movieId, rating, timestamp (seconds since 1970, UTC), and a suffix for event ids.

    Raises JobError naming file and line where a line is not these four numbers. Empty lines hold no rating.
    """
    is_csv = path.suffix == ".csv"
    # Arrow knows separators of one character: `::` is two of them, around a column that has to stay empty.
    columns = _header(path, _RATING_COLUMNS) if is_csv else ["userId", "", "movieId", " ", "rating", "  ", "timestamp"]
    gaps = {} if is_csv else {name: pa.null() for name in columns if name not in _TYPES}
    try:
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(column_names=columns, skip_rows=1 if is_csv else 0),
            parse_options=arrow_csv.ParseOptions(delimiter="," if is_csv else ":", quote_char=False),
            convert_options=arrow_csv.ConvertOptions(
                column_types=_TYPES | gaps, include_columns=[*_TYPES, *gaps], null_values=[""]
            ),
        )
    except pa.ArrowInvalid as error:
        _refuse_ratings(path, columns, str(error))
    if any(table[name].null_count for name in _TYPES):
        _refuse_ratings(path, columns, "a field is empty")
    ratings = table.select(list(_TYPES)).to_pandas()
    if not (np.isfinite(ratings["rating"]).all() and ratings["timestamp"].between(_FIRST_SECOND, _LAST_SECOND).all()):
        _refuse_ratings(path, columns, "a rating or timestamp is out of range")
    if ratings.empty:
        raise JobError(f"{path}: expected ratings, found none")
    ratings = ratings.sort_values("timestamp", kind="stable", ignore_index=True)
    ratings["id_suffix"] = _repeat_suffixes(ratings)
    return ratings


def read_movies(path: Path) -> tuple[dict[int, Title], dict[int, str]]:
    """Titles by id, and by id the title as MovieLens spells it, without its year: "Matrix, The".

    Raises JobError naming file and line where a line is not an integer id, a title and genres, or an id comes twice.
    """
    movies: dict[int, Title] = {}
    own_spellings: dict[int, str] = {}
    for place, (movie_id, text, genres) in _movie_rows(path):
        if not (_INTEGER.fullmatch(movie_id) and text.strip()):
            raise JobError(f"{place}: expected an integer movieId and a title, found {movie_id!r} and {text!r}")
        if int(movie_id) in movies:
            raise JobError(f"{place}: movieId {movie_id} given twice; remove one of the lines")
        name, own_spellings[int(movie_id)], year = split_title(text)
        movies[int(movie_id)] = {
            "title_id": int(movie_id),
            "title": name,
            "object_type": "movie",
            "release_year": year,
            "genres": [genre for genre in genres.strip().split("|") if genre and genre != _NO_GENRES],
        }
    if not movies:
        raise JobError(f"{path}: expected titles, found none")
    return movies, own_spellings


def split_title(text: str) -> tuple[str, str, int | None]:
    """The name as people write it, as MovieLens spells it, and the year in the parentheses that end the text.

    "Matrix, The (1999)" gives "The Matrix", "Matrix, The", 1999.
    """
    text = " ".join(text.split())
    with_year = _NAME_AND_YEAR.fullmatch(text)
    spelling, year = (with_year[1], int(with_year[2])) if with_year else (text, None)
    return _MOVED_ARTICLE.sub(_article_first, spelling), spelling, year


def read_metadata(path: Path) -> dict[int, Title]:
    """Titles by id from JSON lines; raises JobError naming file and line for a line that is no title."""
    metadata: dict[int, Title] = {}
    for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            title = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"), parse_constant=_refuse_constant)
        except ValueError as error:  # UnicodeDecodeError and JSONDecodeError too
            raise JobError(f"{path}:{number}: expected a JSON object in UTF-8: {error}") from None
        title_id = title.get("title_id") if isinstance(title, dict) else None
        if type(title_id) is not int:  # a bool is an int to isinstance
            raise JobError(f"{path}:{number}: expected a JSON object with an integer title_id, found {_excerpt(raw)}")
        if title_id in metadata:
            raise JobError(f"{path}:{number}: title_id {title_id} given twice; remove one of the lines")
        metadata[title_id] = title
    return metadata


def merge_titles(
    movies: Mapping[int, Title], own_spellings: Mapping[int, str], metadata: Mapping[int, Title]
) -> list[Title]:
    """Titles by id: what the metadata says wins, and MovieLens fills what it leaves null, empty or out.

    A metadata title in MovieLens' own spelling ("Matrix, The") says nothing that MovieLens does not.
    """
    titles = []
    for title_id in sorted(movies.keys() | metadata.keys()):
        told = dict(metadata.get(title_id, {}))
        if told.get("title") == own_spellings.get(title_id):
            told.pop("title", None)
        title = movies.get(title_id, {}) | {field: value for field, value in told.items() if not _is_empty(value)}
        titles.append({field: value for field, value in title.items() if value is not None})
    return titles


def _event_lines_by_day(ratings: pd.DataFrame, country: str) -> Iterator[tuple[date, list[bytes]]]:
    """The events of each UTC day that has any; `ratings` as `read_ratings` gives them, by time."""
    days = (ratings["timestamp"] // _DAY_SECONDS).to_numpy()
    starts = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    for start, end in zip(starts, [*starts[1:], len(days)], strict=True):
        day = _EPOCH + timedelta(days=int(days[start]))
        yield day, _event_lines(day, ratings.iloc[start:end], country)


def _event_lines(day: date, ratings: pd.DataFrame, country: str) -> list[bytes]:
    # Whole columns of text joined by Arrow: far faster than a JSON object per row. No field needs escaping.
    user = pa.array(ratings["userId"]).cast(pa.string())
    movie = pa.array(ratings["movieId"]).cast(pa.string())
    time = pa.array(ratings["timestamp"] % _DAY_SECONDS, pa.int32()).cast(pa.time32("s")).cast(pa.string())
    lines = pc.binary_join_element_wise(
        '{"event_id":"ml-', user, "-", movie, pa.array(ratings["id_suffix"], pa.string()),
        '","user_id":"ml', user,
        '","title_id":', movie,
        f',"event_type":"rating","event_time":"{day.isoformat()}T', time,
        f'Z","country":"{country}","rating":', pa.array(ratings["rating"]).cast(pa.string()),
        "}",
        "",  # between the parts
    )  # fmt: skip
    return lines.cast(pa.binary()).to_pylist()


def _repeat_suffixes(ratings: pd.DataFrame) -> pd.Series:
    """Nothing for a user's first rating of a title; its timestamp for later ones, and a count within one second."""
    suffixes = pd.Series("", index=ratings.index, dtype=object)
    pair = ["userId", "movieId"]
    repeats = ratings[ratings.duplicated(pair, keep=False)]
    count_before = repeats.groupby(pair).cumcount()
    count_in_second = repeats.groupby([*pair, "timestamp"]).cumcount()
    later = repeats.index[count_before > 0]
    suffixes[later] = [
        f"-{timestamp}-{count + 1}" if count else f"-{timestamp}"
        for timestamp, count in zip(repeats.loc[later, "timestamp"], count_in_second[later], strict=True)
    ]
    return suffixes


def _require_no_feeds(out: Path) -> None:
    for feed in ("events", "titles"):
        if (out / feed).exists() and any((out / feed).iterdir()):
            raise JobError(f"{out / feed} already holds a feed; remove it or choose another --out")


def _find_form(source: Path) -> str:
    """The suffix of the form that lies there: `.csv` or `.dat`."""
    forms = {".csv": ("ratings.csv", "movies.csv"), ".dat": ("ratings.dat", "movies.dat")}
    whole = [suffix for suffix, names in forms.items() if all((source / name).is_file() for name in names)]
    if len(whole) == 1:
        return whole[0]
    there = [name for names in forms.values() for name in names if (source / name).is_file()] or "none of them"
    raise JobError(
        f"{source}: expected either ratings.csv and movies.csv or ratings.dat and movies.dat, found {there}; "
        "give the folder as GroupLens ships it"
    )


def _header(path: Path, expected: Sequence[str]) -> list[str]:
    with path.open("rb") as stream:
        columns = stream.readline().decode("utf-8-sig", errors="replace").rstrip("\r\n").split(",")
    missing = [column for column in expected if columns.count(column) != 1]
    if missing:
        raise JobError(f"{path}:1: missing or repeated column {', '.join(map(repr, missing))}; found {columns}")
    return columns


def _refuse_ratings(path: Path, columns: Sequence[str], reason: str) -> NoReturn:
    """Find the first line that is no rating: slow, and only for a file that has one."""
    is_csv = path.suffix == ".csv"
    names = [column for column in columns if is_csv or column in _TYPES]
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            fields = raw.decode("utf-8", errors="replace").rstrip("\r\n").split("," if is_csv else "::")
            is_empty_or_header = fields == [""] or (is_csv and number == 1)
            if not (is_empty_or_header or _is_rating(names, fields)):
                raise JobError(
                    f"{path}:{number}: expected numbers for {', '.join(names)} with a timestamp in seconds, "
                    f"found {_excerpt(raw)}; correct or remove the line"
                )
    raise JobError(f"{path}: not readable as ratings: {reason}")


def _is_rating(names: Sequence[str], fields: Sequence[str]) -> bool:
    if len(fields) != len(names):
        return False
    rating = {name: field.strip() for name, field in zip(names, fields, strict=True)}
    return (
        all(_INTEGER.fullmatch(rating[name]) for name in ("userId", "movieId", "timestamp"))
        and _NUMBER.fullmatch(rating["rating"]) is not None
        and math.isfinite(float(rating["rating"]))
        and _FIRST_SECOND <= int(rating["timestamp"]) <= _LAST_SECOND
    )


def _movie_rows(path: Path) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """`file:line` of each film, and its id, title and genres."""
    if path.suffix == ".dat":
        yield from _dat_movie_rows(path)
        return
    raw = path.read_bytes()
    columns = _header(path, _MOVIE_COLUMNS)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise JobError(f"{path}:{number}: expected UTF-8, found byte {raw[error.start]:#x}; convert the file") from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    next(rows)
    try:
        for row in rows:
            if not row:
                continue
            place = f"{path}:{rows.line_num}"
            if len(row) != len(columns):
                raise JobError(f"{place}: expected {len(columns)} fields, found {len(row)}: {row}")
            fields = dict(zip(columns, row, strict=True))
            yield place, (fields["movieId"], fields["title"], fields["genres"])
    except csv.Error as error:
        raise JobError(f"{path}:{rows.line_num}: no valid CSV: {error}") from None


def _dat_movie_rows(path: Path) -> Iterator[tuple[str, tuple[str, str, str]]]:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")  # ml-10m; accents of ISO-8859-1 are no valid UTF-8
    except UnicodeDecodeError:
        text = raw.decode("iso-8859-1")  # ml-1m
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        if not line:
            continue
        movie_id, _, rest = line.partition("::")
        title, separator, genres = rest.rpartition("::")
        if not separator:
            raise JobError(f"{path}:{number}: expected movieId::title::genres, found {line!r}")
        yield f"{path}:{number}", (movie_id, title, genres)


def _article_first(match: re.Match[str]) -> str:
    before, name, article = match.groups()
    space = "" if article.endswith(("'", "’")) else " "  # noqa: RUF001
    return f"{before}{article}{space}{name}"


def _is_empty(value: object) -> bool:
    return value is None or value == "" or value == []


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _excerpt(raw: bytes) -> str:
    return repr(raw[:200].decode("utf-8", errors="replace").rstrip("\r\n"))


def _country(text: str) -> str:
    if not re.fullmatch("[A-Z]{2}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a country like US")
    return text


def _local(text: str) -> Path:
    if urlsplit(text).scheme:
        raise argparse.ArgumentTypeError(f"'{text}' is not on this machine: give a local path")
    return Path(text).resolve()


def _report(summary: Summary) -> Iterable[str]:
    yield f"ratings read   {summary.ratings}"
    yield f"events written {summary.events}"
    yield f"days           {summary.days}"
    yield f"users          {summary.users}"
    with_fields = ", ".join(f"{count} with {field}" for field, count in summary.titles_with.items())
    yield f"titles         {summary.titles} ({with_fields})"
    if summary.rated_unknown_titles:
        yield f"rated but in no list of titles: {summary.rated_unknown_titles}"


def work(settings: Settings, arguments: argparse.Namespace) -> None:
    """Import as the command line says and answer the person; no setting plays a part."""
    summary = import_folder(arguments.source, arguments.titles, arguments.out, arguments.country)
    print("\n".join(_report(summary)))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = command.parser(__doc__)
    options.add_argument("--source", type=_local, required=True, metavar="FOLDER", help="as GroupLens ships it")
    options.add_argument("--titles", type=_local, metavar="FILE", help="titles.jsonl with further metadata")
    options.add_argument("--out", type=_local, required=True, metavar="FOLDER", help="where the raw feeds go")
    options.add_argument("--country", type=_country, default="US", help="ISO 3166-1 code of every event (default US)")
    return command.run(options, work, argv)


if __name__ == "__main__":
    sys.exit(main())
