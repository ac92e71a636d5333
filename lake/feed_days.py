"""Counts of loaded events by day: the columns of `feed_loads` that the gate and the report read."""

from dataclasses import dataclass
from datetime import date

from lake import delta_log

TABLE = "feed_loads"  # written by the staging jobs
COUNTS = {
    "count_lines": "lines that are not blank",
    "count_loaded": "lines that became a row",
    "count_rejected": "in rejected_rows, duplicates too",
    "count_duplicates": "rejected as a further copy of a row",
    "count_erased": "left out for a person who was erased",
}


@dataclass(frozen=True)
class FeedDay:
    """Lines of the events feed of one day; copies are not counted as rejected."""

    ds: date
    count_lines: int
    count_loaded: int
    count_rejected: int


def read(root: str) -> list[FeedDay]:
    """Every day that was loaded, in order; none before the first."""
    location = f"{root}/{TABLE}"
    if not delta_log.exists(location):
        return []
    columns = ["ds", "count_lines", "count_loaded", "count_rejected", "count_duplicates"]
    events = delta_log.read(delta_log.load(location), columns, [("feed", "=", "events")]).to_pylist()
    days = [
        FeedDay(row["ds"], row["count_lines"], row["count_loaded"], row["count_rejected"] - row["count_duplicates"])
        for row in events
    ]
    return sorted(days, key=lambda day: day.ds)
