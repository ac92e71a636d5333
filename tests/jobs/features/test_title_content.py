"""Coverage and neighbours of plots and posters, as jobs.describe prints them."""

from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from conf.settings import Settings
from jobs import describe, stg_titles, title_features
from jobs.features import title_content
from jobs.features.title_content import Coverage, EncodedTitles, Neighbour
from jobs.store import tables
from lake.title_names import UnknownTitleError

# Vectors of length one, so that cosines can be read off: (1, 0), (.8, .6), (0, 1).
EAST, NORTH_EAST, NORTH = [1.0, 0.0], [0.8, 0.6], [0.0, 1.0]
HEAT = {"title_id": 1, "title": "Heat", "release_year": 1995, "plot": EAST, "poster": NORTH, "liked": 9}
RONIN = {"title_id": 2, "title": "Ronin", "release_year": 1998, "plot": NORTH_EAST, "poster": None, "liked": 5}
OLD_HEAT = {"title_id": 3, "title": "Heat", "release_year": 1986, "plot": NORTH, "poster": EAST, "liked": 2}
UNDATED = {"title_id": 4, "title": "Thief", "release_year": None, "plot": None, "poster": NORTH, "liked": 0}


@pytest.fixture
def lake(settings: Settings) -> Settings:
    """A lake with four titles, one of them without a plot and one whose poster could not be used."""
    titles = [HEAT, RONIN, OLD_HEAT, UNDATED]
    names = pa.table({name: [title[name] for title in titles] for name in ("title_id", "title", "release_year")})
    write_deltalake(tables.location(settings, stg_titles.TABLE), names)
    embedding = pa.list_(pa.float32())
    columns: dict[str, Any] = {
        "title_id": [title["title_id"] for title in titles],
        "title_index": [2, 3, 4, 5],
        "has_plot": [True, True, True, False],
        "has_poster": [True, True, True, True],
        "plot_embedding": pa.array([title["plot"] for title in titles], embedding),
        "poster_embedding": pa.array([title["poster"] for title in titles], embedding),
        "plot_problem": pa.array([None] * 4, pa.string()),
        "poster_problem": pa.array([None, "no image", None, None], pa.string()),
        "count_positives_ever": [title["liked"] for title in titles],
    }
    write_deltalake(tables.location(settings, title_features.TABLE), pa.table(columns))
    return settings


def test_titles_with_a_plot_or_poster_are_counted_and_those_that_failed_explained(lake: Settings) -> None:
    assert title_content.coverage(lake) == [
        Coverage("plot", titles=4, present=3, embedded=3, problems={}),
        Coverage("poster", titles=4, present=4, embedded=3, problems={"no image": 1}),
    ]


def test_lake_without_title_features_has_no_coverage(settings: Settings) -> None:
    assert title_content.coverage(settings) == []


def test_nearest_come_first_without_the_title_itself(lake: Settings) -> None:
    titles = EncodedTitles(lake)
    near = titles.neighbours(titles.names.find("Ronin").row, "plot_embedding", 5)
    # Of (.8, .6): .8 with (1, 0) and .6 with (0, 1); Thief has no plot.
    assert near is not None
    assert [(n.title, round(n.similarity, 5)) for n in near] == [("Heat (1995)", 0.8), ("Heat (1986)", 0.6)]
    assert titles.neighbours(titles.names.find("Thief").row, "poster_embedding", 1) == [Neighbour("Heat (1995)", 1.0)]


def test_title_without_an_embedding_has_no_neighbours(lake: Settings) -> None:
    titles = EncodedTitles(lake)
    assert titles.neighbours(titles.names.find("Thief").row, "plot_embedding", 3) is None
    assert titles.neighbours(titles.names.find("Ronin").row, "poster_embedding", 3) is None


def _label(titles: EncodedTitles, name: str) -> str:
    return titles.names.label(titles.names.find(name).row)


def test_a_name_of_several_titles_means_the_most_liked_unless_the_year_is_given(lake: Settings) -> None:
    titles = EncodedTitles(lake)
    assert _label(titles, "HEAT") == "Heat (1995)"
    assert _label(titles, "heat (1986)") == "Heat (1986)"
    assert _label(titles, "Thief") == "Thief"


def test_unknown_name_is_refused_with_similar_names(lake: Settings) -> None:
    with pytest.raises(UnknownTitleError, match=r"^no title is called 'Rohin'; similar names: Ronin \(1998\)"):
        describe.print_neighbours(lake, ["Rohin"], 1)


def test_neighbours_are_printed_by_plot_and_by_poster(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--set", f"lake.root={lake.lake.root}", "--neighbours", "Ronin", "Heat", "--count", "1"]
    assert describe.main(command) == 0
    shown = capsys.readouterr().out
    assert "Nearest to Ronin (1998)" in shown
    assert "0.80  Heat (1995)" in shown
    assert "it has none" in shown
    # Of Heat, by plot and by poster.
    assert "0.80  Ronin (1998)" in shown
    assert "1.00  Thief" in shown


def test_neighbours_without_features_end_with_what_to_do(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert describe.main(["--set", f"lake.root={settings.lake.root}", "--neighbours", "Heat"]) == 1
    assert "no title_features" in capsys.readouterr().err
