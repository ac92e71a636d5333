"""Features by hand and against dense arithmetic; kernel ridge against the textbook's formula."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from models.data.content import Content
from models.linear import content_kernel
from models.linear.content_kernel import (
    additive_kernel,
    combine,
    features,
    fit_kernel_ridge,
    gaussian_kernel,
    inner_products,
    noise_of_counts,
    select,
    squared_lengths,
)

COUNT = 25


def _blocks(generator: np.random.Generator) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.bool_]]]:
    present = {name: generator.random(COUNT) < share for name, share in (("a", 0.7), ("b", 0.9), ("c", 1.0))}
    blocks = {
        "a": generator.normal(100, 1, size=(COUNT, 3)),  # its mean is far greater than its differences
        "b": (generator.random((COUNT, 30)) < 0.1).astype(float),
        "c": generator.normal(size=(COUNT, 1)),
    }
    return {name: np.where(present[name][:, None], block, 0) for name, block in blocks.items()}, present


def _dense_features(
    blocks: dict[str, NDArray[np.float64]], present: dict[str, NDArray[np.bool_]]
) -> NDArray[np.float64]:
    rows = []
    for name, block in blocks.items():
        has = present[name]
        centred = np.where(has[:, None], block - block[has].mean(axis=0), 0)
        rows.append(centred / np.sqrt((centred[has] ** 2).sum(axis=1).mean()) / np.sqrt(len(blocks)))
    return np.hstack(rows)


def _content(generator: np.random.Generator) -> tuple[Content, NDArray[np.float64]]:
    """Block b sparse, the others dense; and the features as one dense array."""
    blocks, present = _blocks(generator)
    mixed = {name: sparse.csr_matrix(block) if name == "b" else block for name, block in blocks.items()}
    return Content(mixed, present), _dense_features(blocks, present)


def test_features_by_hand() -> None:
    content = Content(
        {"year": np.array([[1990.0], [2000.0], [0.0], [2010.0]], dtype=np.float32)},
        {"year": np.array([True, True, False, True])},
    )
    # mean 2000; differences -10, 0, 10, whose root mean square is 10 · sqrt(2 / 3)
    expected = np.array([-1, 0, 0, 1]) * np.sqrt(1.5)
    np.testing.assert_allclose(
        inner_products(features(content), features(content)), np.outer(expected, expected), atol=1e-12
    )


@pytest.mark.parametrize("batch_rows", [1, 7, 1024])
def test_features_are_those_of_dense_arithmetic(batch_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_kernel, "_BATCH_ROWS", batch_rows)
    generator = np.random.default_rng(6)
    content, dense = _content(generator)
    rows = features(content)
    weights = sparse.csr_matrix(generator.normal(size=(4, COUNT)) * (generator.random((4, COUNT)) < 0.3))
    some = np.array([3, 20, 4])
    np.testing.assert_allclose(inner_products(rows, rows), dense @ dense.T, atol=1e-10)
    np.testing.assert_allclose(squared_lengths(rows), (dense**2).sum(axis=1), atol=1e-10)
    np.testing.assert_allclose(inner_products(combine(weights, rows), rows), weights @ dense @ dense.T, atol=1e-10)
    np.testing.assert_allclose(
        squared_lengths(combine(weights, rows)), ((weights @ dense) ** 2).sum(axis=1), atol=1e-10
    )
    distances = ((dense[some, None] - dense) ** 2).sum(axis=2)
    np.testing.assert_allclose(gaussian_kernel(select(rows, some), rows, 1.5), np.exp(-distances / 4.5), atol=1e-10)


@pytest.mark.parametrize("batch_rows", [2, 1024])
def test_additive_kernel_has_a_share_of_each_block_alone(batch_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_kernel, "_BATCH_ROWS", batch_rows)
    content, _ = _content(np.random.default_rng(6))
    names = list(content.blocks)
    weights = {name: float(n + 1) for n, name in enumerate(names)}
    flat = {"flat": np.ones((COUNT, 2), np.float32)}  # equal for all titles
    whole = Content({**content.blocks, **flat}, {**content.present, "flat": np.ones(COUNT, bool)}, weights)
    rows, some = features(whole), np.array([3, 20, 4])
    total = sum(weights.values()) + 1
    alone = [
        weight / total * gaussian_kernel(select(block_rows, some), block_rows, 1.5)
        for weight, block_rows in ((weight, features(content.only({name: 1.0}))) for name, weight in weights.items())
    ]
    expected = 0.7 * gaussian_kernel(select(rows, some), rows, 1.5) + 0.3 * np.sum(alone, axis=0)
    np.testing.assert_allclose(additive_kernel(select(rows, some), rows, 1.5, 0.3), expected, atol=1e-10)
    np.testing.assert_array_equal(additive_kernel(rows, rows, 1.5, 0.0), gaussian_kernel(rows, rows, 1.5))


def test_every_block_counts_alike_and_rows_have_mean_square_length_one() -> None:
    blocks, present = _blocks(np.random.default_rng(7))
    present = {name: np.ones(COUNT, dtype=bool) for name in present}
    assert squared_lengths(features(Content(blocks, present))).mean() == pytest.approx(1)
    for name in blocks:
        rows = features(Content({name: blocks[name]}, {name: present[name]}))
        assert squared_lengths(rows).mean() == pytest.approx(1)


def test_a_constant_block_is_zeros() -> None:
    values = np.full((4, 2), 0.1, dtype=np.float32)
    for block in (values, sparse.csr_matrix(values)):
        rows = features(Content({"a": block}, {"a": np.ones(4, dtype=bool)}))
        assert not inner_products(rows, rows).any()


def test_a_block_that_no_title_has_is_zeros() -> None:
    rows = features(Content({"a": np.zeros((4, 2), dtype=np.float32)}, {"a": np.zeros(4, dtype=bool)}))
    assert not inner_products(rows, rows).any()


def test_kernel_ridge_is_the_mean_of_a_gaussian_process() -> None:
    generator = np.random.default_rng(8)
    content, dense = _content(generator)
    known, unknown = np.arange(15), np.arange(15, COUNT)
    targets, noise = generator.normal(5, 1, size=(15, 2)), generator.uniform(0.1, 1, 15)
    rows = features(content)
    ridge = fit_kernel_ridge(select(rows, known), targets, noise, 1.2)
    kernel = np.array([[np.exp(-((a - b) ** 2).sum() / 2 / 1.44) for b in dense] for a in dense])
    inverse = np.linalg.inv(kernel[:15, :15] + np.diag(noise))
    mean = targets.mean(axis=0)
    for row, title in enumerate(unknown):
        expected = mean + kernel[title, :15] @ inverse @ (targets - mean)
        np.testing.assert_allclose(ridge.predict(select(rows, unknown))[row], expected, atol=1e-10)


def test_titles_unlike_all_known_ones_are_predicted_the_mean() -> None:
    numbers = np.array([[0.0], [1.0], [1e6]])
    rows = features(Content({"a": numbers}, {"a": np.ones(3, dtype=bool)}))
    ridge = fit_kernel_ridge(select(rows, np.array([0, 1])), np.array([[2.0], [4.0]]), np.full(2, 0.1), 0.01)
    assert ridge.predict(select(rows, np.array([2])))[0, 0] == pytest.approx(3)


def test_noise_is_that_of_the_mean_count() -> None:
    # mean count 4: (1 / 4)^-0.5 = 2, (4 / 4)^-0.5 = 1, (7 / 4)^-0.5 = 0.7559
    np.testing.assert_allclose(noise_of_counts(np.array([1, 4, 7]), 0.3, 0.5), [0.6, 0.3, 0.226779], atol=1e-6)
    np.testing.assert_allclose(noise_of_counts(np.array([1, 4, 7]), 0.3, 0), [0.3, 0.3, 0.3])


def test_blocks_count_by_their_weights() -> None:
    blocks, present = _blocks(np.random.default_rng(3))
    full = {name: np.ones(COUNT, dtype=np.bool_) for name in present}
    whole = Content(blocks, full, {"a": 3.0, "b": 1.0})
    lengths = {name: squared_lengths(features(whole.only({name: 1.0}))).mean() for name in blocks}
    assert lengths == pytest.approx(dict.fromkeys(blocks, 1.0))
    # Weights 3, 1 and, where none is named, 1 share out the mean squared length of 1.
    alone = inner_products(features(whole.only({"a": 1.0})), features(whole.only({"a": 1.0})))
    others = [inner_products(features(whole.only({n: 1.0})), features(whole.only({n: 1.0}))) for n in ("b", "c")]
    np.testing.assert_allclose(
        inner_products(features(whole), features(whole)), 0.6 * alone + 0.2 * others[0] + 0.2 * others[1], atol=1e-10
    )
