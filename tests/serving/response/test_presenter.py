"""From rows to a list that a person reads: titles by name, ranks, what is unreleased, and what is missing."""

from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lake.arrays import NO_TITLE
from serving.response import presenter
from serving.response.presenter import Listed, Presenter
from serving.response.reasons import Reasons, Weighed
from serving.response.response import Answer, Item, Reason, Why

NAMES = pa.list_(pa.string())
TITLES = pa.table(
    {
        "title_id": pa.array([101, 102, 103, 104]),
        "title": ["Heat", "Ronin", "Tenet 2", "Old"],
        "object_type": pa.array(["movie", "movie", "show", None]),
        "release_date": pa.array([date(1995, 12, 15), None, date(2024, 5, 15), None]),
        "release_year": pa.array([1995, 2025, 2024, None], pa.int32()),
        "genres": pa.array([["Crime"], ["Crime", "War"], None, []], NAMES),
        "themes": pa.array([None, None, None, None], NAMES),
        "directors": pa.array([["Mann"], ["Frankenheimer"], [], []], NAMES),
        "cast": pa.array([["De Niro"], ["De Niro"], [], []], NAMES),
    }
)


@pytest.fixture
def shown() -> Presenter:
    manifest = SimpleNamespace(model=SimpleNamespace(version=7), as_of=date(2024, 5, 14))
    opened: Any = SimpleNamespace(titles=TITLES, version="v1", manifest=manifest)
    return Presenter(opened, Reasons(TITLES, most_titles=2, most_names=2))


def listed(*rows: int) -> Listed:
    """Scores that fall by 0.5 from 2."""
    scores = np.array([2 - 0.5 * place for place in range(len(rows))], dtype=np.float32)
    return Listed("history", np.array(rows, dtype=np.int64), scores, "exact", 0.5)


def test_titles_are_named_in_order(shown: Presenter) -> None:
    answer = shown.answer(listed(2, 1, 0, 3), np.array([9, 5, 9]), count=4)
    assert answer == Answer(
        bundle_version="v1",
        model_version=7,
        basis="history",
        note=None,
        dial=0.5,
        plan="exact",
        unknown_title_ids=(5, 9),
        items=(
            # A day after the bundle's, and a year after it where no date is known.
            Item(1, 103, "Tenet 2", "show", date(2024, 5, 15), 2024, True, 2.0, None),
            Item(2, 102, "Ronin", "movie", None, 2025, True, 1.5, None),
            Item(3, 101, "Heat", "movie", date(1995, 12, 15), 1995, False, 1.0, None),
            Item(4, 104, "Old", None, None, None, False, 0.5, None),
        ),
    )


def test_short_list_says_so(shown: Presenter) -> None:
    answer = shown.answer(listed(0), np.array([], dtype=np.int64), count=3, note="nobody knows them")
    assert answer.note == "nobody knows them; no more than 1 titles may be recommended here"
    assert shown.answer(listed(), np.array([], dtype=np.int64), count=0).items == ()


def test_reasons_stand_beside_their_titles(shown: Presenter) -> None:
    rows = np.array([1, 2])
    # Heat speaks for Ronin alone; a negative contribution is no reason.
    why = shown.explain(rows, Weighed(np.array([0]), np.array([[0.25, -1.0]])))
    expected = Why((Reason(101, "Heat", 0.25),), genres=("Crime",), themes=(), people=("De Niro",))
    assert why == [expected, None]
    answer = shown.answer(listed(1, 2), np.array([], dtype=np.int64), 2, why)
    assert [item.why for item in answer.items] == [expected, None]


def test_padding_is_left_out() -> None:
    rows, scores = presenter.found(np.array([4, 2, NO_TITLE]), np.array([3.0, 1.0, -np.inf]))
    assert (rows.tolist(), scores.tolist()) == ([4, 2], [3.0, 1.0])
