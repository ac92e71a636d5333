"""Example users of the report: the titles they liked, beside the lists of the old and the new recommender."""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import pandas as pd

from conf.settings import Settings
from lake import delta_log, night_files
from lake.model_names import ALS_BASELINE
from lake.snapshot import LakeSnapshot
from review.night import data_uri
from review.sections import Poster, Section, Shelf

# Posters in a row: as many as fit beside one another.
TITLES = 6


def users(settings: Settings, ds: date) -> Section:
    """Users drawn by the seed, the same every night as long as they are measured; shown by number, not by id."""
    title = f"{settings.report.users} users, old against new"
    lists = {file.stem: pd.read_parquet(file) for file in sorted(night_files.lists(settings, ds).glob("*.parquet"))}
    new = [name for name in lists if "@" in name]
    if ALS_BASELINE not in lists or not new:
        return Section(title, missing=f"no lists of {ALS_BASELINE} and of a registered model were written on {ds}")
    # The challenger is the newest version.
    newest = max(new, key=lambda name: int(name.split("@")[1]))
    liked, catalogue = _liked(settings), _catalogue(settings)
    measured_users = sorted(set(lists[newest]["user_id"]) & set(liked))
    if not measured_users:
        return Section(title, missing="none of the measured users has a history")
    generator = np.random.default_rng(settings.seed)
    drawn = generator.permutation(len(measured_users))[: settings.report.users]
    count, folder = TITLES, settings.feeds.posters_dir
    groups = []
    for number, n in enumerate(drawn.tolist(), start=1):
        user = measured_users[n]
        shelves = [Shelf(f"User {number} liked", _posters(liked[user][:count], catalogue, folder))]
        for heading, name in (("old: " + ALS_BASELINE, ALS_BASELINE), ("new: " + newest, newest)):
            shelves.append(Shelf(heading, _posters(_best(lists[name], user, count), catalogue, folder)))
        groups.append(shelves)
    return Section(
        title, "The titles each user liked most recently, then the top of each recommender's list.", shelves=groups
    )


def _best(rows: pd.DataFrame, user: str, count: int) -> list[int]:
    top = rows[(rows["user_id"] == user) & (rows["rank"] <= count)]
    return [int(title) for title in top.sort_values("rank")["title_id"]]


def _liked(settings: Settings) -> dict[str, list[int]]:
    """Titles that each user liked before the split, newest first."""
    columns = ("user_id", "history_title_ids", "history_weights")
    rows = LakeSnapshot.pin(settings.lake.root, ["training_users"]).read("training_users", columns)
    return {
        row["user_id"]: [
            title for title, weight in zip(row["history_title_ids"], row["history_weights"], strict=True) if weight > 0
        ]
        for row in rows.to_pylist()
    }


def _catalogue(settings: Settings) -> dict[int, tuple[str, str | None]]:
    """Name and poster file of every title."""
    titles = delta_log.load(f"{settings.lake.root}/stg_titles")
    rows = delta_log.read(titles, ["title_id", "title", "release_year", "poster"]).to_pylist()
    names = {}
    for row in rows:
        year = f" ({row['release_year']})" if row["release_year"] else ""
        names[row["title_id"]] = (f"{row['title']}{year}", row["poster"])
    return names


def _posters(title_ids: Sequence[int], catalogue: Mapping[int, tuple[str, str | None]], folder: str) -> list[Poster]:
    shown = []
    for title_id in title_ids:
        name, file = catalogue.get(title_id, (f"title {title_id}", None))
        shown.append(Poster(name, data_uri(folder, file) if file else None))
    return shown
