"""An opened bundle: its tables, vectors, query tower and searcher. indexing/bundle/bundle_files.py lists its files."""

import importlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from indexing.ann import pybind_search
from indexing.bundle import bundle_files, checksums, coordinates
from indexing.bundle.manifest import EMBEDDING_START, Manifest
from indexing.query_tower import legacy_query_tower
from indexing.query_tower.numpy_tower import NumpyTower
from lake.arrays import Floats, Ids
from models.data.padded_histories import PaddedHistories


class Bundle:
    """An opened bundle. Loading a SavedModel runs code, so open with `verify` whatever others could have changed."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: Path | str, verify: bool = True) -> "Bundle":
        """Read the manifest, and check every file against it unless `verify` is off.

        Raises BundleError for an unknown schema, a missing or unlisted file, or a wrong checksum.
        """
        folder = Path(folder)
        return cls(folder, checksums.verify(folder) if verify else checksums.read_manifest(folder))

    @property
    def version(self) -> str:
        return self.manifest.bundle_version

    @property
    def count_candidates(self) -> int:
        return self.manifest.counts.candidates

    @cached_property
    def titles(self) -> pa.Table:
        """TITLES_SCHEMA, one row per title in the order of vectors."""
        return pq.read_table(self.folder / bundle_files.TITLES)

    @cached_property
    def title_ids(self) -> Ids:
        """[titles]"""
        return self.titles["title_id"].to_numpy()

    @cached_property
    def _order(self) -> Ids:
        return np.argsort(self.title_ids, kind="stable")

    @cached_property
    def _sorted_ids(self) -> Ids:
        return self.title_ids[self._order]

    def rows(self, title_ids: Ids) -> Ids:
        """Rows of titles; -1 for titles that the bundle lacks."""
        slots = np.minimum(np.searchsorted(self._sorted_ids, title_ids), len(self._sorted_ids) - 1)
        return np.where(self._sorted_ids[slots] == title_ids, self._order[slots], -1)

    @cached_property
    def vectors(self) -> np.memmap[Any, np.dtype[np.float32]]:
        """float32 [titles, vector_dim]; the candidates are the first `count_candidates` rows."""
        return np.load(self.folder / bundle_files.VECTORS, mmap_mode="r")

    @property
    def embeddings(self) -> Floats:
        """float32 [titles, dim]: `vectors` without popularity and freshness, comparable with the query tower's."""
        return self.vectors[:, EMBEDDING_START:]

    @cached_property
    def offers(self) -> pa.Table:
        """OFFERS_SCHEMA, ordered by row; texts are dictionary-encoded."""
        texts = ["country", "provider_id", "monetization_type"]
        return pq.read_table(self.folder / bundle_files.OFFERS, read_dictionary=texts)

    @cached_property
    def countries(self) -> Mapping[str, int]:
        """ISO 3166-1 code to the query tower's id; 0 is an unknown country, 1 one that training did not see."""
        return json.loads((self.folder / bundle_files.COUNTRIES).read_text(encoding="utf-8"))

    @cached_property
    def searcher(self) -> Any:
        """The `scann_ops_pybind` searcher over the candidates; `search` calls it as it was tuned."""
        return _runtime().load_searcher(self.folder / bundle_files.SCANN)

    @cached_property
    def query_tower(self) -> Any:
        """Callable: history_rows int64, weights float32, ages_days float32 [batch, length], country int64 [batch].

        Returns float32 [batch, dim].
        """
        return _runtime().load_saved_model(self.folder / bundle_files.QUERY_TOWER)

    @cached_property
    def numpy_tower(self) -> NumpyTower | None:
        """The query tower in NumPy, which serving uses; None for a model of another form."""
        tower = NumpyTower.load(self.folder)
        return legacy_query_tower.numpy_tower(self.query_tower) if tower is None else tower

    @cached_property
    def retrieval(self) -> Any:
        """Callable: features to title ids and scores; see indexing/query_tower/query_export.py."""
        return _runtime().load_saved_model(self.folder / bundle_files.RETRIEVAL)

    def embed(self, histories: PaddedHistories) -> Floats:
        """[batch, dim]: embeddings of histories whose titles are rows of the bundle + 1."""
        if self.numpy_tower is not None:
            return self.numpy_tower(histories)
        # By its signature: a plain call has TensorFlow look up the matching function each time, which takes as long.
        tensor = _runtime().tf.constant
        outputs = self.query_tower.signatures["serving_default"](
            history_rows=tensor(histories.rows),
            history_weights=tensor(histories.weights),
            history_ages_days=tensor(histories.ages_days),
            country=tensor(histories.countries),
        )
        [queries] = outputs.values()
        return queries.numpy()

    def queries(self, embeddings: Floats, dial: float, freshness: float = 0.0) -> Floats:
        """[batch, vector_dim]: the query tower's `embeddings` [batch, dim] with weights of popularity and freshness.

        The inner product with a title's vector is embedding · query + dial · popularity + freshness · freshness.
        """
        return coordinates.query_vectors(self.manifest.vectors, embeddings, dial, freshness)

    def search(self, queries: Floats, count: int) -> tuple[Ids, Floats]:
        """Rows and scores [batch, count] of the best candidates for `queries` [batch, vector_dim], best first.

        Where the searcher finds fewer, rows end in NO_TITLE with scores of minus infinity.
        """
        form = self.manifest.forms.pybind
        return pybind_search.search(self.searcher, queries, count, form.reorder, form.leaves_to_search)


def _runtime() -> ModuleType:
    """Imported late: readers of vectors or the manifest need no TensorFlow."""
    return importlib.import_module("indexing.ann.runtime")
