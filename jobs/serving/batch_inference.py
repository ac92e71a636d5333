"""Batch inference on Spark workers, for `jobs.recommend`: each worker loads the bundle once and recommends in batches.

A module of its own, since workers import it by name: a class in the job's main module would be pickled with every task,
and each task would load the bundle again.
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
from serving.retriever import Retriever, UserLists
from serving.search.threads import limit_threads
from serving.user_history import UserHistory, UserQuery

HISTORY_COLUMNS = ("user_id", "country", "history_title_ids", "history_weights", "history_ages_days", "seen_title_ids")
LIST_SCHEMA = "user_id string, rank int, title_id long, score float, is_popular boolean"


class BatchRecommender:
    """A bundle and the options of the run, sent to every worker."""

    def __init__(
        self,
        settings: Settings,
        folder: str | None,
        dial: float | str,
        k: int,
        titles: Sequence[int] | None,
        is_available_only: bool,
    ) -> None:
        """`folder` holds a bundle and must be readable by all workers; None takes the live bundle.

        Raises BundleError where there is no bundle, and RequestError for a dial or a `k` that it does not allow.
        """
        self._root, self._copies = settings.bundles.root, settings.bundles.copies
        self._options: Serving = settings.serving
        self._folder = None if folder is None else str(Path(folder).absolute())
        # All workers use one bundle, even if another is published meanwhile.
        self._entry: Entry | None = None if folder else publication.live_entry(publication.store_of(settings))
        self._k, self._titles, self._is_available_only = k, titles, is_available_only
        retriever = self._retriever()
        self.version = retriever.version
        self.dial = retriever.dial_value(dial)
        retriever.recommend_many([], self.dial, k)  # raises RequestError here, before any worker starts

    def recommend(self, batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Lists, as rows of LIST_SCHEMA, for batches of rows with HISTORY_COLUMNS."""
        if TaskContext.get() is not None:  # Spark shares out the cores
            limit_threads(self._options.threads)
        for batch in batches:
            users = [_user_query(row) for row in batch.itertuples(index=False)]
            lists = self._retriever().recommend_many(
                users, self.dial, self._k, self._titles, is_available_only=self._is_available_only
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


def as_rows(user_ids: NDArray[Any], lists: UserLists) -> pd.DataFrame:
    """Lists [users, k] as one row per title, leaving out the padding of short lists."""
    user_rows, list_columns = np.nonzero(lists.title_ids != NO_TITLE)
    return pd.DataFrame(
        {
            "user_id": user_ids[user_rows],
            "rank": (list_columns + 1).astype(np.int32),
            "title_id": lists.title_ids[user_rows, list_columns],
            "score": lists.scores[user_rows, list_columns],
            "is_popular": lists.is_popular[user_rows],
        }
    )


def _user_query(row: Any) -> UserQuery:
    if row.history_title_ids is None:
        return UserQuery(UserHistory.from_entries(()))
    is_title = np.asarray(row.history_title_ids) != NO_TITLE
    history = UserHistory(
        np.asarray(row.history_title_ids, dtype=np.int64)[is_title],
        np.asarray(row.history_weights, dtype=np.float32)[is_title],
        np.asarray(row.history_ages_days, dtype=np.float32)[is_title],
    )
    seen = None if row.seen_title_ids is None else np.asarray(row.seen_title_ids, dtype=np.int64)
    return UserQuery(history, row.country, seen)
