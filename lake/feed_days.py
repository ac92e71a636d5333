"""What came in of the events, day by day, as feed_loads says."""

from dataclasses import dataclass
from datetime import date

from lake import delta_log


@dataclass(frozen=True)
class FeedDay:
    """What came in of the events of one day; copies are not among the rejected."""

    ds: date
    count_lines: int
    count_loaded: int
    count_rejected: int


def read(root: str) -> list[FeedDay]:
    """Every day that was loaded, in order; none before the first."""
    location = f"{root}/feed_loads"
    if not delta_log.exists(location):
        return []
    columns = ["ds", "count_lines", "count_loaded", "count_rejected", "count_duplicates"]
    events = delta_log.read(delta_log.load(location), columns, [("feed", "=", "events")]).to_pylist()
    days = [
        FeedDay(row["ds"], row["count_lines"], row["count_loaded"], row["count_rejected"] - row["count_duplicates"])
        for row in events
    ]
    return sorted(days, key=lambda day: day.ds)
