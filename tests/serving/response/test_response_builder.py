"""Responses built from rows and scores: names of titles, ranks, unreleased titles, and notes."""

from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lake.arrays import NO_TITLE
from serving.response.attribution import Attribution
from serving.response.reasons import Reasons
from serving.response.response import Item, Reason, RetrieverResponse, Why
from serving.response.response_builder import RankedTitles, ResponseBuilder, without_padding

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
def builder() -> ResponseBuilder:
    manifest = SimpleNamespace(model=SimpleNamespace(version=7), as_of=date(2024, 5, 14))
    opened: Any = SimpleNamespace(titles=TITLES, version="v1", manifest=manifest)
    return ResponseBuilder(opened)


def ranked(*rows: int) -> RankedTitles:
    """A list of `rows` with scores that fall by 0.5 from 2."""
    scores = np.array([2 - 0.5 * n for n in range(len(rows))], dtype=np.float32)
    return RankedTitles("history", np.array(rows, dtype=np.int64), scores, "exact", 0.5)


def test_titles_are_named_in_order(builder: ResponseBuilder) -> None:
    response = builder.build(ranked(2, 1, 0, 3), np.array([9, 5, 9]), count=4)
    assert response == RetrieverResponse(
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


def test_short_list_says_so(builder: ResponseBuilder) -> None:
    response = builder.build(ranked(0), np.array([], dtype=np.int64), count=3, note="all titles are unknown")
    assert response.note == "all titles are unknown; no more than 1 titles may be recommended here"
    assert builder.build(ranked(), np.array([], dtype=np.int64), count=0).items == ()


def test_reasons_are_given_with_their_titles(builder: ResponseBuilder) -> None:
    rows = np.array([1, 2])
    # Heat contributes only to Ronin; a negative contribution is no reason.
    why = Reasons(TITLES, max_titles=2, max_names=2).explain(rows, Attribution(np.array([0]), np.array([[0.25, -1.0]])))
    expected = Why((Reason(101, "Heat", 0.25),), genres=("Crime",), themes=(), people=("De Niro",))
    assert why == [expected, None]
    response = builder.build(ranked(1, 2), np.array([], dtype=np.int64), 2, why)
    assert [item.why for item in response.items] == [expected, None]


def test_padding_is_left_out() -> None:
    rows, scores = without_padding(np.array([4, 2, NO_TITLE]), np.array([3.0, 1.0, -np.inf]))
    assert (rows.tolist(), scores.tolist()) == ([4, 2], [3.0, 1.0])
