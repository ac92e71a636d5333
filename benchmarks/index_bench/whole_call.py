"""Cost of a whole call of the retriever, cost of the ALS baseline served in the same way, and recall by filter.

Each runs with one thread in its own process, which `run_apart` starts.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.harness.processes import answer_job
from benchmarks.index_bench import catalogue, enlarged_bundle
from benchmarks.index_bench.catalogue import COUNT, BenchmarkCatalogue
from conf.loader import load_settings
from conf.settings import Settings
from indexing.bundle.bundle import Bundle
from models.data.padded_histories import PaddedHistories
from serving.retriever import Retriever
from serving.search import indexed_query
from serving.search.threads import limit_threads
from serving.user_history import UserHistory, UserQuery

K = 20
_CALLS = 300  # at most, of each kind
_SECONDS = 20.0  # at most, of each kind
_BATCH = 256
_DIAL = "gems"
_RECALL_CALLS = 200


def measure(call: Callable[[int], Any], per_call: int = 1) -> dict[str, float]:
    """Milliseconds per list of `call(n)`, n = 0, 1, …, which makes `per_call` lists."""
    call(0)
    processor, wall = [], []
    ends = time.monotonic() + _SECONDS
    for n in range(_CALLS):
        started, used = time.perf_counter(), time.process_time()
        call(n)
        processor.append(time.process_time() - used)
        wall.append(time.perf_counter() - started)
        if time.monotonic() > ends:
            break
    return {
        "processor_ms": 1000 * sum(processor) / len(processor) / per_call,
        "wall_ms": 1000 * float(np.median(wall)) / per_call,
        "calls": len(wall),
        "load": os.getloadavg()[0],
    }


@dataclass(frozen=True)
class _Large:
    """The enlarged bundle, and users' histories to query it with."""

    conf: str
    overrides: list[str]
    source: str
    catalogue: str
    scann: str
    leading_dims: int
    count_users: int

    @cached_property
    def settings(self) -> Settings:
        return load_settings(self.conf, self.overrides)

    @cached_property
    def bundle(self) -> Bundle:
        catalogue = BenchmarkCatalogue(Path(self.catalogue))
        root, seed = catalogue.folder / "bundles", self.settings.seed
        source = Bundle.open(self.source, verify=False)
        return enlarged_bundle.enlarged(
            source, catalogue, Path(self.scann), self.leading_dims, self.settings.index, root, seed
        )

    @cached_property
    def histories(self) -> list[UserHistory]:
        """Users' histories with each title replaced by one of its copies, so that they use all of the catalogue."""
        padded, _ = catalogue.query_histories(Bundle.open(self.source, verify=False), self.settings, self.count_users)
        copies = Copies(BenchmarkCatalogue(Path(self.catalogue)).rows)
        random = np.random.default_rng(self.settings.seed)
        return [_history(self.bundle, padded, n, copies, random) for n in range(len(padded))]


class Copies:
    """Copies of each title of the source bundle in a multiplied catalogue."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        """`rows` [titles] are those of BenchmarkCatalogue."""
        self._order = np.argsort(rows, kind="stable")
        self._starts = np.searchsorted(rows[self._order], np.arange(rows.max() + 2))

    def draw(self, rows: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Draw one copy of each of `rows` [length]."""
        return self._order[random.integers(self._starts[rows], self._starts[rows + 1])]


def _history(
    opened: Bundle, padded: PaddedHistories, user: int, copies: Copies, random: np.random.Generator
) -> UserHistory:
    is_title = padded.rows[user] > 0
    ids = opened.title_ids[copies.draw(padded.rows[user][is_title] - 1, random)]
    return UserHistory(ids, padded.weights[user][is_title], padded.ages_days[user][is_title])


@dataclass(frozen=True)
class WholeCall(_Large):
    """Milliseconds per list by kind of call."""

    def run(self) -> dict[str, Any]:
        limit_threads(1)
        retriever = Retriever(self.bundle, self.settings.serving)
        histories, value = self.histories, retriever.dial_value(_DIAL)
        known = [retriever.look_up(UserQuery(history)).history for history in histories]
        embeddings = np.concatenate([indexed_query.embed(self.bundle, [history], [0]) for history in known])
        queries = self.bundle.queries(embeddings, value)
        users = [UserQuery(history) for history in histories]

        def batch(values: Sequence[Any], n: int) -> Sequence[Any]:
            return [values[(n * _BATCH + i) % len(values)] for i in range(_BATCH)]

        def recommend(n: int, **options: Any) -> Any:
            return retriever.recommend(histories[n % len(histories)], dial=_DIAL, k=K, **options)

        wide = queries[np.arange(_BATCH) % len(queries)]
        costs = {
            "bare search, one at a time": measure(lambda n: self.bundle.search(queries[[n % len(queries)]], K)),
            "bare search, in batches": measure(lambda _: self.bundle.search(wide, K), _BATCH),
            "query tower, one at a time": measure(
                lambda n: indexed_query.embed(self.bundle, [known[n % len(known)]], [0])
            ),
            "query tower, in batches": measure(
                lambda n: indexed_query.embed(self.bundle, list(batch(known, n)), [0] * _BATCH), _BATCH
            ),
            "recommend": measure(lambda n: recommend(n, why=False)),
            "recommend, with reasons": measure(recommend),
            "recommend, on offer in a country": measure(lambda n: recommend(n, why=False, country="AD")),
            "recommend_many": measure(lambda n: retriever.recommend_many(batch(users, n), _DIAL, K), _BATCH),
            "recommend_many, on offer in a country": measure(
                lambda n: retriever.recommend_many(
                    [replace(user, country="AD") for user in batch(users, n)], _DIAL, K, is_available_only=True
                ),
                _BATCH,
            ),
            "similar": measure(
                lambda n: retriever.similar(histories[n % len(histories)].title_ids[:1], k=K, why=False)
            ),
        }
        return {"calls": costs, "titles_in_history": float(np.mean([len(history.rows) for history in known]))}


@dataclass(frozen=True)
class RecallByFilter(_Large):
    """Recall@COUNT against exact search, and milliseconds, by the share of titles on offer."""

    def run(self) -> dict[str, Any]:
        limit_threads(1)
        options = self.settings.serving
        retriever = Retriever(self.bundle, options)
        exact = Retriever(self.bundle, options.model_copy(update={"exact_max_titles": 2**62}))
        figures = {}
        for country in (*enlarged_bundle.SHARES, enlarged_bundle.LEAST_POPULAR):
            shares = []
            plans = set()
            for history in self.histories[:_RECALL_CALLS]:
                arguments: dict[str, Any] = {"country": country, "dial": _DIAL, "k": COUNT, "why": False}
                searched, expected = retriever.recommend(history, **arguments), exact.recommend(history, **arguments)
                least = min((item.score for item in expected.items), default=-np.inf)
                hits = sum(item.score >= least - 1e-4 * abs(least) for item in searched.items)
                shares.append(hits / max(len(expected.items), 1))
                plans.add(searched.plan)
            figures[country] = {
                "recall": float(np.mean(shares)),
                "plans": sorted(plans),
                "share": len(exact.availability.rows(country)) / len(self.bundle.title_ids),
                **measure(
                    lambda n, country=country: retriever.recommend(  # type: ignore[misc]
                        self.histories[n % len(self.histories)], country=country, dial=_DIAL, k=COUNT, why=False
                    )
                ),
            }
        return figures


@dataclass(frozen=True)
class OldRecommender(_Large):
    """`implicit`'s ALS, which scores every title. Its factors are random: their values don't change the time."""

    def run(self) -> dict[str, Any]:
        als, count = self.settings.baselines.als, self.bundle.count_candidates
        random = np.random.default_rng(self.settings.seed)
        model = AlternatingLeastSquares(
            factors=als.factors, regularization=als.regularization, alpha=als.alpha, num_threads=1
        )
        model.item_factors = random.standard_normal((count, als.factors), dtype=np.float32)
        model.user_factors = np.zeros((1, als.factors), dtype=np.float32)
        limit_threads(1)
        rows = [self.bundle.rows(history.title_ids) for history in self.histories]
        liked = sparse.csr_matrix(
            (
                np.ones(sum(map(len, rows)), dtype=np.float32),
                np.concatenate(rows),
                np.concatenate([[0], np.cumsum([len(r) for r in rows])]),
            ),
            shape=(len(rows), count),
        )
        _ = model.YtY  # computed once and cached

        def recommend(users: NDArray[np.int64]) -> Any:
            return model.recommend(users, liked[users], N=K, recalculate_user=True)

        return {
            "one at a time": measure(lambda n: recommend(np.array([n % len(rows)]))),
            "in batches": measure(lambda n: recommend((n * _BATCH + np.arange(_BATCH)) % len(rows)), _BATCH),
        }


if __name__ == "__main__":
    sys.exit(answer_job([WholeCall, RecallByFilter, OldRecommender], sys.argv[1:]))
