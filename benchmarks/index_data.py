"""What the indexes are compared on: a large catalogue's vectors, queries with the dial in use, and the exact answers.

Titles are a bundle's, multiplied: real vectors again and again, each moved a little. Queries are those of the bundle's
query tower, of people's histories where the lake has them, else of made-up ones; each at several settings of the dial.
Half of them tune an index, the other half measure it.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.index_build import multiplied
from conf.settings import Settings
from indexing.bundle import sample_histories
from indexing.bundle.bundle import Bundle
from indexing.query_tower import query_export
from jobs.errors import JobError
from lake.arrays import Floats
from lake.errors import LakeError
from lake.snapshot import LakeSnapshot
from models.data.padded_histories import PaddedHistories

COUNT = 10  # length of lists that recall is of
NOISE = 0.25  # of a vector's copies, in standard deviations of each dimension
_BATCH = 128
_TITLES = 65_536


@dataclass(frozen=True)
class Catalogue:
    """Written to a folder once, for every process that measures on it."""

    folder: Path

    @cached_property
    def vectors(self) -> Floats:
        """[titles, width]"""
        return np.load(self.folder / "vectors.npy")

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """[titles]: of the bundle's title that each was made from."""
        return np.load(self.folder / "rows.npy")

    @cached_property
    def about(self) -> dict[str, Any]:
        return json.loads((self.folder / "about.json").read_text(encoding="utf-8"))

    def queries(self, use: str) -> dict[str, Floats]:
        """[queries, width] by setting of the dial, for `use` "tuning" or "measuring"."""
        with np.load(self.folder / "queries.npz") as stored:
            return {name.split(".")[1]: stored[name] for name in stored if name.startswith(f"{use}.")}

    def least_scores(self, use: str) -> dict[str, Floats]:
        """[queries] by setting of the dial: the score of the last title in the exact list of COUNT."""
        with np.load(self.folder / "exact.npz") as stored:
            return {name.split(".")[1]: stored[name] for name in stored if name.startswith(f"{use}.")}


def prepare(folder: Path, source: Bundle, settings: Settings, count_titles: int, count_queries: int) -> Catalogue:
    """The catalogue of `count_titles` in a folder, made where it is not there yet; queries for each dial and use.

    Raises JobError where the folder holds that of another bundle, whose query tower speaks of other vectors.
    """
    made = Catalogue(folder)
    if (folder / "about.json").exists():
        if (other := made.about["bundle"]) != source.version:
            raise JobError(f"{folder} was made of bundle {other}, not {source.version}; give another --work")
        return made
    folder.mkdir(parents=True, exist_ok=True)
    vectors, rows = multiplied(source, count_titles, NOISE, settings.seed)
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "rows.npy", rows)
    asked, whose = people(source, settings, 2 * count_queries)
    embeddings = query_export.embed(source.query_tower, asked)
    dials = source.manifest.dial.settings
    queries = {
        f"{use}.{name}": source.queries(embeddings[start::2], dial)
        for start, use in enumerate(("tuning", "measuring"))
        for name, dial in dials.items()
    }
    np.savez(folder / "queries.npz", **queries)  # type: ignore[arg-type]
    np.savez(folder / "exact.npz", **{name: least_scores(vectors, own) for name, own in queries.items()})  # type: ignore[arg-type]
    about = {
        "titles": count_titles,
        "dims": vectors.shape[1],
        "bundle": source.version,
        "real_titles": source.count_candidates,
        "noise": NOISE,
        "queries": f"{len(embeddings) // 2} at each of {', '.join(dials)}; {whose}",
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return made


def least_scores(vectors: Floats, queries: Floats) -> Floats:
    """[queries]: the score of the COUNT-th best title of each, less what rounding may take from it."""
    found = []
    for start in range(0, len(queries), _BATCH):
        batch = queries[start : start + _BATCH]
        best = np.full((len(batch), COUNT), -np.inf, dtype=np.float32)
        for first in range(0, len(vectors), _TITLES):
            scores = np.hstack([best, batch @ vectors[first : first + _TITLES].T])
            best = -np.partition(-scores, COUNT - 1, axis=1)[:, :COUNT]
        found.append(best.min(axis=1) - 1e-5 * np.abs(best).max(axis=1))
    return np.concatenate(found)


def recall(catalogue: Catalogue, use: str, found: dict[str, NDArray[Any]]) -> float:
    """The least over the dial's settings of the mean share of `found` [queries, COUNT] that is in the exact list."""
    queries, least = catalogue.queries(use), catalogue.least_scores(use)
    shares = []
    for name, rows in found.items():
        rows = rows.astype(np.int64)
        scores = np.einsum("qkw,qw->qk", catalogue.vectors[rows], queries[name])
        # A title twice in a list would count twice.
        assert all(len(np.unique(own[own >= 0])) == (own >= 0).sum() for own in rows)
        shares.append(float(np.mean((rows >= 0) & (scores >= least[name][:, None]))))
    return min(shares)


def people(source: Bundle, settings: Settings, count: int) -> tuple[PaddedHistories, str]:
    """Up to `count` histories, and whose they are."""
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
    return known, "histories of people"
