"""Truth of a simulation: the users' true tastes, for tests that check recommendations against them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conf.settings import Simulate
from jobs.sources.simulator.simulated_catalogue import SimulatedCatalogue, labels_of
from jobs.sources.simulator.simulated_delivery import Delivery
from jobs.sources.simulator.simulated_sessions import ENJOYMENT_AFFINITY, ENJOYMENT_QUALITY, examination
from jobs.sources.simulator.simulated_users import Users
from jobs.sources.simulator.simulated_world import COUNTRIES, MAINSTREAM_ARCHETYPES, PROVIDERS
from lake.arrays import Floats

SETTINGS_FILE = "settings.json"
_BEST_USERS_PER_GEM = 20


def write_settings(folder: Path, seed: int, simulate: Simulate) -> None:
    """Write seed, settings and the coefficients of enjoyment; affinity is the inner product of two tastes."""
    enjoyment = {"affinity": ENJOYMENT_AFFINITY, "quality": ENJOYMENT_QUALITY}
    _write_json(
        folder / SETTINGS_FILE, {"seed": seed, "simulate": simulate.model_dump(mode="json"), "enjoyment": enjoyment}
    )


def write_truth(
    folder: Path, simulate: Simulate, catalogue: SimulatedCatalogue, users: Users, delivery: Delivery
) -> None:
    """Write users, titles, gems, position bias and feed counts."""
    pq.write_table(_users_table(simulate, users), folder / "users.parquet")
    pq.write_table(_titles_table(simulate, catalogue), folder / "titles.parquet")
    pq.write_table(_gems_table(catalogue, users), folder / "gems.parquet")
    chances = examination(simulate.impressions_per_session).tolist()
    _write_json(folder / "position_bias.json", {str(rank): chance for rank, chance in enumerate(chances, start=1)})
    counts = {delivery.date_of(day).isoformat(): asdict(feed) for day, feed in enumerate(delivery.feed_days)}
    _write_json(folder / "feed_counts.json", counts)


def _users_table(simulate: Simulate, users: Users) -> pa.Table:
    names = [provider.provider_id for provider in PROVIDERS]
    return pa.table(
        {
            "user_id": users.user_ids,
            "taste": _lists(users.tastes),
            "country": labels_of(users.countries.tolist(), [country.code for country in COUNTRIES]),
            "providers": [labels_of(np.flatnonzero(row).tolist(), names) for row in users.subscriptions],
            "activity": users.activity,
            "mainstreamness": users.mainstreamness,
            "is_niche": users.archetypes >= MAINSTREAM_ARCHETYPES,
            "joined_date": [simulate.first_day + timedelta(days=day) for day in users.joined_days.tolist()],
        }
    )


def _titles_table(simulate: Simulate, catalogue: SimulatedCatalogue) -> pa.Table:
    titles = range(len(catalogue.title_ids))
    return pa.table(
        {
            "title_id": catalogue.title_ids,
            "taste": _lists(catalogue.tastes),
            "quality": catalogue.quality,
            "popularity": catalogue.fame,
            "release_date": [catalogue.release_date(title, simulate.first_day) for title in titles],
            "announced_date": [simulate.first_day + timedelta(days=day) for day in catalogue.announced_days.tolist()],
            "is_gem": catalogue.is_gem,
        }
    )


def _gems_table(catalogue: SimulatedCatalogue, users: Users) -> pa.Table:
    """The users whose taste is nearest to each gem, best first."""
    gems = np.flatnonzero(catalogue.is_gem)
    best_users, affinities = [], []
    for gem in gems.tolist():  # one at a time: gems x users at once is too much for a million users
        affinity = np.einsum("ud,d->u", users.tastes, catalogue.tastes[gem])
        best = np.argsort(-affinity, kind="stable")[:_BEST_USERS_PER_GEM]
        best_users.append(labels_of(best.tolist(), users.user_ids))
        affinities.append(affinity[best].tolist())
    return pa.table(
        {
            "title_id": catalogue.title_ids[gems],
            "best_users": pa.array(best_users, pa.list_(pa.string())),
            "affinities": pa.array(affinities, pa.list_(pa.float32())),
        }
    )


def _lists(rows: Floats) -> pa.Array:
    offsets = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, np.ascontiguousarray(rows).ravel())


def _write_json(path: Path, content: dict[str, Any] | Sequence[Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
