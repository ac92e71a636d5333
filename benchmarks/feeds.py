"""Simulated feeds of about a wanted size, made before any clock starts."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from conf.settings import Settings, with_changes
from jobs.sources.simulate import simulate


@dataclass(frozen=True)
class Feeds:
    """Simulated feeds: where they lie, their days and how many event lines they have."""

    root: Path
    days: tuple[str, ...]
    lines: int

    @property
    def files(self) -> list[str]:
        return [str(path) for path in sorted((self.root / "events").glob("event_date=*/*.jsonl*"))]


def make_feeds(settings: Settings, root: Path, lines: int, days: int) -> Feeds:
    """Simulate about `lines` event lines over `days` days of equal size.

    Lines grow with users; how many users that takes is found by simulating with the configured number first.
    """
    plan = {"simulate.days": days, "simulate.new_users_per_day": 0.0, "simulate.missing_poster_share": 1.0}
    pilot = simulate(with_changes(settings, plan), root)
    users = max(1, round(settings.simulate.users * lines / pilot.lines))
    made = simulate(with_changes(settings, {**plan, "simulate.users": users}), root)
    dates = [made.first_day + timedelta(days=number) for number in range(days)]
    return Feeds(root, tuple(day.isoformat() for day in dates), made.lines)
