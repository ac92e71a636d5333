"""The benchmark of building: a larger catalogue out of a bundle, compiled as a bundle's would be."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import index_build
from benchmarks.index_bench.multiplied import index_of, multiplied
from conf.settings import Settings, with_changes
from indexing.ann import scann_index
from indexing.bundle import bundle_files
from indexing.bundle.bundle import Bundle


def test_multiplied_titles_lie_near_those_they_are_made_from(small_bundle: Bundle) -> None:
    vectors, rows = multiplied(small_bundle, 1000, 0.1, seed=1)
    candidate_vectors = small_bundle.vectors[:300]
    assert np.array_equal(vectors[:300], candidate_vectors)
    assert rows[:300].tolist() == list(range(300))
    moved = (vectors[300:] - candidate_vectors[rows[300:]]) / candidate_vectors.std(axis=0)
    assert moved.std() == pytest.approx(0.1, rel=0.05)
    assert np.array_equal(multiplied(small_bundle, 1000, 0.1, seed=1)[0], vectors)


def test_multiplied_catalogue_is_compiled_as_a_bundle_of_its_size(
    small_bundle: Bundle, small_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scann_index, "BRUTE_FORCE_BELOW_TITLES", 400)
    settings = with_changes(small_settings, {"index.tree_from_titles": 500})
    vectors, _ = multiplied(small_bundle, 600, 0.5, seed=1)
    queries = np.random.default_rng(0).normal(size=(64, 12)).astype("f")
    index = index_of(vectors, queries, settings)
    # Twice the square root of 600.
    assert (index.kind, index.leaves) == ("tree", 49)
    compiled = index_build.compile_multiplied(small_bundle, vectors, queries, settings, tmp_path)
    assert min(recall.at_10 for recall in compiled.forms.pybind.recall.values()) >= 0.98
    assert {path.name for path in tmp_path.iterdir()} == {
        bundle_files.QUERY_TOWER,
        bundle_files.SCANN,
        bundle_files.RETRIEVAL,
    }
