"""Convert MovieLens to raw feeds: one `rating` event per rating, one title per movie.

Reads  --source: ratings.csv and movies.csv (UTF-8), or the older ratings.dat and movies.dat (`::` between fields, UTF-8
       or ISO-8859-1), as GroupLens ships them; tags and links are not read
       --titles: further metadata, one JSON object per line in the raw-feed titles format
Writes --out: events/event_date=YYYY-MM-DD/part-00000.jsonl.gz, by the UTC day of the rating, and titles/titles.jsonl.gz

Every rating becomes one event. The first invalid line ends the command with its file and number, and nothing is
written.
"""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from conf.settings import Settings
from jobs import command
from jobs.errors import JobError
from jobs.sources import feed_files, grouplens
from jobs.sources.grouplens import Title, excerpt

_DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Summary:
    """Counts of an import: ratings read, and events and titles written."""

    ratings: int
    events: int
    days: int
    users: int
    titles: int
    titles_with: Mapping[str, int]
    rated_unknown_titles: int  # rated, yet neither in movies nor in the metadata


def import_folder(source: Path, titles_file: Path | None, out: Path, country: str) -> Summary:
    """Write the raw feeds of one MovieLens folder below `out`: all of them, or nothing.

    Raises JobError for a folder, file or line that can't be used, and where `out` already holds a feed.
    """
    _require_no_feeds(out)
    suffix = grouplens.find_form(source)
    movies, own_spellings = grouplens.read_movies(source / f"movies{suffix}")
    titles = merge_titles(movies, own_spellings, read_metadata(titles_file) if titles_file else {})
    ratings = grouplens.read_ratings(source / f"ratings{suffix}")

    out.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished.", dir=out))  # below --out, which may be another disk
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
        # Titles first: if the command is killed in between, titles without events do less harm than the reverse.
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


def read_metadata(path: Path) -> dict[int, Title]:
    """Titles by id from JSON lines; raises JobError with file and line number for an invalid line."""
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
            raise JobError(f"{path}:{number}: expected a JSON object with an integer title_id, found {excerpt(raw)}")
        if title_id in metadata:
            raise JobError(f"{path}:{number}: title_id {title_id} given twice; remove one of the lines")
        metadata[title_id] = title
    return metadata


def merge_titles(
    movies: Mapping[int, Title], own_spellings: Mapping[int, str], metadata: Mapping[int, Title]
) -> list[Title]:
    """Titles in order of their ids: the metadata wins, and MovieLens fills fields that it lacks or has null or empty.

    A metadata title in MovieLens' own spelling ("Matrix, The") adds nothing and is ignored.
    """
    titles = []
    for title_id in sorted(movies.keys() | metadata.keys()):
        fields = dict(metadata.get(title_id, {}))
        if fields.get("title") == own_spellings.get(title_id):
            fields.pop("title", None)
        title = movies.get(title_id, {}) | {field: value for field, value in fields.items() if not _is_empty(value)}
        titles.append({field: value for field, value in title.items() if value is not None})
    return titles


def _event_lines_by_day(ratings: pd.DataFrame, country: str) -> Iterator[tuple[date, list[bytes]]]:
    """Events of each UTC day that has any; `ratings` as `grouplens.read_ratings` returns them, in order of time."""
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


def _require_no_feeds(out: Path) -> None:
    for feed in ("events", "titles"):
        if (out / feed).exists() and any((out / feed).iterdir()):
            raise JobError(f"{out / feed} already holds a feed; remove it or choose another --out")


def _is_empty(value: object) -> bool:
    return value is None or value == "" or value == []


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


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
    """Import as the command line says and print a summary; no setting is used."""
    summary = import_folder(arguments.source, arguments.titles, arguments.out, arguments.country)
    print("\n".join(_report(summary)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = command.parser(__doc__)
    options.add_argument(
        "--source", type=_local, required=True, metavar="FOLDER", help="MovieLens folder as GroupLens ships it"
    )
    options.add_argument("--titles", type=_local, metavar="FILE", help="titles.jsonl with further metadata")
    options.add_argument("--out", type=_local, required=True, metavar="FOLDER", help="folder to write the raw feeds to")
    options.add_argument("--country", type=_country, default="US", help="ISO 3166-1 code of every event (default US)")
    return command.run(options, work, argv)


if __name__ == "__main__":
    sys.exit(main())
