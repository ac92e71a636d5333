"""Fields of metadata left out, of all titles or of some, or replaced by their presence."""

import numpy as np
import pytest
from scipy import sparse

from lake.arrays import Doubles
from models.data.content import Content
from models.linear.content_kernel import Features, features, select
from models.studies import metadata_fields

CONTENT = Content(
    {
        "plot": np.array([[1, 2], [0, 0], [3, 1]], dtype=np.float32),
        "cast": sparse.csr_matrix(np.array([[1, 0], [1, 1], [0, 0]], dtype=np.float32)),
        "directors": sparse.csr_matrix(np.array([[0], [0], [0]], dtype=np.float32)),
        "genres": sparse.csr_matrix(np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32)),
    },
    {
        "plot": np.array([True, False, True]),
        "cast": np.array([True, True, False]),
        "directors": np.zeros(3, dtype=np.bool_),
        "genres": np.ones(3, dtype=np.bool_),
    },
    {"plot": 2.0, "cast": 0.5, "directors": 0.5, "genres": 1.0},
)


def test_fields_are_made_of_blocks() -> None:
    assert metadata_fields.fields_of(CONTENT) == {
        "plot": ["plot"],
        "people": ["cast", "directors"],
        "genres": ["genres"],
    }
    has_field = {field: flags.tolist() for field, flags in metadata_fields.presence(CONTENT).items()}
    assert has_field == {"plot": [True, False, True], "people": [True, True, False], "genres": [True, True, True]}


def test_every_block_belongs_to_a_field() -> None:
    from typing import get_args

    from conf.settings import ContentBlock

    blocks = [name for names in metadata_fields.FIELDS.values() for name in names]
    assert sorted(blocks) == sorted(get_args(ContentBlock))


def dense_features(rows: Features) -> Doubles:
    """[rows, width of all blocks]."""
    values = [block.values.toarray() if sparse.issparse(block.values) else block.values for block in rows.blocks]
    means = [np.outer(block.presence, block.mean) for block in rows.blocks]
    return np.hstack(values) - np.hstack(means)


def test_without_a_field_the_others_stay_as_they_were() -> None:
    content = metadata_fields.without_field(CONTENT, "people")
    assert dict(content.weights) == {"plot": 2.0, "genres": 1.0}
    assert content.blocks["plot"] is CONTENT.blocks["plot"]


def test_of_a_field_only_its_presence_is_left() -> None:
    content = metadata_fields.presence_alone(CONTENT, "people")
    assert dict(content.weights) == {"plot": 2.0, "genres": 1.0, "has_people": 1.0}
    assert np.asarray(content.blocks["has_people"]).tolist() == [[1], [1], [0]]
    assert content.present["has_people"].all()
    # The two titles with it have one value, the third another.
    rows = dense_features(features(content.only({"has_people": 1.0})))
    assert rows[:, 0] == pytest.approx([0.7071, 0.7071, -1.4142], abs=1e-4)


def test_a_field_is_left_out_of_some_titles_alone() -> None:
    rows = features(CONTENT)
    whole = dense_features(select(rows, np.array([0, 2])))
    without_fields = dense_features(
        metadata_fields.leave_out(select(rows, np.array([0, 2])), CONTENT, ["plot", "people"])
    )
    assert (without_fields[:, :2] == 0).all()  # the plot, at its mean
    assert (without_fields[:, 2:5] == 0).all()  # cast and directors
    np.testing.assert_array_equal(without_fields[:, 5:], whole[:, 5:])
    assert (whole[:, :2] != 0).all()


def test_fame_does_not_count_as_named_people() -> None:
    blocks = {"cast": np.array([[1.0], [0.0]]), "fame": np.ones((2, 5))}
    present = {"cast": np.array([True, False]), "fame": np.array([True, True])}
    assert metadata_fields.presence(Content(blocks, present))["people"].tolist() == [True, False]
