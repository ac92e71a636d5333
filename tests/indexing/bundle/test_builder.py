"""A bundle end to end: its content is exact; a build below its limits is refused and leaves nothing."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

from indexing.ann import compilation, runtime
from indexing.bundle import builder
from indexing.bundle.builder import BundleSpec
from indexing.bundle.bundle import Bundle
from indexing.bundle.parity import ParityCases
from indexing.errors import BundleError
from indexing.query_tower import query_export
from lake.snapshot import LakeSnapshot
from models.data.catalogue import Catalogue, read_catalogue
from models.data.padded_histories import PaddedHistories


def catalogue_of(root: Path, bundle: Bundle) -> Catalogue:
    """The catalogue of a bundle, in its order, as the model read it."""
    read = read_catalogue(LakeSnapshot(str(root), bundle.manifest.delta_versions), {"genres": 1.0})
    return read.take(read.rows(bundle.title_ids))


def test_manifest_names_the_sources_of_a_bundle(small_bundle: Bundle) -> None:
    manifest = small_bundle.manifest
    assert (manifest.counts.titles, manifest.counts.candidates, manifest.counts.golden_users) == (320, 300, 64)
    assert (manifest.model.version, manifest.model.run_id) == (7, "run7")
    assert manifest.model.delta_versions == {"training_examples": 3}
    assert manifest.delta_versions == dict.fromkeys(
        ("title_features", "vocabularies", "stg_titles", "stg_offers", "user_histories"), 0
    )
    assert manifest.as_of == date(2024, 5, 14)
    assert manifest.index.kind == "brute_force"
    assert manifest.forms.queries_source == "histories of users, drawn from user_histories version 0"
    assert manifest.settings["freshness_decay_days"] == 180
    assert len(manifest.git_commit.removesuffix("-dirty")) in (40, len("unknown"))


def test_countries_unseen_in_training_have_no_id(small_bundle: Bundle) -> None:
    assert small_bundle.countries == {"DE": 2, "US": 4}


def test_vector_is_popularity_then_freshness_then_embedding(
    small_bundle: Bundle, small_model: Any, small_lake: Path
) -> None:
    layout, titles = small_bundle.manifest.vectors, small_bundle.titles
    learnt = small_model.title_vectors(catalogue_of(small_lake, small_bundle))
    with np.load(small_bundle.folder / "balance.npz") as balance:
        assert np.array_equal(small_bundle.vectors[:, 2:], learnt[:, balance["order"]] * balance["factors"])
    assert np.array_equal(small_bundle.embeddings, small_bundle.vectors[:, 2:])
    counts = titles["count_positives"].to_numpy()
    logs = np.log1p(counts[:300])
    expected = (np.log1p(counts) - logs.mean()) / logs.std()
    assert np.allclose(small_bundle.vectors[:, 0], expected * layout.popularity.scale, atol=1e-5)
    assert np.allclose(titles["popularity"].to_numpy(), expected, atol=1e-5)
    days = [(date(2024, 5, 14) - released).days for released in titles["release_date"].to_pylist()]
    fresh = np.exp(-np.maximum(days, 0) / 180)
    expected = (fresh - fresh[:300].mean()) / fresh[:300].std()
    assert np.allclose(small_bundle.vectors[:, 1], expected * layout.freshness.scale, atol=1e-4)


def test_popularity_may_be_a_rank(small_model: Any, make_spec: Callable[..., BundleSpec], tmp_path: Path) -> None:
    ranked = builder.build(small_model, make_spec(popularity_scale="rank"), tmp_path, "20240514T000000Z-m7")
    ranks = rankdata(ranked.titles["count_positives"].to_numpy()[:300])
    expected = (ranks - ranks.mean()) / ranks.std()
    np.testing.assert_allclose(ranked.titles["popularity"].to_numpy()[:300], expected, atol=1e-5)
    assert ranked.manifest.vectors.popularity.value.startswith("share of titles with fewer positives,")


def test_dial_is_searched_exactly(small_bundle: Bundle, small_model: Any, small_lake: Path) -> None:
    catalogue = catalogue_of(small_lake, small_bundle)
    history = (np.array([[5, 9, 0]]), np.array([[1, 1, 0]], "f"), np.array([[0, 3, 0]], "f"), np.array([2]))
    learnt = small_model.query_tower(catalogue)(*history).numpy()
    queries = small_bundle.query_tower(*history).numpy()
    popularity = small_bundle.titles["popularity"].to_numpy()[:300]
    plain = learnt[0] @ small_model.title_vectors(catalogue)[:300].T
    for dial in (small_bundle.manifest.dial.settings["gems"], 0.0, small_bundle.manifest.dial.maximum):
        expected = plain + dial * popularity
        rows, scores = small_bundle.search(small_bundle.queries(queries, dial), 20)
        assert rows[0].tolist() == np.argsort(-expected)[:20].tolist()
        assert np.allclose(scores[0], np.sort(expected)[::-1][:20], atol=1e-4)


def test_popular_titles_come_up_as_the_dial_is_turned(small_bundle: Bundle) -> None:
    empty = np.zeros((1, 12), "f")
    most, least = (
        small_bundle.search(small_bundle.queries(empty, dial), 5)[0][0].tolist()
        for dial in (small_bundle.manifest.dial.maximum, small_bundle.manifest.dial.minimum)
    )
    counts = small_bundle.titles["count_positives"].to_numpy()[:300]
    assert most == [0, 1, 2, 3, 4]
    assert max(counts[least]) == counts.min()


def test_golden_users_get_the_answers_of_training(small_bundle: Bundle, small_model: Any, small_lake: Path) -> None:
    catalogue, cases = catalogue_of(small_lake, small_bundle), ParityCases.load(small_bundle.folder)
    vectors, tower = small_model.title_vectors(catalogue), small_model.query_tower(catalogue)
    popularity = small_bundle.titles["popularity"].to_numpy()
    golden_histories = cases.histories
    for user in range(len(golden_histories)):
        part = [
            values[user : user + 1]
            for values in (
                golden_histories.rows,
                golden_histories.weights,
                golden_histories.ages_days,
                golden_histories.countries,
            )
        ]
        scores = vectors @ tower(*part).numpy()[0] + small_bundle.manifest.dial.settings["discover"] * popularity
        seen = set(golden_histories.rows[user] - 1)
        best = [row for row in np.argsort(-scores).tolist() if row < 300 and row not in seen][:20]
        assert cases.rows["discover"][user].tolist() == best
    assert small_bundle.manifest.parity.min_top_20_overlap == 1
    assert small_bundle.manifest.parity.max_score_difference < 1e-5


def test_golden_users_are_stored_as_numbers_alone(small_bundle: Bundle) -> None:
    with np.load(small_bundle.folder / "golden.npz") as stored:
        kinds = {name: stored[name].dtype.kind for name in stored}
    assert set(kinds.values()) <= {"i", "f"}


def test_hashed_tree_reaches_the_recall_required_at_every_dial(other_bundle: Bundle) -> None:
    manifest = other_bundle.manifest
    assert (manifest.index.kind, manifest.index.leaves, manifest.index.soar_lambda) == ("tree", 17, 1.5)
    for form in (manifest.forms.pybind, manifest.forms.tensorflow):
        assert set(form.recall) == {"popular", "balanced", "discover", "gems", "minimum", "maximum"}
        assert min(recall.at_10 for recall in form.recall.values()) >= 0.98
        assert min(recall.at_100 for recall in form.recall.values()) >= 0.95
        assert 1 <= form.leaves_to_search <= 17
    assert manifest.forms.min_overlap >= 0.98


def test_export_whose_answers_differ_from_training_is_refused(
    tmp_path: Path,
    small_model: Any,
    small_lake: Path,
    small_bundle: Bundle,
    make_spec: Callable[..., BundleSpec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = type(small_model)(seed=9).query_tower(catalogue_of(small_lake, small_bundle))
    monkeypatch.setattr(query_export, "save_module", lambda _, folder: runtime.save_module(other, folder))
    with pytest.raises(BundleError, match=r"parity: golden users' scores differ .* expected at most 0.001"):
        builder.build(small_model, make_spec(), tmp_path, "v1")
    assert list(tmp_path.iterdir()) == []


def test_serving_form_whose_answers_differ_from_training_is_refused(
    tmp_path: Path, small_model: Any, make_spec: Callable[..., BundleSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(histories: PaddedHistories) -> np.ndarray:
        return np.ones((len(histories), small_model.dim), dtype=np.float32)

    monkeypatch.setattr(compilation, "NumpyTower", SimpleNamespace(load=lambda _: wrong))
    with pytest.raises(BundleError, match=r"parity: golden users' scores differ .* expected at most 0.001"):
        builder.build(small_model, make_spec(), tmp_path, "v1")
    assert list(tmp_path.iterdir()) == []


def test_vectors_that_are_no_numbers_are_refused(
    tmp_path: Path, small_model: Any, make_spec: Callable[..., BundleSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.full((320, 12), np.nan, dtype="f")
    monkeypatch.setattr(type(small_model), "title_vectors", lambda *_: vectors)
    with pytest.raises(BundleError, match="model version 7 gave vectors that are not finite numbers"):
        builder.build(small_model, make_spec(), tmp_path, "v1")
    assert list(tmp_path.iterdir()) == []


def test_version_is_never_written_twice(
    small_bundle: Bundle, small_model: Any, make_spec: Callable[..., BundleSpec]
) -> None:
    with pytest.raises(BundleError, match="there is a bundle of this version already"):
        builder.build(small_model, make_spec(), small_bundle.folder.parent, small_bundle.version)
