"""Features of titles: ids, embeddings that are made once, absences that say so, posters that can't be used."""

import hashlib
import io
import json
import math
import shutil
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from delta.tables import DeltaTable
from PIL import Image
from pyspark.sql import SparkSession

from conf.settings import Settings, with_changes
from jobs import title_features, vocabularies
from jobs.errors import JobError
from jobs.features import encoder_inputs, text_encoder_terms, title_encoding
from jobs.staging import rejected_rows
from jobs.store import tables

MAY_1, MAY_2 = date(2024, 5, 1), date(2024, 5, 2)
PLOTS = {
    1: "A whale hunts the captain who hunts the whale.",
    2: "The captain of a whale boat drowns.",
    3: "Two detectives share an office and a murder.",
    4: "A murder in the office of the detectives.",
}
TITLES = {n: {"title_id": n, "title": f"T{n}", "plot": plot} for n, plot in PLOTS.items()}

# Two titles without a plot beside them.
WITH_GAPS = {**TITLES, 5: {"title_id": 5, "title": "T5"}, 6: {"title_id": 6, "title": "T6", "plot": "  "}}


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(text_encoder_terms, "MIN_DOCUMENTS", 1)
    monkeypatch.setattr(text_encoder_terms, "MAX_DOCUMENT_SHARE", 1.0)
    text = {"fields": ["plot"], "dims": 4}
    return with_changes(settings, {f"title_features.text.{name}": value for name, value in text.items()})


@pytest.fixture(scope="module")
def first_nights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder, which may be missing yet, for the lake after a first night without posters, by that night's input."""
    folder = tmp_path_factory.mktemp("first-nights")
    return lambda night: folder / hashlib.sha256(night.encode()).hexdigest()


@pytest.fixture
def night(
    spark: SparkSession, settings: Settings, stage_titles: Callable[..., None], first_nights: Callable[[str], Path]
) -> Callable[..., None]:
    """`night(ds, {title_id: fields}, {"dotted.key": value})`: the features of a catalogue, as of a night.

    The same first night of several tests is run once, and its lake copied.
    """
    lake, posters = Path(settings.lake.root), Path(settings.feeds.posters_dir)

    def run(ds: date, titles: Mapping[int, Mapping[str, Any]], changes: Mapping[str, Any] | None = None) -> None:
        is_first = not lake.exists() and not posters.exists()
        first_night = first_nights(json.dumps([str(ds), titles, changes]))
        is_known = is_first and first_night.exists()
        if is_known:
            shutil.copytree(first_night, lake)
        stage_titles(ds, *titles.values())
        if not is_known:
            title_features.run(spark, with_changes(settings, changes or {}), ds)
        if is_first and not is_known:
            shutil.copytree(lake, first_night)

    return run


@pytest.fixture
def features(spark: SparkSession, settings: Settings) -> Callable[[], dict[int, Any]]:
    """The table's rows by title_id."""

    def read() -> dict[int, Any]:
        return {row["title_id"]: row for row in tables.read(spark, settings, title_features.TABLE).collect()}

    return read


@pytest.fixture
def poster(settings: Settings) -> Callable[..., Path]:
    """`poster("a.jpg", "red")`: a picture in the posters' folder; bytes are written as they are."""

    def write(name: str, content: str | bytes) -> Path:
        file = Path(settings.feeds.posters_dir) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            buffer = io.BytesIO()
            Image.new("RGB", (20, 30), content).save(buffer, "JPEG")
            content = buffer.getvalue()
        file.write_bytes(content)
        return file

    return write


def cosine(one: list[float], other: list[float]) -> float:
    return float(np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other))


def mark_embedding(spark: SparkSession, settings: Settings, title_id: int) -> list[float]:
    """Put a plot embedding that no encoder makes in place of a title's: it stays until the title is encoded again."""
    table = DeltaTable.forPath(spark, tables.location(settings, title_features.TABLE))
    table.update(f"title_id = {title_id}", {"plot_embedding": "array(9f, 9f, 9f, 9f)"})
    return [9.0] * 4


def test_text_is_a_sentence_for_each_field_that_a_title_has(spark: SparkSession, settings: Settings) -> None:
    names = "genres array<string>, cast array<string>, directors array<string>"
    schema = f"title string, release_year int, {names}, plot string"
    titles = spark.createDataFrame(
        [
            ("Up ", 2009, ["Family", "Comedy"], ["Ed Asner"], ["Pete Docter", "Bob Peterson"], "A house flies."),
            ("Up", None, [], None, [], "A house flies."),
            ("Up", 2009, ["Family"], ["Ed Asner"], ["Pete Docter"], " "),
        ],
        schema,
    )
    fields = ["title_and_year", "genres", "directed_by", "starring", "plot"]
    text = encoder_inputs.text_of(with_changes(settings, {"title_features.text.fields": fields}).title_features.text)
    plain = ["title", "cast", "directors"]
    without_plot = with_changes(settings, {"title_features.text.fields": plain}).title_features.text
    rows = titles.select(text, encoder_inputs.text_of(without_plot)).collect()
    assert [tuple(row) for row in rows] == [
        (
            "Up (2009). Family, Comedy. Directed by Pete Docter, Bob Peterson. Starring Ed Asner. A house flies.",
            "Up. Ed Asner. Pete Docter, Bob Peterson",
        ),
        ("Up. A house flies.", "Up"),
        (None, "Up. Ed Asner. Pete Docter"),
    ]


def test_plots_are_embedded_at_length_one_and_alike_ones_are_near(
    night: Callable[..., None], features: Callable[[], dict[int, Any]]
) -> None:
    night(MAY_1, WITH_GAPS)
    rows = {n: row for n, row in features().items() if n in TITLES}
    assert len(rows) == 4
    for row in rows.values():
        assert row["has_plot"]
        assert math.isclose(np.linalg.norm(row["plot_embedding"]), 1, abs_tol=1e-5)
        assert (row["has_title"], row["title_embedding"], row["title_problem"]) == (False, None, None)
    of = {n: row["plot_embedding"] for n, row in rows.items()}
    assert cosine(of[1], of[2]) > cosine(of[1], of[3])
    assert cosine(of[3], of[4]) > cosine(of[3], of[2])


def test_titles_are_encoded_by_themselves_where_that_is_asked_for(
    night: Callable[..., None], features: Callable[[], dict[int, Any]]
) -> None:
    named = {1: {**TITLES[1], "title": "Whale"}, 3: {**TITLES[3], "title": "Murder"}, 4: {**TITLES[4], "title": "Zzz"}}
    night(MAY_1, named, {"title_features.text.encodes_titles": True})
    rows = features()
    assert [rows[n]["has_title"] for n in (1, 3, 4)] == [True] * 3
    assert cosine(rows[1]["title_embedding"], rows[1]["plot_embedding"]) > cosine(
        rows[1]["title_embedding"], rows[3]["plot_embedding"]
    )
    assert (rows[4]["title_embedding"], rows[4]["title_problem"]) == (None, "no word of it is known")


def test_missing_plot_and_poster_are_absences_not_zeros(
    night: Callable[..., None], features: Callable[[], dict[int, Any]]
) -> None:
    night(MAY_1, WITH_GAPS)
    columns = ("has_plot", "plot_embedding", "plot_encoder", "has_poster", "poster_embedding", "poster_problem")
    rows = features()
    for title_id in (5, 6):
        assert [rows[title_id][name] for name in columns] == [False, None, None, False, None, None]


def test_catalogue_without_any_text_has_features_all_the_same(
    night: Callable[..., None], features: Callable[[], dict[int, Any]]
) -> None:
    night(MAY_1, {5: {"title_id": 5, "title": "T5", "object_type": "show"}})
    assert features()[5]["object_type_id"] == 3
    assert features()[5]["plot_embedding"] is None


def test_ids_are_padded_cut_and_unknown_ones_collapse(
    spark: SparkSession,
    settings: Settings,
    stage_titles: Callable[..., None],
    night: Callable[..., None],
    features: Callable[[], dict[int, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = {"genre_ids": 2, "theme_ids": 1, "cast_ids": 4, "director_ids": 1}
    monkeypatch.setattr(title_features, "MAX_IDS", sizes)
    titles: dict[int, dict[str, Any]] = {
        1: {"title_id": 1, "title": "A", "genres": ["War", "Opera", "Drama"], "cast": ["X", "Al", "Y", "Bo"]},
        2: {"title_id": 2, "title": "B", "genres": ["War"], "cast": ["Al"], "directors": ["Bo"]},
        3: {"title_id": 3, "title": "C", "object_type": "movie", "original_language": "fr"},
    }
    stage_titles(MAY_1, *titles.values())
    vocabularies.run(spark, with_changes(settings, {"vocabulary_min_counts.person": 2}), MAY_1)
    night(MAY_1, titles)
    rows = features()
    # Genres: War 2 (twice named), then Drama 3, Opera 4. Persons named twice: Al 2, Bo 3. X and Y are unknown: one 1.
    assert rows[1]["genre_ids"] == [2, 4]
    assert rows[1]["cast_ids"] == [1, 2, 3, 0]
    assert rows[2]["genre_ids"] == [2, 0]
    assert rows[2]["cast_ids"] == [2, 0, 0, 0]
    assert rows[2]["director_ids"] == [3]
    assert rows[3]["genre_ids"] == [0, 0]
    assert rows[3]["theme_ids"] == [0]
    assert (rows[3]["object_type_id"], rows[3]["language_id"]) == (2, 2)
    assert (rows[1]["object_type_id"], rows[1]["language_id"]) == (1, 1)
    # Titles without interactions get their ids by alphabet.
    assert [rows[n]["title_index"] for n in (1, 2, 3)] == [2, 3, 4]


def test_only_what_changed_is_encoded_again(
    spark: SparkSession, settings: Settings, night: Callable[..., None], features: Callable[[], dict[int, Any]]
) -> None:
    night(MAY_1, TITLES)
    before = features()
    marked = mark_embedding(spark, settings, 1)
    changed = {**TITLES, 2: {**TITLES[2], "plot": PLOTS[3]}, 3: {**TITLES[3], "genres": ["War"]}}
    night(MAY_2, changed)
    after = features()
    assert after[1]["plot_embedding"] == marked
    assert after[1]["updated_ds"] == MAY_1
    # The plot of 2 is now that of 3, by the same encoder.
    assert after[2]["plot_embedding"] == before[3]["plot_embedding"]
    # 3 changed in something else: its embedding is carried over.
    assert after[3]["plot_embedding"] == before[3]["plot_embedding"]
    assert [after[n]["updated_ds"] for n in (2, 3, 4)] == [MAY_2, MAY_2, MAY_1]


def test_a_night_without_changes_writes_nothing(
    settings: Settings, night: Callable[..., None], poster: Callable[..., Path]
) -> None:
    poster("a.jpg", "red")
    titles = {**TITLES, 5: {"title_id": 5, "title": "T5", "poster": "a.jpg"}}
    night(MAY_1, titles)
    versions = [tables.version(settings, t) for t in (title_features.TABLE, text_encoder_terms.TABLE)]
    night(MAY_2, titles)
    assert [tables.version(settings, t) for t in (title_features.TABLE, text_encoder_terms.TABLE)] == versions


def test_other_encoder_settings_encode_every_title_again(
    spark: SparkSession, settings: Settings, night: Callable[..., None], features: Callable[[], dict[int, Any]]
) -> None:
    night(MAY_1, TITLES)
    before = features()
    mark_embedding(spark, settings, 1)
    night(MAY_2, TITLES, {"title_features.text.dims": 3})
    after = features()
    assert [len(row["plot_embedding"]) for row in after.values()] == [3, 3, 3, 3]
    assert after[1]["plot_encoder"] != before[1]["plot_encoder"]


def test_encoder_is_fitted_anew_when_the_catalogue_has_grown(
    night: Callable[..., None], features: Callable[[], dict[int, Any]]
) -> None:
    night(MAY_1, TITLES)
    first = features()[1]["plot_encoder"]
    # Half as many again is less than refit_growth, 2.0: the same encoder.
    grown = {n: {"title_id": n, "title": "T", "plot": f"Number {n} rides a horse."} for n in range(5, 7)}
    night(MAY_2, {**TITLES, **grown})
    assert {row["plot_encoder"] for row in features().values()} == {first}
    grown |= {n: {"title_id": n, "title": "T", "plot": f"Number {n} rides a horse."} for n in range(7, 9)}
    night(MAY_2, {**TITLES, **grown})
    [second] = {row["plot_encoder"] for row in features().values()}
    assert second != first


def test_posters_that_cannot_be_used_are_quarantined_with_their_reason(
    settings: Settings,
    night: Callable[..., None],
    poster: Callable[..., Path],
    features: Callable[[], dict[int, Any]],
    read_rows: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poster("good.jpg", "red")
    poster("html.jpg", b"<html>not found</html>")
    poster("huge.jpg", b"\xff\xd8\xff" + bytes(2000))
    named = {1: "good.jpg", 2: "html.jpg", 3: "huge.jpg", 4: "gone.jpg"}
    titles = {n: {"title_id": n, "title": f"T{n}", "poster": name} for n, name in named.items()}
    monkeypatch.setattr(title_encoding, "MAX_POSTER_BYTES", 1000)
    night(MAY_1, titles)
    rows = features()
    assert math.isclose(np.linalg.norm(rows[1]["poster_embedding"]), 1, abs_tol=1e-5)
    assert [rows[n]["poster_embedding"] for n in (2, 3, 4)] == [None, None, None]
    assert all(row["has_poster"] for row in rows.values())
    rejected = read_rows(settings, rejected_rows.TABLE, "feed", "ds", "file", "reason", "line")
    assert rejected == sorted(
        ("posters", MAY_1, f"posters/{named[n]}", reason, f'{{"title_id":{n},"poster":"{named[n]}"}}')
        for n, reason in (
            (2, "mislabelled: named .jpg, which is JPEG, but the content is HTML"),
            (3, "2003 bytes, the limit is 1000"),
            (4, "no file of this name in feeds.posters_dir"),
        )
    )
    # Again for the same night: the same rows. On the next night nothing is new, and the old reasons stay.
    for ds in (MAY_1, MAY_2):
        night(ds, titles)
        assert read_rows(settings, rejected_rows.TABLE, "feed", "ds", "file", "reason", "line") == rejected


def test_poster_that_comes_or_changes_later_is_encoded_then(
    night: Callable[..., None], poster: Callable[..., Path], features: Callable[[], dict[int, Any]]
) -> None:
    titles = {1: {"title_id": 1, "title": "A", "poster": "a.jpg"}, 2: {"title_id": 2, "title": "B", "poster": "b.jpg"}}
    poster("a.jpg", "red")
    night(MAY_1, titles)
    before = features()
    assert before[2]["poster_problem"] == "no file of this name in feeds.posters_dir"
    poster("a.jpg", "blue")
    poster("b.jpg", "red")
    night(MAY_2, titles)
    after = features()
    assert after[1]["poster_embedding"] != before[1]["poster_embedding"]
    assert after[2]["poster_embedding"] == before[1]["poster_embedding"]
    assert after[2]["poster_problem"] is None


def test_title_that_left_the_catalogue_keeps_its_row(
    night: Callable[..., None], features: Callable[[], dict[int, Any]]
) -> None:
    night(MAY_1, TITLES)
    before = features()[4]
    night(MAY_2, {n: title for n, title in TITLES.items() if n != 4})
    after = features()[4]
    assert (before["is_listed"], after["is_listed"]) == (True, False)
    assert after["plot_embedding"] == before["plot_embedding"]


def test_night_before_the_newest_is_refused(
    spark: SparkSession, settings: Settings, night: Callable[..., None]
) -> None:
    night(MAY_1, TITLES)
    with pytest.raises(JobError, match=r"title_features for ds=2024-04-30: it is as of 2024-05-01 already"):
        title_features.run(spark, settings, date(2024, 4, 30))


def test_missing_weights_end_with_what_to_do(night: Callable[..., None], tmp_path: Path) -> None:
    folder = str(tmp_path / "nothing")
    changes = {"title_features.text.encoder": "sentence", "title_features.text.folder": folder}
    with pytest.raises(JobError, match=f"title_features: .*{folder}"):
        night(MAY_1, TITLES, changes)
