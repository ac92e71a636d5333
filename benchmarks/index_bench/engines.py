"""ANN indexes behind one small interface, with the parameters that each is tuned by.

An engine is built from a configuration and searched with two knobs, `outer` and `inner`: higher is slower and better.
HNSW is made for distances, so each graph is tried over inner products, and also over vectors that one more coordinate
brings to the same length, where the nearest vector has the largest inner product (Bachrach et al. 2014).
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import faiss
import hnswlib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from usearch.index import Index as UsearchIndex

from benchmarks.index_bench.catalogue import COUNT
from conf.settings import Index
from indexing.ann import scann_index
from indexing.ann.runtime import load_searcher
from indexing.bundle.manifest import IndexParameters
from lake.arrays import Floats

Rows = NDArray[Any]
Config = Mapping[str, Any]
Knobs = tuple[int, int]

_EF = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536)
_PROBES = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0)  # shares of lists or leaves
_REFINED = (1, 2, 4, 8, 16, 32, 64, 128)  # times COUNT titles are scored again exactly
_REORDERED = (10, 20, 30, 45, 70, 100, 150, 220, 350, 500, 750, 1000, 2000)


class Engine(Protocol):
    """An ANN index that can be built, saved, loaded and searched."""

    def configurations(self, count_titles: int, width: int) -> Sequence[Config]:
        """Configurations to try for a catalogue of this size."""

    def build(self, vectors: Floats, config: Config, threads: int) -> Any:
        """Build the index over `vectors` [titles, width]."""

    def save(self, index: Any, path: Path) -> None:
        """Write the index to a file or folder."""

    def load(self, path: Path, config: Config) -> Any:
        """Read an index that `save` wrote."""

    def knobs(self, config: Config) -> tuple[Sequence[int], Sequence[int]]:
        """Values to try for `outer` and for `inner`, ascending."""

    def search(self, index: Any, queries: Floats, knobs: Knobs, threads: int) -> Rows:
        """Rows of the best titles [queries, COUNT], padded with -1."""


def lifted(vectors: Floats) -> Floats:
    """Vectors [titles, width + 1] that all have the same length."""
    squares = np.einsum("nw,nw->n", vectors, vectors)
    return np.hstack([vectors, np.sqrt(np.maximum(squares.max() - squares, 0))[:, None]]).astype(np.float32)


def _graph_configurations(width: int) -> Sequence[Config]:
    return (
        {"space": "ip", "neighbours": 32, "building": 200, "width": width},
        {"space": "l2", "neighbours": 32, "building": 200, "width": width},
        {"space": "l2", "neighbours": 16, "building": 200, "width": width},
    )


def _padded_queries(queries: Floats, config: Config) -> Floats:
    return np.pad(queries, ((0, 0), (0, 1))) if config["space"] == "l2" else queries


def _graph_vectors(vectors: Floats, config: Config) -> Floats:
    return lifted(vectors) if config["space"] == "l2" else vectors


class Exact:
    """Exact search by matrix product, in faiss."""

    def configurations(self, _count_titles: int, _width: int) -> Sequence[Config]:
        return ({},)

    def build(self, vectors: Floats, _config: Config, _threads: int) -> Any:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return index

    def save(self, index: Any, path: Path) -> None:
        faiss.write_index(index, str(path))

    def load(self, path: Path, _config: Config) -> Any:
        return faiss.read_index(str(path))

    def knobs(self, _config: Config) -> tuple[Sequence[int], Sequence[int]]:
        return (0,), (0,)

    def search(self, index: Any, queries: Floats, _knobs: Knobs, threads: int) -> Rows:
        faiss.omp_set_num_threads(threads)
        with threadpool_limits(threads):
            return index.search(queries, COUNT)[1]


class Scann:
    """ScaNN as indexing.build compiles it for a bundle."""

    def __init__(self, options: Index, leading_dims: int) -> None:
        self._options, self._leading_dims = options, leading_dims

    def configurations(self, count_titles: int, _width: int) -> Sequence[Config]:
        return (scann_index.parameters(count_titles, self._options, self._leading_dims).model_dump(),)

    def build(self, vectors: Floats, config: Config, threads: int) -> Any:
        return scann_index.compile_pybind(vectors, IndexParameters(**config), threads)

    def save(self, index: Any, path: Path) -> None:
        path.mkdir(exist_ok=True)
        index.serialize(str(path), relative_path=True)

    def load(self, path: Path, _config: Config) -> Any:
        return load_searcher(path)

    def knobs(self, config: Config) -> tuple[Sequence[int], Sequence[int]]:
        if config["kind"] == "brute_force":
            return (0,), (0,)
        leaves = sorted({max(1, round(share * config["leaves"])) for share in _PROBES}) if config["leaves"] else [0]
        return leaves, _REORDERED

    def search(self, index: Any, queries: Floats, knobs: Knobs, threads: int) -> Rows:
        leaves, reorder = knobs
        search = index.search_batched
        if threads > 1:
            index.set_num_threads(threads)
            search = index.search_batched_parallel
        rows, scores = search(queries, COUNT, reorder or None, leaves or None)
        return np.where(np.isnan(scores), -1, rows.astype(np.int64))


class FaissHnsw:
    """HNSW in faiss."""

    def configurations(self, _count_titles: int, width: int) -> Sequence[Config]:
        return _graph_configurations(width)

    def build(self, vectors: Floats, config: Config, threads: int) -> Any:
        faiss.omp_set_num_threads(threads)
        graph_vectors = _graph_vectors(vectors, config)
        metric = faiss.METRIC_L2 if config["space"] == "l2" else faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexHNSWFlat(graph_vectors.shape[1], config["neighbours"], metric)
        index.hnsw.efConstruction = config["building"]
        index.add(graph_vectors)
        return index, config

    def save(self, index: Any, path: Path) -> None:
        faiss.write_index(index[0], str(path))

    def load(self, path: Path, config: Config) -> Any:
        return faiss.read_index(str(path)), config

    def knobs(self, _config: Config) -> tuple[Sequence[int], Sequence[int]]:
        return (0,), _EF

    def search(self, index: Any, queries: Floats, knobs: Knobs, threads: int) -> Rows:
        graph, config = index
        faiss.omp_set_num_threads(threads)
        graph.hnsw.efSearch = knobs[1]
        return graph.search(_padded_queries(queries, config), COUNT)[1]


class FaissPq:
    """Inverted lists of product-quantised vectors with fast scan; the best are scored again exactly."""

    def configurations(self, count_titles: int, _width: int) -> Sequence[Config]:
        lists = round(2 * math.sqrt(count_titles))
        return ({"lists": lists, "dims": 2, "rotated": False}, {"lists": lists, "dims": 2, "rotated": True})

    def build(self, vectors: Floats, config: Config, threads: int) -> Any:
        faiss.omp_set_num_threads(threads)
        width = vectors.shape[1]
        parts = width // config["dims"]
        rotation = f"OPQ{parts}," if config["rotated"] else ""
        spec = f"{rotation}IVF{config['lists']},PQ{parts}x4fs,RFlat"
        index = faiss.index_factory(width, spec, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:: max(1, len(vectors) // 250_000)])
        index.add(vectors)
        return index

    def save(self, index: Any, path: Path) -> None:
        faiss.write_index(index, str(path))

    def load(self, path: Path, _config: Config) -> Any:
        return faiss.read_index(str(path))

    def knobs(self, config: Config) -> tuple[Sequence[int], Sequence[int]]:
        return sorted({max(1, round(share * config["lists"])) for share in _PROBES}), _REFINED

    def search(self, index: Any, queries: Floats, knobs: Knobs, threads: int) -> Rows:
        faiss.omp_set_num_threads(threads)
        faiss.ParameterSpace().set_index_parameter(index, "nprobe", knobs[0])
        index.k_factor = float(knobs[1])
        return index.search(queries, COUNT)[1]


class Hnswlib:
    """HNSW in hnswlib."""

    def configurations(self, _count_titles: int, width: int) -> Sequence[Config]:
        return _graph_configurations(width)

    def build(self, vectors: Floats, config: Config, threads: int) -> Any:
        graph_vectors = _graph_vectors(vectors, config)
        index = hnswlib.Index(space=config["space"], dim=graph_vectors.shape[1])
        index.init_index(len(graph_vectors), ef_construction=config["building"], M=config["neighbours"], random_seed=1)
        index.add_items(graph_vectors, num_threads=threads)
        return index, config

    def save(self, index: Any, path: Path) -> None:
        index[0].save_index(str(path))

    def load(self, path: Path, config: Config) -> Any:
        index = hnswlib.Index(space=config["space"], dim=config["width"] + (config["space"] == "l2"))
        index.load_index(str(path))
        return index, config

    def knobs(self, _config: Config) -> tuple[Sequence[int], Sequence[int]]:
        return (0,), _EF

    def search(self, index: Any, queries: Floats, knobs: Knobs, threads: int) -> Rows:
        graph, config = index
        graph.set_ef(knobs[1])
        return graph.knn_query(_padded_queries(queries, config), k=COUNT, num_threads=threads)[0].astype(np.int64)


class Usearch:
    """HNSW in usearch."""

    def configurations(self, _count_titles: int, width: int) -> Sequence[Config]:
        return _graph_configurations(width)

    def build(self, vectors: Floats, config: Config, threads: int) -> Any:
        graph_vectors = _graph_vectors(vectors, config)
        index = UsearchIndex(
            ndim=graph_vectors.shape[1],
            metric="l2sq" if config["space"] == "l2" else "ip",
            dtype="f32",
            connectivity=config["neighbours"],
            expansion_add=config["building"],
        )
        index.add(np.arange(len(graph_vectors)), graph_vectors, threads=threads)
        return index, config

    def save(self, index: Any, path: Path) -> None:
        index[0].save(str(path))

    def load(self, path: Path, config: Config) -> Any:
        return UsearchIndex.restore(str(path)), config

    def knobs(self, _config: Config) -> tuple[Sequence[int], Sequence[int]]:
        return (0,), _EF

    def search(self, index: Any, queries: Floats, knobs: Knobs, threads: int) -> Rows:
        graph, config = index
        graph.expansion_search = knobs[1]
        return np.asarray(graph.search(_padded_queries(queries, config), COUNT, threads=threads).keys).astype(np.int64)


def engine(name: str, options: Index, leading_dims: int) -> Engine:
    """The engine of a name in ENGINES."""
    if name == "scann":
        return Scann(options, leading_dims)
    return _OTHER_ENGINES[name]()


def stored_bytes(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(os.path.getsize(file) for file in files)


_OTHER_ENGINES: Mapping[str, Callable[[], Engine]] = {
    "exact": Exact,
    "faiss-hnsw": FaissHnsw,
    "faiss-pq": FaissPq,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
}
ENGINES = ("scann", *_OTHER_ENGINES)
