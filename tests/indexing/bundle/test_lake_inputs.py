"""Inputs of a bundle from the lake: candidates first, names without padding, offers by row, histories by row."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from indexing.bundle import lake_inputs, sample_histories
from indexing.bundle.lake_inputs import LakeInputs
from lake.snapshot import LakeSnapshot


@pytest.fixture(scope="module")
def inputs(small_lake: Path) -> LakeInputs:
    return lake_inputs.read(LakeSnapshot.pin(str(small_lake), lake_inputs.TABLES), {"genres": 1.0})


def test_candidates_come_first_and_are_those_listed(inputs: LakeInputs) -> None:
    # Every 16th of the 320 titles left the guide.
    assert inputs.count_candidates == 300
    assert inputs.catalogue.is_listed.tolist() == [True] * 300 + [False] * 20
    assert inputs.catalogue.title_ids[14:17].tolist() == [1014, 1016, 1017]
    assert inputs.catalogue.title_ids[300:302].tolist() == [1015, 1031]


def test_facts_and_counts_are_in_the_order_of_rows(inputs: LakeInputs) -> None:
    for row in (0, 15, 299, 300):
        number = int(inputs.catalogue.title_ids[row]) - 1000
        facts = inputs.facts.slice(row, 1).to_pylist()[0]
        assert facts["title"] == f"Title {1000 + number}"
        assert facts["object_type"] == ("show" if number % 2 else "movie")
        # Ids 2 + n % 5 and 2 + n % 3, padded with 0; the id of one genre twice is one genre here as well.
        assert facts["genres"] == [f"genre {number % 5}", f"genre {number % 3}"]
        # Id 1, for all unknown themes, has no name.
        assert facts["themes"] == [f"theme {number % 7}"]
        assert facts["cast"] == [f"person {number % 11}"]
        assert facts["directors"] == [f"person {number % 13}"]
        assert inputs.positive_counts[row] == 2000 // (1 + number)


def test_offers_are_those_of_candidates_by_row(inputs: LakeInputs) -> None:
    rows = inputs.offers["row"].to_numpy()
    assert rows.max() < 300
    # Title 1004 is offered in Germany and France, but not in the USA.
    title_offers = inputs.offers.filter(pa.compute.equal(inputs.offers["row"], 4)).to_pylist()
    assert [(offer["country"], offer["provider_id"], offer["monetization_type"]) for offer in title_offers] == [
        ("DE", "gamma", "rent"),
        ("US", "beta", "rent"),
    ]


def test_histories_of_users_name_titles_by_row(small_lake: Path, inputs: LakeInputs) -> None:
    sampled = sample_histories.sample(
        LakeSnapshot(str(small_lake), {"user_histories": 0}), inputs.catalogue.rows, {"DE": 2}, 40, 5, seed=1
    )
    assert len(sampled) == 40
    assert sampled.rows.shape[1] == 5
    assert sampled.countries.tolist() == [2] * 40
    lengths = (sampled.rows > 0).sum(axis=1)
    assert lengths.max() == 5
    for rows, weights, ages, length in zip(sampled.rows, sampled.weights, sampled.ages_days, lengths, strict=True):
        # Entries are a day apart, the newest first; each third weighs less.
        assert ages[:length].tolist() == [0, 1, 2, 3, 4][:length]
        assert np.allclose(weights[:length], [0.4, 1, 1, 0.4, 1][:length])
        assert not rows[length:].any()
    assert (
        sample_histories.sample(
            LakeSnapshot(str(small_lake), {"user_histories": 0}), inputs.catalogue.rows, {}, 40, 5, seed=1
        ).countries.tolist()
        == [1] * 40
    )


def test_made_up_histories_are_the_same_for_a_seed() -> None:
    counts = np.array([1000, 10, 0, 0, 0])
    first, again, other = (sample_histories.made_up(counts, np.array([2, 3]), 64, 4, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.rows, again.rows)
    assert not np.array_equal(first.rows, other.rows)
    assert not first.rows[0].any()
    for rows, ages in zip(first.rows, first.ages_days, strict=True):
        titles = rows[rows > 0]
        assert len(set(titles)) == len(titles)
        assert (np.diff(ages[: len(titles)]) >= 0).all()
    assert set(first.countries[::8]) == {0}
    # The most liked title is in more histories than one without likes.
    assert (first.rows == 1).sum() > (first.rows == 5).sum()
