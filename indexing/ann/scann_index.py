"""ScaNN over the candidates, in both of its forms: parameters by the size of the catalogue, and compilation.

Source of the parameters: Guo et al. 2020, Accelerating large-scale inference with anisotropic vector quantization; Sun
et al. 2023, SOAR: improved indexing for approximate nearest neighbor search; and ScaNN's docs/algorithms.md for the
sizes. ScaNN trains without a seed, so no two compiled searchers are the same: recall is the gate.
"""

from typing import Any

from numpy.typing import NDArray

from conf.settings import Index
from indexing.ann.pybind_search import TUNED_COUNT
from indexing.ann.runtime import scann_ops, scann_ops_pybind, tf
from indexing.ann.tuning import Search
from indexing.bundle.manifest import IndexParameters
from lake.arrays import Floats

# Fewer titles are searched by brute force: the rule of ScaNN's docs/algorithms.md.
BRUTE_FORCE_BELOW_TITLES = 20_000
# Hashing and SOAR as ScaNN's docs/algorithms.md and the papers advise.
DIMS_PER_BLOCK = 2
ANISOTROPIC_THRESHOLD = 0.2
SOAR_LAMBDA = 1.5
LEADING_SHARE = 0.995  # share of the scores' variance that the tree and hashing use; the rest would only cost time
_DEFAULT_REORDER = 100  # every search overrides it


def parameters(count_candidates: int, options: Index, leading_dims: int) -> IndexParameters:
    """Parameters by the size of the catalogue: brute force, then hashing, then hashing under a tree.

    Only with a tree can the index be limited to the first `leading_dims` dimensions; ScaNN's hashing alone takes all.
    """
    if count_candidates < BRUTE_FORCE_BELOW_TITLES:
        return IndexParameters(
            kind="brute_force",
            leaves=0,
            leading_dims=0,
            dims_per_block=0,
            anisotropic_threshold=None,
            soar_lambda=None,
        )
    has_tree = count_candidates >= options.tree_from_titles
    return IndexParameters(
        kind="tree" if has_tree else "hashed",
        leaves=round(options.leaves_per_root * count_candidates**0.5) if has_tree else 0,
        leading_dims=leading_dims if has_tree else 0,
        dims_per_block=DIMS_PER_BLOCK,
        anisotropic_threshold=ANISOTROPIC_THRESHOLD,
        soar_lambda=SOAR_LAMBDA if has_tree else None,
    )


def compile_pybind(vectors: Floats, index: IndexParameters, threads: int) -> Any:
    """The `scann_ops_pybind` searcher over `vectors` [candidates, vector_dim], with SOAR where there is a tree."""
    builder = scann_ops_pybind.builder(vectors, _default_count(vectors), "dot_product")
    return _configure(builder, index, index.soar_lambda).set_n_training_threads(threads).build()


def compile_tensorflow(vectors: Floats, index: IndexParameters, threads: int) -> Any:
    """The searcher of TensorFlow's ops, which do not support SOAR."""
    builder = scann_ops.builder(vectors, _default_count(vectors), "dot_product")
    return _configure(builder, index, None).set_n_training_threads(threads).build()


def _default_count(vectors: Floats) -> int:
    return min(TUNED_COUNT, len(vectors))


def _configure(builder: Any, index: IndexParameters, soar_lambda: float | None) -> Any:
    if index.kind == "brute_force":
        return builder.score_brute_force()
    if index.kind == "tree":
        spilling = {} if soar_lambda is None else {"soar_lambda": soar_lambda, "overretrieve_factor": 2.0}
        searched = max(1, index.leaves // 20)  # default; every search overrides it
        builder = builder.tree(index.leaves, searched, training_sample_size=250_000, **spilling)
        if 0 < index.leading_dims < builder.db.shape[1]:
            builder = builder.truncate(index.leading_dims)
    hashed = builder.score_ah(index.dims_per_block, anisotropic_quantization_threshold=index.anisotropic_threshold)
    return hashed.reorder(_DEFAULT_REORDER)


def search_pybind(searcher: Any) -> Search:
    def search(queries: Floats, count: int, reorder: int, leaves: int) -> tuple[NDArray[Any], Floats]:
        return searcher.search_batched(queries, count, reorder or None, leaves or None)

    return search


def search_tensorflow(searcher: Any) -> Search:
    def search(queries: Floats, count: int, reorder: int, leaves: int) -> tuple[NDArray[Any], Floats]:
        rows, scores = searcher.search_batched(tf.constant(queries), count, reorder or -1, leaves or -1)
        return rows.numpy(), scores.numpy()

    return search
