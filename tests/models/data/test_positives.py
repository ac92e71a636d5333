"""Positives, one per user and title, by rows of users and titles; splits and histories."""

from dataclasses import replace

import numpy as np

from lake.snapshot import LakeSnapshot
from models.data.catalogue import Catalogue
from models.data.positives import read_positives, read_seen_titles, recent_counts


def test_a_positive_is_the_first_of_a_user_and_title(snapshot: LakeSnapshot, catalogue: Catalogue) -> None:
    train = read_positives(snapshot, "train", catalogue)
    assert train.user_ids == ["u1", "u2"]
    # Ids: 30 is 0, 10 is 1, 20 is 2.
    assert train.liked.toarray().tolist() == [[1, 0, 0], [0, 1, 1]]
    assert train.days.tolist() == [1.5, 1.75, 1.5]
    # u2's last positive is the one of the evening.
    assert train.countries == ["DE", "GB"]


def test_recent_positives_are_those_of_the_last_days(snapshot: LakeSnapshot, catalogue: Catalogue) -> None:
    train = read_positives(snapshot, "train", catalogue)
    assert recent_counts(train, 1).tolist() == [1, 1, 1]
    later = replace(train, days=train.days + np.array([0, 30, 0]))
    assert recent_counts(later, 28).tolist() == [0, 1, 0]


def test_split_without_rows_has_no_users(snapshot: LakeSnapshot, catalogue: Catalogue) -> None:
    validation = read_positives(snapshot, "validation", catalogue)
    assert validation.user_ids == []
    assert validation.liked.shape == (0, 3)


def test_histories_are_those_of_the_requested_users(snapshot: LakeSnapshot, catalogue: Catalogue) -> None:
    train = read_positives(snapshot, "train", catalogue)
    days = train.days_of(["u3", "u2", "u1"])
    assert days.toarray().tolist() == [[0, 0, 0], [0, 1.75, 1.5], [1.5, 0, 0]]
    assert days.has_sorted_indices


def test_seen_titles_have_a_positive_or_a_history_entry(snapshot: LakeSnapshot, catalogue: Catalogue) -> None:
    is_seen = read_seen_titles(snapshot, catalogue)
    assert dict(zip(catalogue.title_ids.tolist(), is_seen.tolist(), strict=True)) == {10: True, 20: True, 30: False}
