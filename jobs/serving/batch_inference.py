"""What a Spark worker does for `jobs.recommend`: load the bundle once, and answer batch by batch.

Apart from the job, for workers import it by name: what stands in a job's own module they would get as a copy each time,
and load the bundle anew with every task.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark import TaskContext

from conf.settings import Serving, Settings
from indexing.bundle.bundle import Bundle
from indexing.publishing import publication
from indexing.publishing.pointer import Entry
from indexing.publishing.storage import open_store
from lake.arrays import NO_TITLE
from serving.retriever import Lists, Retriever
from serving.search.threads import limit_threads
from serving.user_history import History, Person

HISTORY = ("user_id", "country", "history_title_ids", "history_weights", "history_ages_days", "seen_title_ids")
ANSWER = "user_id string, rank int, title_id long, score float, is_popular boolean"


class Answering:
    """Which bundle answers, and how: what every worker gets."""

    def __init__(
        self,
        settings: Settings,
        folder: str | None,
        dial: float | str,
        k: int,
        titles: Sequence[int] | None,
        is_available_only: bool,
    ) -> None:
        """By the bundle in a folder that all workers can read, or by the live one.

        Raises BundleError where there is none, and RequestError for a dial or a `k` that it does not take.
        """
        self._root, self._copies = settings.bundles.root, settings.bundles.copies
        self._options: Serving = settings.serving
        self._folder = None if folder is None else str(Path(folder).absolute())
        # All workers answer by one bundle, though another be published meanwhile.
        self._entry: Entry | None = None if folder else publication.live_entry(publication.store_of(settings))
        self._k, self._titles, self._is_available_only = k, titles, is_available_only
        opened = self._retriever()
        self.version = opened.version
        self.dial = opened.dial_value(dial)
        opened.recommend_many([], self.dial, k)  # refuses what no worker could do

    def answer(self, batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Rows of HISTORY to rows of ANSWER."""
        if TaskContext.get() is not None:  # cores are Spark's to share out
            limit_threads(self._options.threads)
        for batch in batches:
            people = [_person(row) for row in batch.itertuples(index=False)]
            lists = self._retriever().recommend_many(
                people, self.dial, self._k, self._titles, is_available_only=self._is_available_only
            )
            yield as_rows(batch["user_id"].to_numpy(), lists)

    def _retriever(self) -> Retriever:
        return _load(self._root, self._copies, self._entry, self._folder, self._options)


@lru_cache(maxsize=1)
def _load(root: str, copies: str, entry: Entry | None, folder: str | None, options: Serving) -> Retriever:
    if folder is not None:
        return Retriever(Bundle.open(folder), options)
    if entry is None:
        raise ValueError("neither a folder nor an entry of the pointer")
    return Retriever(publication.open_entry(open_store(root, copies), entry), options)


def as_rows(user_ids: NDArray[Any], lists: Lists) -> pd.DataFrame:
    """Lists [users, k] as one row per title, without the places at which a list has none."""
    users, places = np.nonzero(lists.title_ids != NO_TITLE)
    return pd.DataFrame(
        {
            "user_id": user_ids[users],
            "rank": (places + 1).astype(np.int32),
            "title_id": lists.title_ids[users, places],
            "score": lists.scores[users, places],
            "is_popular": lists.is_popular[users],
        }
    )


def _person(row: Any) -> Person:
    if row.history_title_ids is None:
        return Person(History.of(()))
    is_title = np.asarray(row.history_title_ids) != NO_TITLE
    history = History(
        np.asarray(row.history_title_ids, dtype=np.int64)[is_title],
        np.asarray(row.history_weights, dtype=np.float32)[is_title],
        np.asarray(row.history_ages_days, dtype=np.float32)[is_title],
    )
    seen = None if row.seen_title_ids is None else np.asarray(row.seen_title_ids, dtype=np.int64)
    return Person(history, row.country, seen)
