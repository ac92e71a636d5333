"""Rows of the table click_ranks as arrays."""

from dataclasses import dataclass

import numpy as np

from lake.arrays import Flags, Ids
from lake.snapshot import LakeSnapshot

TABLE = "click_ranks"
_COLUMNS = ("title_id", "ds", "is_random", "rank", "count_impressions", "count_clicks")


@dataclass(frozen=True)
class ClickRanks:
    """Impressions and clicks of a title at a rank on a day: arrays of one length."""

    title_ids: Ids
    days: Ids  # since 1970-01-01
    is_random: Flags  # lists in random order
    ranks: Ids  # from 1
    impressions: Ids
    clicks: Ids

    def where(self, is_chosen: Flags) -> "ClickRanks":
        """The chosen rows."""
        return ClickRanks(*(values[is_chosen] for values in vars(self).values()))

    def until(self, day: float) -> "ClickRanks":
        """Rows known at the end of `day`, in days since 1970-01-01."""
        return self.where(self.days <= day)

    def by_rank(self) -> tuple[Ids, Ids, Ids]:
        """Ranks that were shown, with their impressions and clicks."""
        impressions = np.bincount(self.ranks, weights=self.impressions).astype(np.int64)
        clicks = np.bincount(self.ranks, weights=self.clicks).astype(np.int64)
        shown = np.flatnonzero(impressions)
        return shown, impressions[shown], clicks[shown]


def read_click_ranks(snapshot: LakeSnapshot) -> ClickRanks:
    """The rows of a lake's click_ranks."""
    rows = snapshot.read(TABLE, _COLUMNS)
    columns = {name: rows[name].to_numpy() for name in _COLUMNS}
    columns["ds"] = columns["ds"].astype("datetime64[D]").astype(np.int64)
    return ClickRanks(*columns.values())
