"""What stands in a bundle's vectors and titles.parquet: embeddings with popularity and freshness, and names."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from conf.settings import Index
from indexing.bundle import coordinates
from indexing.bundle.bundle import BESIDE, TITLES_SCHEMA, turned
from indexing.bundle.coordinates import Balance
from indexing.bundle.lake_inputs import LakeInputs
from indexing.bundle.manifest import Coordinate, Dial, Vectors
from lake.arrays import Floats
from models.blend import standardised
from models.blend.standardised import Standardised

_EPOCH = date(1970, 1, 1)
_BATCH_TITLES = 65_536
_SCALE = {"log": "log of 1 and", "rank": "share of titles with fewer"}


@dataclass(frozen=True)
class Layout:
    """The coordinates beside the embedding, and how far they can be turned."""

    vectors: Vectors
    dial: Dial
    popularity: Standardised
    freshness: Standardised

    def settings_and_ends(self) -> dict[str, float]:
        """Dials that a searcher must be good at: every setting, and as far as it can be turned."""
        return {**self.dial.settings, "minimum": self.dial.minimum, "maximum": self.dial.maximum}

    def queries(self, embeddings: Floats) -> dict[str, Floats]:
        """[users, width] by dial, for the query tower's `embeddings` [users, dim]."""
        return {name: turned(self.vectors, embeddings, dial) for name, dial in self.settings_and_ends().items()}


def lay_out(
    inputs: LakeInputs, embeddings: Floats, queries: Floats, options: Index, dial: Dial | None, as_of: date
) -> Layout:
    """For `embeddings` [titles, dim] and `queries` [users, dim] of people; without a `dial` it is made by rule."""
    candidates = slice(inputs.count_candidates)  # they come first
    popularity = standardised.popularity(inputs.counts, candidates, options.popularity_scale)
    fresh = coordinates.freshness(inputs.catalogue.release_days, (as_of - _EPOCH).days, options.freshness_decay_days)
    freshness = standardised.standardise(fresh, candidates)
    if dial is None:
        spread = coordinates.score_spread(queries, embeddings[candidates])
        dial = coordinates.dial_by_rule(options.dial_settings, options.dial_reach, spread)
    scale = coordinates.dial_scale(dial)

    def coordinate(of: Standardised, value: str) -> Coordinate:
        return Coordinate(value=value, mean=of.mean, std=of.std, scale=scale)

    vectors = Vectors(
        embedding_dim=embeddings.shape[1],
        popularity=coordinate(
            popularity,
            f"{_SCALE[options.popularity_scale]} positives, the mean of titles that have any for those without",
        ),
        freshness=coordinate(freshness, "exp(-days since release / decay)"),
        freshness_decay_days=options.freshness_decay_days,
    )
    return Layout(vectors, dial, popularity, freshness)


def write_vectors(path: Path, embeddings: Floats, balance: Balance, layout: Layout) -> np.memmap:
    """float32 [titles, width] of the model's `embeddings`, written some titles at a time; as it lies on the disk."""
    shape = (len(embeddings), layout.vectors.width)
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    beside = ((layout.popularity, layout.vectors.popularity), (layout.freshness, layout.vectors.freshness))
    for start in range(0, len(embeddings), _BATCH_TITLES):
        batch = slice(start, start + _BATCH_TITLES)
        stored[batch, BESIDE:] = balance.titles(embeddings[batch])
        for n, (values, coordinate) in enumerate(beside):
            stored[batch, n] = values.values[batch] * coordinate.scale
    stored.flush()
    return np.load(path, mmap_mode="r")


def titles(inputs: LakeInputs, layout: Layout) -> pa.Table:
    """TITLES_SCHEMA, in the order of vectors."""
    columns: Mapping[str, object] = {
        "title_id": inputs.catalogue.title_ids,
        **{name: inputs.about[name] for name in inputs.about.column_names},
        "count_positives": inputs.counts,
        "popularity": layout.popularity.values,
        "freshness": layout.freshness.values,
    }
    return pa.table(columns).select(TITLES_SCHEMA.names).cast(TITLES_SCHEMA)
