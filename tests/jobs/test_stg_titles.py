"""Titles: which lines are taken, and what a row becomes as the catalogue changes from day to day."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from conf.settings import Settings, with_changes
from jobs import stg_titles
from jobs.errors import JobError
from jobs.staging import feed_loads, rejected_rows
from jobs.store import tables
from tests import arrow_frames

WriteFeed = Callable[..., Path]
ReadRows = Callable[..., list[tuple[Any, ...]]]
Rows = list[tuple[Any, ...]]


def _day(day: int) -> date:
    return date(2024, 5, day)


def _title(title_id: Any, title: Any = "Heat", **more: Any) -> str:
    return json.dumps({"title_id": title_id, "title": title, **more})


DATES = "release_date: expected a date like 2024-05-01, from 1870 to 2150, found"
YEARS = "release_year: expected a year from 1870 to 2150, found"
REJECTED = {
    "no id": (json.dumps({"title": "Heat"}), "title_id: missing"),
    "no title": (_title(1, None), "title: missing"),
    "blank title": (_title(1, " "), "title: missing"),
    "title that is an object": (_title(1, {"en": "Heat"}), 'title: expected a text, found {"en":"Heat"}'),
    "unknown type": (_title(1, object_type="Movie"), "object_type: expected movie or show, found Movie"),
    "year 1800": (_title(1, release_year=1800), f"{YEARS} 1800"),
    "year 9999": (_title(1, release_year=9999), f"{YEARS} 9999"),
    "date in 1800": (_title(1, release_date="1800-01-01"), f"{DATES} 1800-01-01"),
    "date in 9999": (_title(1, release_date="9999-12-31"), f"{DATES} 9999-12-31"),
    "date that no calendar has": (_title(1, release_date="2023-02-29"), f"{DATES} 2023-02-29"),
    "date with a time": (_title(1, release_date="2024-05-01T00:00:00Z"), f"{DATES} 2024-05-01T00:00:00Z"),
    "year alone for a date": (_title(1, release_date="2024"), f"{DATES} 2024"),
    "no runtime": (_title(1, runtime_minutes=0), "runtime_minutes: expected a positive integer, found 0"),
    "null in a list": (_title(1, genres=["Crime", None]), 'genres: expected a list of texts, found ["Crime",null]'),
    "text for a list": (_title(1, cast="Al Pacino"), "cast: expected a list of texts, found Al Pacino"),
    "poster in another folder": (
        _title(1, poster="../secret.jpg"),
        "poster: expected a file name without a folder, found ../secret.jpg",
    ),
    "poster behind a backslash": (
        _title(1, poster="a\\b.jpg"),
        "poster: expected a file name without a folder, found a\\b.jpg",
    ),
}
GOOD = {
    "id and title alone": _title(0, "Heat"),
    "title in brackets": _title(1, "[REC]", genres=["[Horror]"]),
    "title that is a number": _title(1, 1917),
    "first and last year": _title(1, release_year=1870, release_date="2150-12-31"),
    "29 February": _title(1, release_date="2024-02-29"),
    "empty lists": _title(1, genres=[], cast=[]),
    "nulls": _title(1, genres=None, release_date=None, runtime_minutes=None, poster=None),
}


@pytest.fixture(scope="module")
def verdicts(spark: SparkSession, judge: Callable[..., dict[str, str | None]]) -> dict[str, str | None]:
    return judge(stg_titles.feed_spec(), {**{name: line for name, (line, _) in REJECTED.items()}, **GOOD})


@pytest.mark.parametrize("name", REJECTED)
def test_bad_title_is_rejected_with_its_reason(verdicts: dict[str, str | None], name: str) -> None:
    assert verdicts[name] == REJECTED[name][1]


@pytest.mark.parametrize("name", GOOD)
def test_good_title_is_taken(verdicts: dict[str, str | None], name: str) -> None:
    assert verdicts[name] is None


class Catalogue:
    """A lake into which one snapshot after the other is merged; remembers what the table held after each."""

    def __init__(self, spark: SparkSession, settings: Settings, write_feed: WriteFeed, read_rows: ReadRows) -> None:
        self.settings = settings
        self.rows: dict[str, Rows] = {}
        self.version: dict[str, int] = {}
        self.error: dict[str, str] = {}
        self._spark, self._write, self._read = spark, write_feed, read_rows

    def merge(self, step: str, ds: date, files: dict[str, list[str]]) -> None:
        for old in (Path(self.settings.feeds.root) / "titles").glob("*"):
            old.unlink()
        for name, lines in files.items():
            self._write(self.settings, f"titles/{name}", *lines)
        try:
            stg_titles.run(self._spark, self.settings, ds)
        except JobError as error:
            self.error[step] = str(error)
        columns = ("title_id", "title", "genres", "first_ds", "updated_ds", "removed_ds")
        self.rows[step] = self._read(self.settings, stg_titles.TABLE, *columns)
        self.version[step] = tables.version(self.settings, stg_titles.TABLE)


HEAT, ALIEN, REC = _title(1, "Heat", genres=["Crime"]), _title(2, "Alien"), _title(3, "[REC]")


@pytest.fixture(scope="module")
def catalogue(
    spark: SparkSession,
    settings_in: Callable[[Path], Settings],
    write_feed: WriteFeed,
    read_rows: ReadRows,
    tmp_path_factory: pytest.TempPathFactory,
) -> Catalogue:
    settings = with_changes(settings_in(tmp_path_factory.mktemp("titles")), {"staging.max_rejected_share": 0.2})
    made = Catalogue(spark, settings, write_feed, read_rows)
    first = {"b.jsonl.gz": [HEAT, ALIEN], "a.jsonl": [_title(1, "Heat of the first file"), REC, "bad"]}
    made.merge("first", _day(1), first)
    made.merge("unchanged", _day(2), first)
    made.merge("changed", _day(3), {"a.jsonl": [_title(1, "Heat", genres=["Crime", "Drama"]), ALIEN]})
    made.merge("older", _day(2), {"a.jsonl": [_title(1, "Old Heat"), ALIEN, REC]})
    made.merge("halved", _day(4), {"a.jsonl": [_title(9, "New")]})
    made.merge("no lines", _day(4), {"a.jsonl": []})
    made.merge("no files", _day(4), {})
    made.merge("returned", _day(5), {"a.jsonl": [_title(1, "Heat", genres=["Crime", "Drama"]), ALIEN, REC]})
    return made


AFTER_CHANGE: Rows = [
    (1, "Heat", ["Crime", "Drama"], _day(1), _day(3), None),
    (2, "Alien", [], _day(1), _day(1), None),
    (3, "[REC]", [], _day(1), _day(1), _day(3)),
]


def test_of_several_lines_the_one_in_the_last_file_stays(catalogue: Catalogue) -> None:
    assert catalogue.rows["first"] == [
        (1, "Heat", ["Crime"], _day(1), _day(1), None),
        (2, "Alien", [], _day(1), _day(1), None),
        (3, "[REC]", [], _day(1), _day(1), None),
    ]


def test_unchanged_catalogue_makes_no_new_version(catalogue: Catalogue) -> None:
    assert catalogue.version["unchanged"] == catalogue.version["first"]
    assert catalogue.rows["unchanged"] == catalogue.rows["first"]


def test_change_touches_its_row_alone_and_a_vanished_title_keeps_its_row(catalogue: Catalogue) -> None:
    assert catalogue.rows["changed"] == AFTER_CHANGE


def test_older_day_changes_nothing(catalogue: Catalogue) -> None:
    assert (catalogue.rows["older"], catalogue.version["older"]) == (AFTER_CHANGE, catalogue.version["changed"])


def test_snapshot_that_would_remove_too_much_is_refused(catalogue: Catalogue) -> None:
    # Two titles were listed; the third is removed already and counts no more.
    limit = "more than staging.max_removed_share=0.5; if that is right, raise it for this run"
    message = f"stg_titles: the snapshot for ds=2024-05-04 would remove 2 of 2 rows, {limit}"
    assert catalogue.error == {"halved": message, "no lines": message}
    assert (catalogue.rows["halved"], catalogue.rows["no lines"]) == (AFTER_CHANGE, AFTER_CHANGE)


def test_feed_without_files_leaves_the_table_as_it_is(catalogue: Catalogue) -> None:
    assert catalogue.version["no files"] == catalogue.version["changed"]


def test_title_that_comes_back_is_listed_again_since_its_first_day(catalogue: Catalogue) -> None:
    assert catalogue.rows["returned"] == [*AFTER_CHANGE[:2], (3, "[REC]", [], _day(1), _day(5), None)]


def test_lines_of_each_snapshot_are_accounted_for(catalogue: Catalogue, read_rows: ReadRows) -> None:
    counts = ("ds", "count_files", "count_lines", "count_loaded", "count_rejected", "count_duplicates")
    # Days 2's second run came too late, day 4 was refused or had no files.
    assert read_rows(catalogue.settings, feed_loads.TABLE, *counts) == [
        (_day(1), 2, 5, 3, 2, 1),
        (_day(2), 2, 5, 3, 2, 1),
        (_day(3), 1, 2, 2, 0, 0),
        (_day(5), 1, 3, 3, 0, 0),
    ]
    rejected = [
        ("line: not one JSON object", "bad"),
        ("title_id: a copy of another line", _title(1, "Heat of the first file")),
    ]
    assert read_rows(catalogue.settings, rejected_rows.TABLE, "ds", "reason", "line") == [
        (_day(day), *row) for day in (1, 2) for row in rejected
    ]


def test_absent_lists_are_empty_and_the_hash_tells_any_change(spark: SparkSession) -> None:
    fields = stg_titles.TABLE.schema.fieldNames()[:14]
    types = {field.name: field.dataType.simpleString() for field in stg_titles.TABLE.schema}
    schema = ", ".join(f"{name} {types[name]}" for name in fields)

    def row(**values: Any) -> tuple[Any, ...]:
        return tuple({"title_id": 1, "title": "Heat", **values}.get(name) for name in fields)

    lines = [
        row(),
        row(),
        row(genres=[]),
        row(genres=["Crime"]),
        row(themes=["Crime"]),
        row(plot="Cops."),
        row(poster="Cops."),
    ]
    built = stg_titles.build_titles(arrow_frames.frame(spark, schema, lines)).collect()
    assert tuple(built[0])[:-1] == (1, "Heat", None, None, None, None, None, [], [], [], [], [], None, None)
    hashes = [row["content_hash"] for row in built]
    # The first three say the same; each of the others says something else.
    assert [hashes.index(value) for value in hashes] == [0, 0, 0, 3, 4, 5, 6]


def test_constraints_of_the_table_refuse_bad_rows(spark: SparkSession, settings: Settings) -> None:
    tables.ensure(spark, settings, stg_titles.TABLE)
    lists = {name: [] for name in ("production_countries", "genres", "themes", "cast", "directors")}
    good = {"title_id": 1, "title": "Heat", "content_hash": "x", "first_ds": _day(1), "updated_ds": _day(1), **lists}
    bad = {
        "title_id_from_0": {"title_id": -1},
        "object_type_is_known": {"object_type": "game"},
        "runtime_is_positive": {"runtime_minutes": 0},
        "title": {"title": None},
    }
    schema = ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in stg_titles.TABLE.schema)
    for name, changes in bad.items():
        row = {**good, **changes}
        frame = arrow_frames.frame(spark, schema, [tuple(row.get(f) for f in stg_titles.TABLE.schema.fieldNames())])
        with pytest.raises((PySparkException, Py4JJavaError), match=name):
            tables.replace(frame, settings, stg_titles.TABLE, "true")
