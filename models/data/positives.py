"""Positives of a lake as a matrix: which users liked which titles, and when."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from lake.snapshot import LakeSnapshot
from models.data.catalogue import Catalogue


@dataclass(frozen=True)
class Positives:
    """One entry per user and title liked, in the order of users, then titles."""

    user_ids: Sequence[str]  # [users], in their order
    countries: Sequence[str]  # [users], of each user's last positive
    liked: sparse.csr_matrix  # [users, titles], 1 where liked
    days: NDArray[np.float64]  # [positives], moments in days since 1970-01-01, in the order of liked.indices

    def days_of(self, users: Sequence[str]) -> sparse.csr_matrix:
        """[users, titles]: the day on which each of `users` liked a title; no entries for a user without positives."""
        row_of = {user: n for n, user in enumerate(self.user_ids)}
        rows = [n for n, user in enumerate(users) if user in row_of]
        columns = [row_of[users[n]] for n in rows]
        selection = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(users), len(self.user_ids)))
        days = sparse.csr_matrix((self.days, self.liked.indices, self.liked.indptr), shape=self.liked.shape)
        selected = sparse.csr_matrix(selection @ days)
        selected.sort_indices()
        return selected


def read_positives(snapshot: LakeSnapshot, split: str, catalogue: Catalogue) -> Positives:
    """Positives of a split of training_examples; titles that the catalogue lacks are left out.

    A split without any row gives no users.
    """
    columns = ("user_id", "title_id", "event_time", "country")
    if split not in snapshot.splits("training_examples"):
        empty = sparse.csr_matrix((0, len(catalogue)), dtype=np.float32)
        return Positives([], [], empty, np.empty(0))
    return positives_of(snapshot.read("training_examples", columns, split), catalogue)


def positives_of(rows: pa.Table, catalogue: Catalogue) -> Positives:
    """Positives from rows of training_examples with `user_id`, `title_id`, `event_time` and `country`."""
    titles = catalogue.rows(rows["title_id"].to_numpy())
    rows, titles = rows.filter(pa.array(titles >= 0)), titles[titles >= 0]
    moments = rows["event_time"].cast(pa.int64()).to_numpy() / 86_400e6
    user_ids, users = np.unique(rows["user_id"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    # A title liked again later, after it had fallen out of the history, is one positive: the first.
    order = np.lexsort((moments, titles, users))
    users, titles, moments = users[order], titles[order], moments[order]
    is_first = np.append(True, (np.diff(users) != 0) | (np.diff(titles) != 0))[: len(users)]
    countries = rows["country"].to_numpy(zero_copy_only=False)[order]
    users, titles, moments, countries = (values[is_first] for values in (users, titles, moments, countries))
    shape = (len(user_ids), len(catalogue))
    liked = sparse.csr_matrix((np.ones(len(users), dtype=np.float32), (users, titles)), shape=shape)
    last = np.lexsort((moments, users))[np.cumsum(np.bincount(users, minlength=shape[0])) - 1]
    return Positives(user_ids.tolist(), countries[last].tolist(), liked, moments)


def recent_counts(positives: Positives, days: int) -> NDArray[np.int64]:
    """[titles]: the number of `positives` in their last `days` days."""
    is_recent = positives.days > positives.days.max(initial=-np.inf) - days
    return np.bincount(positives.liked.indices[is_recent], minlength=positives.liked.shape[1])


def read_history_weights(snapshot: LakeSnapshot, users: Sequence[str], catalogue: Catalogue) -> sparse.csr_matrix:
    """[users, titles]: weights of titles in the histories of `users` as of the split; an entry may be 0."""
    columns = ("user_id", "history_title_ids", "history_weights")
    rows = snapshot.read("training_users", columns)
    row_of = {user: n for n, user in enumerate(users)}
    owners = np.array([row_of.get(user, -1) for user in rows["user_id"].to_pylist()], dtype=np.int64)
    lengths = pc.list_value_length(rows["history_title_ids"]).to_numpy()
    owners = np.repeat(owners, lengths)
    titles = catalogue.rows(pc.list_flatten(rows["history_title_ids"]).to_numpy())  # padding is no title
    kept = (owners >= 0) & (titles >= 0)
    weights = pc.list_flatten(rows["history_weights"]).to_numpy()[kept].astype(np.float32)
    return sparse.csr_matrix((weights, (owners[kept], titles[kept])), shape=(len(users), len(catalogue)))


def read_seen_titles(snapshot: LakeSnapshot, catalogue: Catalogue) -> NDArray[np.bool_]:
    """[titles]: True for seen titles: liked by the newest night, or in a history of training_users."""
    columns = ("title_id", "count_positives_ever")
    rows = snapshot.read("title_features", columns)
    liked = rows.filter(pc.greater(rows["count_positives_ever"], 0))["title_id"]
    users = snapshot.read("training_users", ("history_title_ids",))
    is_seen = np.zeros(len(catalogue), dtype=np.bool_)
    for ids in (liked, pc.list_flatten(users["history_title_ids"])):
        titles = catalogue.rows(pc.unique(ids).to_numpy())
        is_seen[titles[titles >= 0]] = True  # padding is no title
    return is_seen
