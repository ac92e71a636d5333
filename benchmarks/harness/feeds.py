"""Simulated feeds of a given approximate size, made before any measurement starts."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from conf.settings import Settings, with_changes
from jobs.sources.simulate import simulate


@dataclass(frozen=True)
class Feeds:
    """A folder of simulated feeds, with its days and its number of event lines."""

    root: Path
    days: tuple[str, ...]
    lines: int

    @property
    def files(self) -> list[str]:
        return [str(path) for path in sorted((self.root / "events").glob("event_date=*/*.jsonl*"))]


def make_feeds(settings: Settings, root: Path, lines: int, days: int) -> Feeds:
    """Simulate about `lines` event lines over `days` days of equal size.

    Lines grow with users: a first simulation with the configured number of users gives the lines per user.
    """
    plan = {"simulate.days": days, "simulate.new_users_per_day": 0.0, "simulate.missing_poster_share": 1.0}
    pilot = simulate(with_changes(settings, plan), root)
    users = max(1, round(settings.simulate.users * lines / pilot.lines))
    made = simulate(with_changes(settings, {**plan, "simulate.users": users}), root)
    dates = [made.first_day + timedelta(days=number) for number in range(days)]
    return Feeds(root, tuple(day.isoformat() for day in dates), made.lines)
