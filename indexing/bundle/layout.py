"""Layout of a bundle's vectors and titles: popularity, freshness, the dial and the balance of embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from conf.settings import Index
from indexing.bundle import bundle_files, coordinates
from indexing.bundle.coordinates import Balance
from indexing.bundle.lake_inputs import LakeInputs
from indexing.bundle.manifest import EMBEDDING_START, Coordinate, Dial, Vectors
from lake.arrays import Floats
from models.blend import standardised
from models.blend.standardised import Standardised

_EPOCH = date(1970, 1, 1)
_BATCH_TITLES = 65_536
_SCALE = {"log": "log of 1 and", "rank": "share of titles with fewer"}


@dataclass(frozen=True)
class Layout:
    """Coordinates of every title beside its embedding, and how embeddings are balanced."""

    vectors: Vectors
    dial: Dial
    popularity: Standardised  # [titles]
    freshness: Standardised  # [titles]
    balance: Balance

    def write_vectors(self, folder: Path, embeddings: Floats) -> None:
        """Write vectors.npy and balance.npz for the model's `embeddings` [titles, dim], in batches of titles."""
        shape = (len(embeddings), self.vectors.vector_dim)
        path = folder / bundle_files.VECTORS
        stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        for start in range(0, len(embeddings), _BATCH_TITLES):
            batch = slice(start, start + _BATCH_TITLES)
            stored[batch, 0] = self.popularity.values[batch] * self.vectors.popularity.scale
            stored[batch, 1] = self.freshness.values[batch] * self.vectors.freshness.scale
            stored[batch, EMBEDDING_START:] = self.balance.titles(embeddings[batch])
        stored.flush()
        np.savez(folder / bundle_files.BALANCE, order=self.balance.order, factors=self.balance.factors)

    def write_titles(self, folder: Path, inputs: LakeInputs) -> None:
        """Write titles.parquet, in the order of vectors."""
        columns: Mapping[str, object] = {
            "title_id": inputs.catalogue.title_ids,
            **{name: inputs.facts[name] for name in inputs.facts.column_names},
            "count_positives": inputs.positive_counts,
            "popularity": self.popularity.values,
            "freshness": self.freshness.values,
        }
        schema = bundle_files.TITLES_SCHEMA
        pq.write_table(pa.table(columns).select(schema.names).cast(schema), folder / bundle_files.TITLES)


def lay_out(
    inputs: LakeInputs, embeddings: Floats, queries: Floats, options: Index, dial: Dial | None, as_of: date
) -> Layout:
    """The layout for the model's `embeddings` [titles, dim] and sampled `queries` [users, dim].

    Without a `dial` one is made by rule, from `options`.
    """
    candidates = slice(inputs.count_candidates)  # the first rows
    release_days = inputs.catalogue.release_days
    decayed = coordinates.freshness(release_days, (as_of - _EPOCH).days, options.freshness_decay_days)
    freshness = standardised.standardise(decayed, candidates)
    popularity = standardised.popularity(inputs.positive_counts, candidates, options.popularity_scale)
    if dial is None:
        spread = coordinates.score_spread(queries, embeddings[candidates])
        dial = coordinates.dial_by_rule(options.dial_settings, options.dial_reach, spread)
    scale = coordinates.dial_scale(dial)

    def coordinate(values: Standardised, description: str) -> Coordinate:
        return Coordinate(value=description, mean=values.mean, std=values.std, scale=scale)

    vectors = Vectors(
        embedding_dim=embeddings.shape[1],
        popularity=coordinate(
            popularity,
            f"{_SCALE[options.popularity_scale]} positives, the mean of titles that have any for those without",
        ),
        freshness=coordinate(freshness, "exp(-days since release / decay)"),
        freshness_decay_days=options.freshness_decay_days,
    )
    return Layout(vectors, dial, popularity, freshness, coordinates.balance(embeddings[candidates], queries))
