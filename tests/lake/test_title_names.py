"""Titles by name, as a user types it."""

import numpy as np
import pytest

from lake.title_names import TitleNames, UnknownTitleError

NAMES = TitleNames(
    [
        "Heat",
        "Heat",
        "Heathers",
        "Matrix, The",
        "Star Wars: Episode IV",
        "Star Wars: Episode V",
        None,
        "Misérables, Les",
    ],
    [1995, 1986, 1989, 1999, 1977, 1980, None, None],
    np.array([5, 70, 90, 8, 40, 60, 100, 3]),
)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("heathers", 2),
        ("HEAT (1995)", 0),
        ("the matrix", 3),
        ("Matrix, the", 3),
        ("The Matrix (1999)", 3),
        ("les misérables", 7),
    ],
)
def test_a_name_means_its_title_without_further_words(name: str, row: int) -> None:
    match = NAMES.find(name)
    assert (match.row, match.note) == (row, "")


def test_of_several_titles_the_most_liked_is_chosen_and_the_others_are_listed() -> None:
    # Heathers begins so too, but two titles have exactly this name.
    match = NAMES.find("Heat")
    assert match.row == 1
    assert match.note == "'Heat': chose Heat (1986), the most liked of 2 titles with this name; the others: Heat (1995)"
    match = NAMES.find("star wars")
    assert match.row == 5
    assert "chose Star Wars: Episode V (1980), the most liked of 2 titles whose name begins so" in match.note


def test_the_beginning_of_a_name_is_noted() -> None:
    match = NAMES.find("matrix")
    assert (match.row, match.note) == (3, "'matrix': chose Matrix, The (1999), the only title whose name begins so")


def test_an_unknown_name_is_refused_with_similar_names() -> None:
    with pytest.raises(
        UnknownTitleError, match=r"no title is called 'wars'; similar names: Star Wars: Episode V \(1980\), Star Wars"
    ):
        NAMES.find("wars")
    with pytest.raises(UnknownTitleError, match=r"no title is called 'Heathrs'; similar names: Heathers \(1989\)"):
        NAMES.find("Heathrs")
    with pytest.raises(UnknownTitleError, match=r"no title is called 'xyzzy'$"):
        NAMES.find("xyzzy")
    with pytest.raises(UnknownTitleError, match=r"no title is called 'Heat \(2020\)'; similar names:"):
        NAMES.find("Heat (2020)")


def test_many_others_are_counted() -> None:
    many = TitleNames([f"Part {n}" for n in range(8)], [None] * 8, np.arange(8))
    assert many.find("part").note.endswith("the others: Part 6, Part 5, Part 4, Part 3, Part 2 and 2 more")


def test_a_title_without_a_name_has_a_label() -> None:
    assert NAMES.label(6) == "title without a name, row 6"
