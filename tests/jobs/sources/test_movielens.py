"""MovieLens as raw feeds: every rating becomes one event, and names of titles get their usual order."""

import gzip
import json
from pathlib import Path

import pytest

from jobs.errors import JobError
from jobs.sources import feed_files, grouplens, movielens

MOVIELENS_SMALL = Path(__file__).parents[4] / "shared" / "data" / "movielens-small"

RATINGS_CSV = """userId,movieId,rating,timestamp
1,10,4.0,964982703
1,20,3.5,964983599
2,10,0.5,1431647999
"""
MOVIES_CSV = """movieId,title,genres
10,Toy Story (1995),Adventure|Animation
20,"Great Escape, The (1963)",War
"""


def _folder(path: Path, files: dict[str, str | bytes]) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _import(tmp_path: Path, files: dict[str, str | bytes], titles: str | None = None) -> Path:
    source = _folder(tmp_path / "source", files)
    titles_file = None
    if titles is not None:
        titles_file = tmp_path / "titles.jsonl"
        titles_file.write_text(titles, encoding="utf-8")
    movielens.import_folder(source, titles_file, tmp_path / "feeds", "US")
    return tmp_path / "feeds"


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _rows(feeds: Path, name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in gzip.decompress((feeds / name).read_bytes()).splitlines()]


def _events(feeds: Path) -> dict[str, list[dict[str, object]]]:
    """Rows by feed day, every file under events/."""
    return {
        path.parent.name.removeprefix("event_date="): _rows(feeds, str(path.relative_to(feeds)))
        for path in sorted((feeds / "events").rglob("*.gz"))
    }


def _titles(feeds: Path) -> list[dict[str, object]]:
    return _rows(feeds, "titles/titles.jsonl.gz")


def test_csv_ratings_become_events_of_their_utc_day(tmp_path: Path) -> None:
    feeds = _import(tmp_path, {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV})

    # 964982703 s = 2000-07-30 18:45:03 and 964983599 s = 896 s later; 1431647999 s = 2015-05-14 23:59:59
    assert _events(feeds) == {
        "2000-07-30": [
            {
                "event_id": "ml-1-10",
                "user_id": "ml1",
                "title_id": 10,
                "event_type": "rating",
                "event_time": "2000-07-30T18:45:03Z",
                "country": "US",
                "rating": 4.0,
            },
            {
                "event_id": "ml-1-20",
                "user_id": "ml1",
                "title_id": 20,
                "event_type": "rating",
                "event_time": "2000-07-30T18:59:59Z",
                "country": "US",
                "rating": 3.5,
            },
        ],
        "2015-05-14": [
            {
                "event_id": "ml-2-10",
                "user_id": "ml2",
                "title_id": 10,
                "event_type": "rating",
                "event_time": "2015-05-14T23:59:59Z",
                "country": "US",
                "rating": 0.5,
            }
        ],
    }
    assert _titles(feeds) == [
        {
            "title_id": 10,
            "title": "Toy Story",
            "object_type": "movie",
            "release_year": 1995,
            "genres": ["Adventure", "Animation"],
        },
        {
            "title_id": 20,
            "title": "The Great Escape",
            "object_type": "movie",
            "release_year": 1963,
            "genres": ["War"],
        },
    ]
    # And nothing else: no folder for a day without ratings, no unfinished file.
    assert sorted(_files(feeds)) == [
        "events/event_date=2000-07-30/part-00000.jsonl.gz",
        "events/event_date=2015-05-14/part-00000.jsonl.gz",
        "titles/titles.jsonl.gz",
    ]
    assert sorted(path.name for path in feeds.iterdir()) == ["events", "titles"]


def test_double_colon_files_in_iso_8859_1_are_read(tmp_path: Path) -> None:
    feeds = _import(
        tmp_path,
        {
            "ratings.dat": "7::73::5::978300760\n7::12::3.5::978302109\n",
            "movies.dat": "73::Misérables, Les (1995)::Drama|Musical\n12::Ed::Wood (1994)::Comedy\n".encode("latin-1"),
        },
    )

    # 978300760 s = 2000-12-31 22:12:40; 978302109 s = 1349 s later
    assert [(e["event_id"], e["rating"], e["event_time"]) for e in _events(feeds)["2000-12-31"]] == [
        ("ml-7-73", 5.0, "2000-12-31T22:12:40Z"),
        ("ml-7-12", 3.5, "2000-12-31T22:35:09Z"),
    ]
    assert [(t["title_id"], t["title"], t["release_year"], t["genres"]) for t in _titles(feeds)] == [
        (12, "Ed::Wood", 1994, ["Comedy"]),
        (73, "Les Misérables", 1995, ["Drama", "Musical"]),
    ]


def test_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    # 0x85 is an ellipsis to Windows, a line end to Unicode, and white space here.
    movies = b"73::Wait\x85 (1995)::Drama\n"
    feeds = _import(tmp_path, {"ratings.dat": "7::73::5::978300760\n", "movies.dat": movies})
    assert [(t["title"], t["release_year"]) for t in _titles(feeds)] == [("Wait", 1995)]


def test_double_colon_files_in_utf_8_are_read(tmp_path: Path) -> None:
    feeds = _import(tmp_path, {"ratings.dat": "7::73::5::978300760\n", "movies.dat": "73::Amélie (2001)::Comedy\n"})
    assert [t["title"] for t in _titles(feeds)] == ["Amélie"]


@pytest.mark.parametrize(
    "files",
    [
        {"ratings.csv": RATINGS_CSV.rstrip("\n"), "movies.csv": MOVIES_CSV.rstrip("\n")},
        {"ratings.csv": RATINGS_CSV.replace("\n", "\r\n"), "movies.csv": MOVIES_CSV.replace("\n", "\r\n")},
        {"ratings.csv": "\ufeff" + RATINGS_CSV, "movies.csv": "\ufeff" + MOVIES_CSV},
        {"ratings.csv": RATINGS_CSV + "\n", "movies.csv": MOVIES_CSV + "\n"},
    ],
    ids=["no final newline", "CRLF", "byte order mark", "empty last line"],
)
def test_forms_of_a_text_file_make_no_difference(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    (tmp_path / "plain").mkdir()
    plain = _import(tmp_path / "plain", {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV})
    assert _files(_import(tmp_path, files)) == _files(plain)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_double_colon_files_may_lack_the_final_newline(tmp_path: Path, line_end: str) -> None:
    feeds = _import(
        tmp_path,
        {
            "ratings.dat": f"7::73::5::978300760{line_end}8::73::4::978300760",
            "movies.dat": f"72::A (2000)::Drama{line_end}73::B (2001)::Comedy",
        },
    )
    assert [e["event_id"] for e in _events(feeds)["2000-12-31"]] == ["ml-7-73", "ml-8-73"]
    assert [(t["title"], t["genres"]) for t in _titles(feeds)] == [("A", ["Drama"]), ("B", ["Comedy"])]


def test_midnight_utc_begins_the_next_day(tmp_path: Path) -> None:
    # 11017 days * 86400 s = 951868800 s = 2000-03-01 00:00:00; the second before is the leap day's last.
    ratings = (
        "userId,movieId,rating,timestamp\n"
        "1,10,4.0,951868800\n1,20,4.0,951868799\n1,30,4.0,951955199\n1,40,4.0,951955200\n"
    )
    feeds = _import(tmp_path, {"ratings.csv": ratings, "movies.csv": MOVIES_CSV})

    assert {day: [(e["title_id"], e["event_time"]) for e in events] for day, events in _events(feeds).items()} == {
        "2000-02-29": [(20, "2000-02-29T23:59:59Z")],
        "2000-03-01": [(10, "2000-03-01T00:00:00Z"), (30, "2000-03-01T23:59:59Z")],
        "2000-03-02": [(40, "2000-03-02T00:00:00Z")],
    }


def test_times_before_1970_keep_their_day(tmp_path: Path) -> None:
    ratings = "userId,movieId,rating,timestamp\n1,10,4.0,-1\n"
    feeds = _import(tmp_path, {"ratings.csv": ratings, "movies.csv": MOVIES_CSV})
    assert [e["event_time"] for e in _events(feeds)["1969-12-31"]] == ["1969-12-31T23:59:59Z"]


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    ratings = "timestamp,extra,rating,movieId,userId\n964982703,x,4.0,10,1\n"
    movies = "genres,movieId,title\nDrama,10,Heat (1995)\n"
    feeds = _import(tmp_path, {"ratings.csv": ratings, "movies.csv": movies})
    assert [(e["user_id"], e["title_id"], e["rating"]) for e in _events(feeds)["2000-07-30"]] == [("ml1", 10, 4.0)]
    assert [(t["title_id"], t["title"], t["genres"]) for t in _titles(feeds)] == [(10, "Heat", ["Drama"])]


def test_a_pair_rated_again_keeps_every_rating_under_its_own_id(tmp_path: Path) -> None:
    ratings = (
        "userId,movieId,rating,timestamp\n"
        "1,10,5.0,964982800\n"  # later in time, earlier in the file
        "1,10,1.0,964982703\n"
        "1,10,4.0,964982800\n"  # within the same second
        "1,20,3.0,964982703\n"
    )
    feeds = _import(tmp_path, {"ratings.csv": ratings, "movies.csv": MOVIES_CSV})
    assert [(e["event_id"], e["rating"]) for e in _events(feeds)["2000-07-30"]] == [
        ("ml-1-10", 1.0),
        ("ml-1-20", 3.0),
        ("ml-1-10-964982800", 5.0),
        ("ml-1-10-964982800-2", 4.0),
    ]


def test_values_out_of_the_scale_are_passed_on_for_staging_to_reject(tmp_path: Path) -> None:
    ratings = "userId,movieId,rating,timestamp\n1,10,99.0,964982703\n1,20,-1,964982703\n1,77,4.5,964982703\n"
    feeds = _import(tmp_path, {"ratings.csv": ratings, "movies.csv": MOVIES_CSV})
    assert [(e["title_id"], e["rating"]) for e in _events(feeds)["2000-07-30"]] == [(10, 99.0), (20, -1.0), (77, 4.5)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Toy Story (1995)", ("Toy Story", 1995)),
        ("Matrix, The (1999)", ("The Matrix", 1999)),
        ("Avventura, L' (Adventure, The) (1960)", ("L'Avventura (The Adventure)", 1960)),
        ("Big Lift, The (a.k.a. Other) (1950)", ("The Big Lift (a.k.a. Other)", 1950)),
        ("Open City (a.k.a. Gates of Hell, The) (1980)", ("Open City (a.k.a. The Gates of Hell)", 1980)),
        (
            "Good, the Bad and the Ugly, The (Buono, il brutto, il cattivo, Il) (1966)",
            ("The Good, the Bad and the Ugly (Il Buono, il brutto, il cattivo)", 1966),
        ),
        ("Paris, Texas (1984)", ("Paris, Texas", 1984)),
        ("I, Robot (2004)", ("I, Robot", 2004)),
        ("2001: A Space Odyssey (1968)", ("2001: A Space Odyssey", 1968)),
        ("Blind Side, The  (2009) ", ("The Blind Side", 2009)),
        ("1984 (1984) (1985)", ("1984 (1984)", 1985)),
        ("(500) Days of Summer (2009)", ("(500) Days of Summer", 2009)),
        ("Babylon 5", ("Babylon 5", None)),
        ("Death Note: Desu nôto (2006–2007)", ("Death Note: Desu nôto (2006–2007)", None)),  # noqa: RUF001
        ("(2012)", ("(2012)", None)),
    ],
)
def test_title_text_is_split_into_name_and_year(text: str, expected: tuple[str, int | None]) -> None:
    name, _, year = grouplens.split_title(text)
    assert (name, year) == expected


def test_quotes_commas_and_missing_genres_of_movies(tmp_path: Path) -> None:
    movies = (
        "movieId,title,genres\n"
        '10,"""Great Performances"" Cats, The (1998)",(no genres listed)\n'
        '20,"Girl, Interrupted",\n'
        "30,Amélie (2001),Comedy|Romance\n"
    )
    feeds = _import(tmp_path, {"ratings.csv": RATINGS_CSV, "movies.csv": movies})
    assert _titles(feeds) == [
        {
            "title_id": 10,
            "title": 'The "Great Performances" Cats',
            "object_type": "movie",
            "release_year": 1998,
            "genres": [],
        },
        {"title_id": 20, "title": "Girl, Interrupted", "object_type": "movie", "genres": []},
        {
            "title_id": 30,
            "title": "Amélie",
            "object_type": "movie",
            "release_year": 2001,
            "genres": ["Comedy", "Romance"],
        },
    ]


def test_metadata_wins_and_movielens_fills_its_gaps(tmp_path: Path) -> None:
    metadata = (
        '{"title_id": 20, "title": "Great Escape, The", "release_year": null, "genres": [], "plot": "Tunnels.",'
        ' "cast": ["Steve McQueen"], "poster": null}\n'
        "\n"
        '{"title_id": 10, "title": "Toy Story: Special", "object_type": "show", "release_year": 1996,'
        ' "genres": ["Toys"], "poster": "10.jpg"}\n'
        '{"title_id": 5, "title": "Only Here, The", "genres": ["War"]}'
    )
    feeds = _import(tmp_path, {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV}, metadata)
    assert _titles(feeds) == [
        {"title_id": 5, "title": "Only Here, The", "genres": ["War"]},
        {
            "title_id": 10,
            "title": "Toy Story: Special",
            "object_type": "show",
            "release_year": 1996,
            "genres": ["Toys"],
            "poster": "10.jpg",
        },
        # "Great Escape, The" is MovieLens' own spelling, not another name.
        {
            "title_id": 20,
            "title": "The Great Escape",
            "object_type": "movie",
            "release_year": 1963,
            "genres": ["War"],
            "plot": "Tunnels.",
            "cast": ["Steve McQueen"],
        },
    ]


def test_metadata_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV}
    feeds = _import(tmp_path, files, '\ufeff{"title_id": 10, "plot": "Toys."}\r\n')
    assert [title.get("plot") for title in _titles(feeds)] == ["Toys.", None]


def test_rerun_into_another_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    source = _folder(tmp_path / "source", {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV})
    for out in ("one", "two"):
        movielens.import_folder(source, None, tmp_path / out, "US")
    one, two = _files(tmp_path / "one"), _files(tmp_path / "two")
    assert len(one) == 3  # two days and the titles
    assert one == two


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("ratings.csv", RATINGS_CSV + "3,10,4.0\n", 5),
        ("ratings.csv", RATINGS_CSV + "3,10,4.0,964982703,9\n", 5),
        ("ratings.csv", RATINGS_CSV.replace("3.5", "good"), 3),
        ("ratings.csv", RATINGS_CSV.replace("3.5", ""), 3),
        ("ratings.csv", RATINGS_CSV.replace("3.5", "nan"), 3),
        ("ratings.csv", RATINGS_CSV.replace("3.5", "1e999"), 3),
        ("ratings.csv", RATINGS_CSV.replace("1,20,", "x1,20,"), 3),
        ("ratings.csv", RATINGS_CSV.replace("1,20,", ",20,"), 3),
        ("ratings.csv", RATINGS_CSV.replace("964983599", ""), 3),
        ("ratings.csv", RATINGS_CSV.replace("1,20,", "1,2.5,"), 3),
        ("ratings.csv", RATINGS_CSV.replace("964983599", "964983599000"), 3),  # milliseconds: the year 32549
        ("ratings.csv", RATINGS_CSV.replace("964983599", "99999999999999999999"), 3),
        ("ratings.csv", RATINGS_CSV.replace("\n1,20", "\n\n1,20") + '"3,10,4.0,964982703\n', 6),
        ("movies.csv", MOVIES_CSV + "x,Heat (1995),Action\n", 4),
        ("movies.csv", MOVIES_CSV + "30,,Action\n", 4),
        ("movies.csv", MOVIES_CSV + "30,Heat, The (1995),Action\n", 4),
        ("movies.csv", MOVIES_CSV + "10,Heat (1995),Action\n", 4),
        ("movies.csv", MOVIES_CSV.encode() + b"30,Am\xe9lie (2001),Comedy\n", 4),
    ],
)
def test_malformed_line_is_named_and_nothing_is_written(
    tmp_path: Path, name: str, content: str | bytes, line: int
) -> None:
    files: dict[str, str | bytes] = {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV, name: content}
    with pytest.raises(JobError) as error:
        _import(tmp_path, files)
    assert str(error.value).startswith(f"{tmp_path / 'source' / name}:{line}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("ratings.dat", "1::10::4::964982703\n1::10::4\n", 2),
        ("ratings.dat", "1::10::4::964982703::8\n", 1),
        ("ratings.dat", "1::10::4::964982703\n1:5:10::4::964982703\n", 2),
        ("ratings.dat", "1::10::4::964982703\n1::10::four::964982703\n", 2),
        ("movies.dat", "10::Heat (1995)::Action\n20::Casino (1995)\n", 2),
    ],
)
def test_malformed_double_colon_line_is_named(tmp_path: Path, name: str, content: str, line: int) -> None:
    files = {"ratings.dat": "1::10::4::964982703\n", "movies.dat": "10::Heat (1995)::Action\n", name: content}
    with pytest.raises(JobError) as error:
        _import(tmp_path, dict(files))
    assert str(error.value).startswith(f"{tmp_path / 'source' / name}:{line}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    "line",
    ["not json", "[1]", '{"title": "No id"}', '{"title_id": "20"}', '{"title_id": true}', '{"title_id": 20.0}',
     '{"title_id": 20, "runtime_minutes": NaN}', '{"title_id": 10, "title": "Twice"}'],
)  # fmt: skip
def test_metadata_line_that_is_no_title_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(JobError) as error:
        _import(
            tmp_path,
            {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV},
            f'{{"title_id": 10, "title": "Toy Story"}}\n{line}\n',
        )
    assert str(error.value).startswith(f"{tmp_path / 'titles.jsonl'}:2: ")
    assert not (tmp_path / "feeds").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "found none of them"),
        ({"ratings.csv": RATINGS_CSV}, "found ['ratings.csv']"),
        ({"movies.csv": MOVIES_CSV}, "found ['movies.csv']"),
        ({"ratings.csv": RATINGS_CSV, "movies.dat": ""}, "found ['ratings.csv', 'movies.dat']"),
        (
            {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV, "ratings.dat": "", "movies.dat": ""},
            "expected either ratings.csv and movies.csv or ratings.dat and movies.dat",
        ),
        ({"ratings.csv": RATINGS_CSV.replace("userId", "u"), "movies.csv": MOVIES_CSV}, "column 'userId'; found ['u'"),
        ({"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV.replace("genres", "genre")}, "column 'genres'; found"),
        ({"ratings.csv": "", "movies.csv": MOVIES_CSV}, "column 'userId', 'movieId', 'rating', 'timestamp'"),
        ({"ratings.csv": RATINGS_CSV.split("1")[0], "movies.csv": MOVIES_CSV}, "expected ratings, found none"),
        ({"ratings.csv": RATINGS_CSV, "movies.csv": "movieId,title,genres\n"}, "expected titles, found none"),
    ],
)  # fmt: skip
def test_folder_that_is_no_movielens_is_refused(tmp_path: Path, files: dict[str, str | bytes], message: str) -> None:
    with pytest.raises(JobError) as error:
        _import(tmp_path, files)
    assert message in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("feed", ["events", "titles"])
def test_out_that_holds_a_feed_is_left_alone(tmp_path: Path, feed: str) -> None:
    (tmp_path / "feeds" / feed).mkdir(parents=True)
    (tmp_path / "feeds" / feed / "theirs.jsonl").write_text("{}")
    with pytest.raises(JobError, match=f"feeds/{feed} already holds a feed; remove it or choose another --out"):
        _import(tmp_path, {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV})
    assert _files(tmp_path / "feeds") == {f"{feed}/theirs.jsonl": b"{}"}


def test_out_may_hold_other_things(tmp_path: Path) -> None:
    _folder(tmp_path / "feeds", {"readme.txt": "posters follow"})
    feeds = _import(tmp_path, {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV})
    assert sorted(path.name for path in feeds.iterdir()) == ["events", "readme.txt", "titles"]


def test_disk_that_fails_midway_leaves_no_half_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lines = feed_files.write_lines

    def full_on_the_last_day(path: Path, lines: list[bytes]) -> int:
        if "2015-05-14" in str(path):
            raise OSError(28, "No space left on device")
        return write_lines(path, lines)

    monkeypatch.setattr(feed_files, "write_lines", full_on_the_last_day)
    with pytest.raises(OSError, match="No space left"):
        _import(tmp_path, {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV})
    assert list((tmp_path / "feeds").iterdir()) == []


def test_command_answers_with_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ratings = RATINGS_CSV + "2,77,1.0,964982703\n"
    source = _folder(tmp_path / "source", {"ratings.csv": ratings, "movies.csv": MOVIES_CSV})
    (tmp_path / "titles.jsonl").write_text(
        '{"title_id": 10, "plot": "Toys.", "cast": ["Tom Hanks"]}\n{"title_id": 5, "title": "Five", "plot": "."}\n'
    )
    options = ["--source", str(source), "--titles", str(tmp_path / "titles.jsonl"), "--out", str(tmp_path / "feeds")]

    assert movielens.main([*options, "--country", "DE"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ratings read   4",
        "events written 4",
        "days           2",
        "users          2",
        "titles         3 (2 with plot, 1 with cast, 0 with poster)",
        "rated but in no list of titles: 1",
    ]
    assert {e["country"] for events in _events(tmp_path / "feeds").values() for e in events} == {"DE"}


def test_command_ends_with_1_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert movielens.main(["--source", str(tmp_path / "none"), "--out", str(tmp_path / "feeds")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert f"{tmp_path / 'none'}: expected either ratings.csv" in captured.err


@pytest.mark.parametrize(
    "wrong",
    [["--out", "s3a://bucket/feeds"], ["--out", "feeds", "--country", "usa"], []],
    ids=["uri", "country", "no out"],
)
def test_command_refuses_wrong_arguments(tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        movielens.main(["--source", str(tmp_path), *wrong])
    assert end.value.code == 2


def test_movielens_small_loses_nothing(tmp_path: Path) -> None:
    if not MOVIELENS_SMALL.is_dir():
        pytest.skip(f"MovieLens is not shipped with the project: {MOVIELENS_SMALL} is absent")
    summary = movielens.import_folder(MOVIELENS_SMALL, MOVIELENS_SMALL / "titles.jsonl", tmp_path / "feeds", "US")

    days = _events(tmp_path / "feeds")
    events = [event for rows in days.values() for event in rows]
    assert (summary.ratings, summary.events, len(events)) == (100_836, 100_836, 100_836)
    assert len({event["event_id"] for event in events}) == 100_836
    assert len({event["user_id"] for event in events}) == 610
    assert all(str(event["event_time"]).startswith(day) for day, rows in days.items() for event in rows)
    assert (min(days), max(days)) == ("1996-03-29", "2018-09-24")
    titles = {title["title_id"]: title["title"] for title in _titles(tmp_path / "feeds")}
    assert len(titles) >= 9_742
    assert (titles[1], titles[2571]) == ("Toy Story", "The Matrix")
    # Half stars: the sum of all ratings is worked out from the source by other means.
    lines = (MOVIELENS_SMALL / "ratings.csv").read_text().splitlines()[1:]
    assert sum(float(str(event["rating"])) for event in events) == sum(float(line.split(",")[2]) for line in lines)
