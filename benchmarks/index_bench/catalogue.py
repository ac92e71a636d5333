"""The catalogue that indexes are compared on: vectors of titles, queries at several settings of the dial, exact scores.

Titles are those of a bundle, multiplied: each copy of a vector is moved a little. Queries come from the bundle's query
tower and from users' histories, where the lake has them, else from generated ones. Half of the queries tune an index,
the other half measure it.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.index_bench.multiplied import multiplied
from conf.settings import Settings
from indexing.bundle import sample_histories
from indexing.bundle.bundle import Bundle
from indexing.query_tower import query_export
from jobs.errors import JobError
from lake.arrays import Floats
from lake.errors import LakeError
from lake.snapshot import LakeSnapshot
from models.data.padded_histories import PaddedHistories

COUNT = 10  # length of the lists whose recall is measured
NOISE = 0.25  # added to copies of a vector, in standard deviations of each dimension
_BATCH = 128
_TITLES = 65_536


@dataclass(frozen=True)
class BenchmarkCatalogue:
    """A catalogue in a folder, written once and read by every measuring process."""

    folder: Path

    @cached_property
    def vectors(self) -> Floats:
        """Vectors of the titles [titles, vector_dim]."""
        return np.load(self.folder / "vectors.npy")

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Row of the bundle's title that each title was made from [titles]."""
        return np.load(self.folder / "rows.npy")

    @cached_property
    def about(self) -> dict[str, Any]:
        return json.loads((self.folder / "about.json").read_text(encoding="utf-8"))

    def queries(self, use: str) -> dict[str, Floats]:
        """Queries [queries, vector_dim] by setting of the dial, for `use` "tuning" or "measuring"."""
        with np.load(self.folder / "queries.npz") as stored:
            return {name.split(".")[1]: stored[name] for name in stored if name.startswith(f"{use}.")}

    def least_scores(self, use: str) -> dict[str, Floats]:
        """Score of the last title of each exact list of COUNT [queries], by setting of the dial."""
        with np.load(self.folder / "exact.npz") as stored:
            return {name.split(".")[1]: stored[name] for name in stored if name.startswith(f"{use}.")}


def prepare(
    folder: Path, source: Bundle, settings: Settings, count_titles: int, count_queries: int
) -> BenchmarkCatalogue:
    """Make the catalogue of `count_titles` in a folder, unless it exists; with queries for each dial and use.

    Raises JobError where the folder holds a catalogue made from another bundle, whose vectors are different.
    """
    made = BenchmarkCatalogue(folder)
    if (folder / "about.json").exists():
        if (bundle_version := made.about["bundle"]) != source.version:
            raise JobError(f"{folder} was made of bundle {bundle_version}, not {source.version}; give another --work")
        return made
    folder.mkdir(parents=True, exist_ok=True)
    vectors, rows = multiplied(source, count_titles, NOISE, settings.seed)
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "rows.npy", rows)
    histories, origin = query_histories(source, settings, 2 * count_queries)
    embeddings = query_export.embed(source.query_tower, histories)
    dials = source.manifest.dial.settings
    queries = {
        f"{use}.{name}": source.queries(embeddings[start::2], dial)
        for start, use in enumerate(("tuning", "measuring"))
        for name, dial in dials.items()
    }
    np.savez(folder / "queries.npz", **queries)  # type: ignore[arg-type]
    np.savez(folder / "exact.npz", **{name: least_scores(vectors, batch) for name, batch in queries.items()})  # type: ignore[arg-type]
    about = {
        "titles": count_titles,
        "dims": vectors.shape[1],
        "bundle": source.version,
        "real_titles": source.count_candidates,
        "noise": NOISE,
        "queries": f"{len(embeddings) // 2} at each of {', '.join(dials)}; {origin}",
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return made


def least_scores(vectors: Floats, queries: Floats) -> Floats:
    """Score of the COUNT-th best title for each query [queries], less a margin for rounding."""
    least = []
    for start in range(0, len(queries), _BATCH):
        batch = queries[start : start + _BATCH]
        best = np.full((len(batch), COUNT), -np.inf, dtype=np.float32)
        for first in range(0, len(vectors), _TITLES):
            scores = np.hstack([best, batch @ vectors[first : first + _TITLES].T])
            best = -np.partition(-scores, COUNT - 1, axis=1)[:, :COUNT]
        least.append(best.min(axis=1) - 1e-5 * np.abs(best).max(axis=1))
    return np.concatenate(least)


def recall(catalogue: BenchmarkCatalogue, use: str, rows_by_setting: dict[str, NDArray[Any]]) -> float:
    """Mean share of the rows [queries, COUNT] that is in the exact lists: the lowest over the dial's settings."""
    queries, least = catalogue.queries(use), catalogue.least_scores(use)
    shares = []
    for name, rows in rows_by_setting.items():
        rows = rows.astype(np.int64)
        scores = np.einsum("qkw,qw->qk", catalogue.vectors[rows], queries[name])
        # A title must not count twice.
        assert all(len(np.unique(titles[titles >= 0])) == (titles >= 0).sum() for titles in rows)
        shares.append(float(np.mean((rows >= 0) & (scores >= least[name][:, None]))))
    return min(shares)


def query_histories(source: Bundle, settings: Settings, count: int) -> tuple[PaddedHistories, str]:
    """Up to `count` histories, and a text on their origin."""
    longest, numbers = source.manifest.history_length, np.array(list(source.countries.values()), dtype=np.int64)
    try:
        snapshot = LakeSnapshot.pin(settings.lake.root, ["user_histories"])
    except LakeError:
        counts = source.titles["count_positives"].to_numpy()[: source.count_candidates]
        return sample_histories.made_up(
            counts, numbers, count, longest, settings.seed
        ), "made-up histories: no lake is there"

    def candidates(title_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = source.rows(title_ids)
        return np.where(rows < source.count_candidates, rows, -1)

    known = sample_histories.sample(snapshot, candidates, source.countries, count, longest, settings.seed)
    return known, "histories of users"
