"""Features of titles: ids, embeddings that are made once, absences that say so, posters that can't be used."""

import io
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
from tests import stored_rows

MAY_1, MAY_2, MAY_3 = date(2024, 5, 1), date(2024, 5, 2), date(2024, 5, 3)
PLOTS = {
    1: "A whale hunts the captain who hunts the whale.",
    2: "The captain of a whale boat drowns.",
    3: "Two detectives share an office and a murder.",
    4: "A murder in the office of the detectives.",
}
TITLES = {n: {"title_id": n, "title": f"T{n}", "plot": plot} for n, plot in PLOTS.items()}

# Two titles without a plot beside them.
WITH_GAPS = {**TITLES, 5: {"title_id": 5, "title": "T5"}, 6: {"title_id": 6, "title": "T6", "plot": "  "}}


# Of these one can be read.
POSTERS = {11: "good.jpg", 12: "html.jpg", 13: "huge.jpg", 14: "gone.jpg"}
WITH_POSTERS = {n: {"title_id": n, "title": f"T{n}", "poster": name} for n, name in POSTERS.items()}
FIRST_CATALOGUE = {**WITH_GAPS, **WITH_POSTERS}
# 2 has the plot of 3, 3 has a genre, and 4 has left.
SECOND_CATALOGUE = {
    **{n: title for n, title in FIRST_CATALOGUE.items() if n != 4},
    2: {**TITLES[2], "plot": PLOTS[3]},
    3: {**TITLES[3], "genres": ["War"]},
}
Features = dict[int, dict[str, Any]]


def small(settings: Settings) -> Settings:
    """Plots alone, in four dimensions."""
    text = {"fields": ["plot"], "dims": 4}
    return with_changes(settings, {f"title_features.text.{name}": value for name, value in text.items()})


@pytest.fixture(scope="module", autouse=True)
def small_limits() -> Iterator[None]:
    """Few texts are enough to fit the encoder, and posters are small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_encoder_terms, "MIN_DOCUMENTS", 1)
        patch.setattr(text_encoder_terms, "MAX_DOCUMENT_SHARE", 1.0)
        patch.setattr(title_encoding, "MAX_POSTER_BYTES", 1000)
        yield


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return small(settings)


@pytest.fixture
def night(spark: SparkSession, settings: Settings, stage_titles: Callable[..., None]) -> Callable[..., Features]:
    """`night(ds, {title_id: fields}, {"dotted.key": value})`: the features of a catalogue after a night."""

    def run(ds: date, titles: Mapping[int, Mapping[str, Any]], changes: Mapping[str, Any] | None = None) -> Features:
        stage_titles(ds, *titles.values())
        title_features.run(spark, with_changes(settings, changes or {}), ds)
        return read(settings)

    return run


def read(settings: Settings) -> Features:
    """The table's rows by title_id."""
    names = title_features.TABLE.schema.fieldNames()
    rows = [dict(zip(names, row, strict=True)) for row in stored_rows.read(settings, title_features.TABLE)]
    return {row["title_id"]: row for row in rows}


def rejected_posters(settings: Settings) -> list[tuple[Any, ...]]:
    return stored_rows.read(settings, rejected_rows.TABLE, "feed", "ds", "file", "reason", "line")


def write_poster(settings: Settings, name: str, content: str | bytes) -> None:
    """A picture of one colour in the posters' folder; bytes are written as they are."""
    file = Path(settings.feeds.posters_dir) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        buffer = io.BytesIO()
        Image.new("RGB", (20, 30), content).save(buffer, "JPEG")
        content = buffer.getvalue()
    file.write_bytes(content)


@dataclass(frozen=True)
class Nights:
    """What three nights made of two catalogues, the first of them played twice and the last without any change."""

    first: Features
    second: Features
    marked: list[float]  # the embedding that 1 had between these two
    after_first: Path  # a copy of the lake
    rejected: list[list[tuple[Any, ...]]]  # after each night
    versions: list[list[int]]  # after the second night and the third, of the features and of the encoder


@pytest.fixture(scope="module")
def nights(
    spark: SparkSession,
    settings_in: Callable[[Path], Settings],
    titles_stager: Callable[[Settings], Callable[..., None]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Nights:
    """Tests only read it."""
    folder = tmp_path_factory.mktemp("nights")
    settings = small(settings_in(folder))
    stage = titles_stager(settings)
    rejected, versions = [], []

    def night(ds: date, titles: Mapping[int, Mapping[str, Any]]) -> Features:
        stage(ds, *titles.values())
        title_features.run(spark, settings, ds)
        rejected.append(rejected_posters(settings))
        versions.append([tables.version(settings, table) for table in (title_features.TABLE, text_encoder_terms.TABLE)])
        return read(settings)

    write_poster(settings, "good.jpg", "red")
    write_poster(settings, "html.jpg", b"<html>not found</html>")
    write_poster(settings, "huge.jpg", b"\xff\xd8\xff" + bytes(2000))
    first = night(MAY_1, FIRST_CATALOGUE)
    assert night(MAY_1, FIRST_CATALOGUE) == first
    after_first = folder / "after first"
    shutil.copytree(settings.lake.root, after_first)
    marked = mark_embedding(spark, settings, 1)
    write_poster(settings, "good.jpg", "blue")
    write_poster(settings, "gone.jpg", "red")
    second = night(MAY_2, SECOND_CATALOGUE)
    assert night(MAY_3, SECOND_CATALOGUE) == second
    return Nights(first, second, marked, after_first, rejected, versions[2:])


@pytest.fixture
def after_first_night(nights: Nights, settings: Settings) -> None:
    """The test's lake is that of the first night, without its posters."""
    shutil.copytree(nights.after_first, settings.lake.root)


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


def test_plots_are_embedded_at_length_one_and_alike_ones_are_near(nights: Nights) -> None:
    rows = {n: row for n, row in nights.first.items() if n in TITLES}
    assert len(rows) == 4
    for row in rows.values():
        assert row["has_plot"]
        assert math.isclose(np.linalg.norm(row["plot_embedding"]), 1, abs_tol=1e-5)
        assert (row["has_title"], row["title_embedding"], row["title_problem"]) == (False, None, None)
    of = {n: row["plot_embedding"] for n, row in rows.items()}
    assert cosine(of[1], of[2]) > cosine(of[1], of[3])
    assert cosine(of[3], of[4]) > cosine(of[3], of[2])


def test_missing_plot_and_poster_are_absences_not_zeros(nights: Nights) -> None:
    columns = ("has_plot", "plot_embedding", "plot_encoder", "has_poster", "poster_embedding", "poster_problem")
    for title_id in (5, 6):
        assert [nights.first[title_id][name] for name in columns] == [False, None, None, False, None, None]


def test_ids_are_padded_cut_and_unknown_ones_collapse_without_any_text(
    spark: SparkSession,
    settings: Settings,
    stage_titles: Callable[..., None],
    night: Callable[..., Features],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = {"genre_ids": 2, "theme_ids": 1, "cast_ids": 4, "director_ids": 1}
    monkeypatch.setattr(title_features, "MAX_IDS", sizes)
    titles: dict[int, dict[str, Any]] = {
        1: {"title_id": 1, "title": "A", "genres": ["War", "Opera", "Drama"], "cast": ["X", "Al", "Y", "Bo"]},
        2: {"title_id": 2, "title": "B", "genres": ["War"], "cast": ["Al"], "directors": ["Bo"]},
        3: {"title_id": 3, "title": "C", "object_type": "movie", "original_language": "fr"},
        4: {"title_id": 4, "title": "D", "object_type": "show"},
    }
    stage_titles(MAY_1, *titles.values())
    vocabularies.run(spark, with_changes(settings, {"vocabulary_min_counts.person": 2}), MAY_1)
    rows = night(MAY_1, titles)
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
    assert rows[4]["object_type_id"] == 3
    assert [row["plot_embedding"] for row in rows.values()] == [None] * 4


def test_only_what_changed_is_encoded_again(nights: Nights) -> None:
    before, after = nights.first, nights.second
    assert after[1]["plot_embedding"] == nights.marked
    assert after[1]["updated_ds"] == MAY_1
    # The plot of 2 is now that of 3, by the same encoder.
    assert after[2]["plot_embedding"] == before[3]["plot_embedding"]
    # 3 changed in something else: its embedding is carried over.
    assert after[3]["plot_embedding"] == before[3]["plot_embedding"]
    assert [after[n]["updated_ds"] for n in (2, 3, 5)] == [MAY_2, MAY_2, MAY_1]


def test_a_night_without_changes_writes_nothing(nights: Nights) -> None:
    after_second, after_third = nights.versions
    assert after_third == after_second


@pytest.mark.usefixtures("after_first_night")
def test_other_encoder_settings_encode_every_title_again_and_names_where_asked_for(
    nights: Nights, night: Callable[..., Features]
) -> None:
    names = {1: "Whale", 3: "Murder", 4: "Zzz"}
    named = {n: {**TITLES[n], "title": name} for n, name in names.items()}
    changes = {"title_features.text.dims": 3, "title_features.text.encodes_titles": True}
    after = night(MAY_2, {**FIRST_CATALOGUE, **named}, changes)
    assert [len(after[n]["plot_embedding"]) for n in TITLES] == [3, 3, 3, 3]
    assert after[1]["plot_encoder"] != nights.first[1]["plot_encoder"]
    assert [after[n]["has_title"] for n in names] == [True] * 3
    assert cosine(after[1]["title_embedding"], after[1]["plot_embedding"]) > cosine(
        after[1]["title_embedding"], after[3]["plot_embedding"]
    )
    assert (after[4]["title_embedding"], after[4]["title_problem"]) == (None, "no word of it is known")


@pytest.mark.usefixtures("after_first_night")
def test_encoder_is_fitted_anew_when_the_catalogue_has_grown(nights: Nights, night: Callable[..., Features]) -> None:
    first = nights.first[1]["plot_encoder"]
    # Half as many again is less than refit_growth, 2.0: the same encoder.
    grown = {n: {"title_id": n, "title": "T", "plot": f"Number {n} rides a horse."} for n in range(21, 23)}
    same = night(MAY_2, {**FIRST_CATALOGUE, **grown})
    assert {same[n]["plot_encoder"] for n in (*TITLES, *grown)} == {first}
    grown |= {n: {"title_id": n, "title": "T", "plot": f"Number {n} rides a horse."} for n in range(23, 25)}
    anew = night(MAY_2, {**FIRST_CATALOGUE, **grown})
    [second] = {anew[n]["plot_encoder"] for n in (*TITLES, *grown)}
    assert second != first


def test_posters_that_cannot_be_used_are_quarantined_with_their_reason(nights: Nights) -> None:
    rows = nights.first
    assert math.isclose(np.linalg.norm(rows[11]["poster_embedding"]), 1, abs_tol=1e-5)
    assert [rows[n]["poster_embedding"] for n in (12, 13, 14)] == [None, None, None]
    assert all(rows[n]["has_poster"] for n in POSTERS)
    expected = sorted(
        ("posters", MAY_1, f"posters/{POSTERS[n]}", reason, f'{{"title_id":{n},"poster":"{POSTERS[n]}"}}')
        for n, reason in (
            (12, "mislabelled: named .jpg, which is JPEG, but the content is HTML"),
            (13, "2003 bytes, the limit is 1000"),
            (14, "no file of this name in feeds.posters_dir"),
        )
    )
    # Again for the same night: the same rows. On the next nights nothing is new, and the old reasons stay.
    assert nights.rejected == [expected] * 4


def test_poster_that_comes_or_changes_later_is_encoded_then(nights: Nights) -> None:
    before, after = nights.first, nights.second
    assert before[14]["poster_problem"] == "no file of this name in feeds.posters_dir"
    assert after[11]["poster_embedding"] != before[11]["poster_embedding"]
    assert after[14]["poster_embedding"] == before[11]["poster_embedding"]
    assert after[14]["poster_problem"] is None


def test_title_that_left_the_catalogue_keeps_its_row(nights: Nights) -> None:
    before, after = nights.first[4], nights.second[4]
    assert (before["is_listed"], after["is_listed"]) == (True, False)
    assert after["plot_embedding"] == before["plot_embedding"]


@pytest.mark.usefixtures("after_first_night")
def test_night_before_the_newest_is_refused(spark: SparkSession, settings: Settings) -> None:
    with pytest.raises(JobError, match=r"title_features for ds=2024-04-30: it is as of 2024-05-01 already"):
        title_features.run(spark, settings, date(2024, 4, 30))


def test_missing_weights_end_with_what_to_do(night: Callable[..., Features], tmp_path: Path) -> None:
    folder = str(tmp_path / "nothing")
    changes = {"title_features.text.encoder": "sentence", "title_features.text.folder": folder}
    with pytest.raises(JobError, match=f"title_features: .*{folder}"):
        night(MAY_1, TITLES, changes)
