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
    countries: Sequence[str]  # [users], of the last of their positives
    liked: sparse.csr_matrix  # [users, titles], 1 where liked
    days: NDArray[np.float64]  # [positives], moments in days since 1970-01-01, in the order of liked.indices

    def days_of(self, users: Sequence[str]) -> sparse.csr_matrix:
        """[users, titles]: when each of `users` liked what; nothing for one who is not among them."""
        place = {user: n for n, user in enumerate(self.user_ids)}
        rows = [n for n, user in enumerate(users) if user in place]
        columns = [place[users[n]] for n in rows]
        chosen = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(users), len(self.user_ids)))
        days = sparse.csr_matrix((self.days, self.liked.indices, self.liked.indptr), shape=self.liked.shape)
        found = sparse.csr_matrix(chosen @ days)
        found.sort_indices()
        return found


def read_positives(snapshot: LakeSnapshot, split: str, catalogue: Catalogue) -> Positives:
    """Who liked what in a split of training_examples; titles that the catalogue lacks are left out.

    A split without any row gives no users.
    """
    columns = ("user_id", "title_id", "event_time", "country")
    if split not in snapshot.splits("training_examples"):
        empty = sparse.csr_matrix((0, len(catalogue)), dtype=np.float32)
        return Positives([], [], empty, np.empty(0))
    return positives_of(snapshot.read("training_examples", columns, split), catalogue)


def positives_of(rows: pa.Table, catalogue: Catalogue) -> Positives:
    """Who liked what by rows of training_examples: their `user_id`, `title_id`, `event_time` and `country`."""
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
    """[titles]: how many of `positives` fall in the last `days` days of them."""
    is_recent = positives.days > positives.days.max(initial=-np.inf) - days
    return np.bincount(positives.liked.indices[is_recent], minlength=positives.liked.shape[1])


def read_history_weights(snapshot: LakeSnapshot, users: Sequence[str], catalogue: Catalogue) -> sparse.csr_matrix:
    """[users, titles]: what titles count in the histories of `users` as of the split; an entry may be 0."""
    columns = ("user_id", "history_title_ids", "history_weights")
    rows = snapshot.read("training_users", columns)
    place = {user: n for n, user in enumerate(users)}
    owners = np.array([place.get(user, -1) for user in rows["user_id"].to_pylist()], dtype=np.int64)
    lengths = pc.list_value_length(rows["history_title_ids"]).to_numpy()
    owners = np.repeat(owners, lengths)
    titles = catalogue.rows(pc.list_flatten(rows["history_title_ids"]).to_numpy())  # padding is no title
    kept = (owners >= 0) & (titles >= 0)
    weights = pc.list_flatten(rows["history_weights"]).to_numpy()[kept].astype(np.float32)
    return sparse.csr_matrix((weights, (owners[kept], titles[kept])), shape=(len(users), len(catalogue)))


def read_seen_titles(snapshot: LakeSnapshot, catalogue: Catalogue) -> NDArray[np.bool_]:
    """[titles]: whether somebody has met it: liked it by the newest night, or has it in a history of training_users."""
    columns = ("title_id", "count_positives_ever")
    rows = snapshot.read("title_features", columns)
    liked = rows.filter(pc.greater(rows["count_positives_ever"], 0))["title_id"]
    users = snapshot.read("training_users", ("history_title_ids",))
    found = np.zeros(len(catalogue), dtype=np.bool_)
    for ids in (liked, pc.list_flatten(users["history_title_ids"])):
        titles = catalogue.rows(pc.unique(ids).to_numpy())
        found[titles[titles >= 0]] = True  # padding is no title
    return found
