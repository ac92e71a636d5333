"""The forms in which GroupLens ships MovieLens: ratings.csv and movies.csv, or the older .dat files.

The first invalid line raises JobError with its file and number, and nothing of the file is used.
"""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv

from jobs.errors import JobError

Title = dict[str, Any]

_RATING_COLUMNS = ("userId", "movieId", "rating", "timestamp")
_MOVIE_COLUMNS = ("movieId", "title", "genres")
_TYPES = {"userId": pa.int64(), "movieId": pa.int64(), "rating": pa.float64(), "timestamp": pa.int64()}
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)

# Range of a date; a timestamp in milliseconds lies beyond it.
_FIRST_SECOND = int(datetime.min.replace(tzinfo=UTC).timestamp())
_LAST_SECOND = int(datetime.max.replace(microsecond=0, tzinfo=UTC).timestamp())

_NO_GENRES = "(no genres listed)"
_NAME_AND_YEAR = re.compile(r"(.*\S) ?\(([0-9]{4})\)")
_ARTICLES = "The A An Le La Les L' L’ Un Une El Los Las Il Lo I Gli Der Die Das Ein Eine Det Den En De Het O Os As"  # noqa: RUF001
# "Matrix, The", and the same in parentheses after it, where another name of the title stands.
_MOVED_ARTICLE = re.compile(rf"(^|\((?:a\.?k\.?a\.? )?)([^()]+), ({'|'.join(_ARTICLES.split())})(?= \(|\)|$)")


def find_form(source: Path) -> str:
    """Suffix of the form that `source` holds, `.csv` or `.dat`; raises JobError for none or both."""
    forms = {".csv": ("ratings.csv", "movies.csv"), ".dat": ("ratings.dat", "movies.dat")}
    whole = [suffix for suffix, names in forms.items() if all((source / name).is_file() for name in names)]
    if len(whole) == 1:
        return whole[0]
    present = [name for names in forms.values() for name in names if (source / name).is_file()] or "none of them"
    raise JobError(
        f"{source}: expected either ratings.csv and movies.csv or ratings.dat and movies.dat, found {present}; "
        "give the folder as GroupLens ships it"
    )


def read_ratings(path: Path) -> pd.DataFrame:
    """All ratings in order of time: userId, movieId, rating, timestamp (seconds since 1970, UTC) and event-id suffix.

    Raises JobError with file and line number if a line is not these four numbers. Empty lines are skipped.
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
    """Titles by id, and MovieLens' spelling of each name by id, without the year: "Matrix, The".

    Raises JobError with file and line number if a line is not an integer id, a title and genres, or repeats an id.
    """
    movies: dict[int, Title] = {}
    own_spellings: dict[int, str] = {}
    for file_line, (movie_id, text, genres) in _movie_rows(path):
        if not (_INTEGER.fullmatch(movie_id) and text.strip()):
            raise JobError(f"{file_line}: expected an integer movieId and a title, found {movie_id!r} and {text!r}")
        if int(movie_id) in movies:
            raise JobError(f"{file_line}: movieId {movie_id} given twice; remove one of the lines")
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
    """The name in its usual order, in MovieLens' spelling, and the year from the parentheses at the end.

    "Matrix, The (1999)" gives "The Matrix", "Matrix, The", 1999.
    """
    text = " ".join(text.split())
    with_year = _NAME_AND_YEAR.fullmatch(text)
    spelling, year = (with_year[1], int(with_year[2])) if with_year else (text, None)
    return _MOVED_ARTICLE.sub(_article_first, spelling), spelling, year


def _repeat_suffixes(ratings: pd.DataFrame) -> pd.Series:
    """Event-id suffix: empty for a user's first rating of a title, then the timestamp and a count within one second."""
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


def _header(path: Path, expected: Sequence[str]) -> list[str]:
    with path.open("rb") as stream:
        columns = stream.readline().decode("utf-8-sig", errors="replace").rstrip("\r\n").split(",")
    missing = [column for column in expected if columns.count(column) != 1]
    if missing:
        raise JobError(f"{path}:1: missing or repeated column {', '.join(map(repr, missing))}; found {columns}")
    return columns


def _refuse_ratings(path: Path, columns: Sequence[str], reason: str) -> NoReturn:
    """Raise JobError for the first line that is not a rating; slow, so only called for a file that has one."""
    is_csv = path.suffix == ".csv"
    names = [column for column in columns if is_csv or column in _TYPES]
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            fields = raw.decode("utf-8", errors="replace").rstrip("\r\n").split("," if is_csv else "::")
            is_empty_or_header = fields == [""] or (is_csv and number == 1)
            if not (is_empty_or_header or _is_rating(names, fields)):
                raise JobError(
                    f"{path}:{number}: expected numbers for {', '.join(names)} with a timestamp in seconds, "
                    f"found {excerpt(raw)}; correct or remove the line"
                )
    raise JobError(f"{path}: can't be read as ratings: {reason}")


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
    """`file:line` of each title, and its id, name and genres."""
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
            file_line = f"{path}:{rows.line_num}"
            if len(row) != len(columns):
                raise JobError(f"{file_line}: expected {len(columns)} fields, found {len(row)}: {row}")
            fields = dict(zip(columns, row, strict=True))
            yield file_line, (fields["movieId"], fields["title"], fields["genres"])
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


def excerpt(raw: bytes) -> str:
    """Start of a line, for an error message."""
    return repr(raw[:200].decode("utf-8", errors="replace").rstrip("\r\n"))
