"""Simulate the streaming guide with a known truth, in the raw-feed format.

Reads nothing but the settings (`seed` and the section `simulate`). Writes to --out (default `feeds.root`, which must
then be a local folder):

  events/event_date=DATE/*.jsonl.gz   part-*: delivered on their day; late-from-*: late events and copies
  titles/ offers/ consents/           as of the last simulated day
  erasures/                           one empty file
  posters/                            JPEGs; always here, whatever feeds.posters_dir says: point that at this folder
  truth/                              users, titles and gems (Parquet) with tastes; settings.json, position_bias.json
                                      and feed_counts.json

The same seed and settings give the same bytes. With more days, the folders of the first days keep theirs, so that
nights can be replayed. A folder that holds an earlier simulation is replaced; one that holds anything else is refused.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import unquote, urlsplit

from conf.settings import Settings
from jobs import command
from jobs.errors import JobError
from jobs.sources.feed_files import write_lines
from jobs.sources.simulator.simulated_catalogue import build_catalogue, offer_lines
from jobs.sources.simulator.simulated_delivery import Delivery
from jobs.sources.simulator.simulated_posters import write_posters
from jobs.sources.simulator.simulated_sessions import EVENT_TYPES, Guide
from jobs.sources.simulator.simulated_titles import title_lines
from jobs.sources.simulator.simulated_truth import SETTINGS_FILE, write_settings, write_truth
from jobs.sources.simulator.simulated_users import build_users, consent_lines

# `truth` comes last: a run that ends halfway leaves a folder that the next one still knows for a simulation.
_OWN_FOLDERS = ("events", "titles", "offers", "consents", "erasures", "posters", "truth")


@dataclass(frozen=True)
class Summary:
    """Counts of the events, titles, users and posters that were written."""

    events_by_type: Mapping[str, int]  # before some were delivered late, twice or malformed
    lines: int
    first_day: date
    last_day: date
    titles: int
    titles_unreleased: int
    users: int
    posters: int


def simulate(settings: Settings, out: Path) -> Summary:
    """Write a whole simulation to the folder `out`.

    Raises JobError where `out` holds something else, or where too few titles would be released on the first day.
    """
    seed, plan = settings.seed, settings.simulate
    catalogue = build_catalogue(seed, plan)
    users = build_users(seed, plan)
    _clear(out)
    write_settings(out / "truth", seed, plan)
    guide = Guide(seed, plan, catalogue, users)
    delivery = Delivery(out, seed, plan, users, catalogue)
    for day in range(plan.days):
        delivery.write_day(day, guide.day(day))
    released = catalogue.count_released(plan.days - 1)
    write_lines(out / "titles" / "titles.jsonl.gz", title_lines(seed, plan, catalogue))
    write_lines(out / "offers" / "offers.jsonl.gz", offer_lines(catalogue, released))
    write_lines(out / "consents" / "consents.jsonl.gz", consent_lines(seed, users))
    write_lines(out / "erasures" / "erasures.jsonl.gz", ())
    posters = write_posters(out / "posters", seed, plan, catalogue)
    write_truth(out / "truth", plan, catalogue, users, delivery)
    return Summary(
        events_by_type=dict(zip(EVENT_TYPES, delivery.events_by_type.tolist(), strict=True)),
        lines=sum(feed_day.lines for feed_day in delivery.feed_days),
        first_day=plan.first_day,
        last_day=delivery.date_of(plan.days - 1),
        titles=len(catalogue.title_ids),
        titles_unreleased=len(catalogue.title_ids) - released,
        users=len(users.user_ids),
        posters=posters,
    )


def _clear(out: Path) -> None:
    """Remove an earlier simulation from `out`; refuse a folder that holds anything else."""
    if out.exists() and not out.is_dir():
        raise JobError(f"{out}: expected a folder to simulate into, found a file; give another --out")
    entries = sorted(entry.name for entry in out.iterdir()) if out.exists() else []
    if entries and not (out / "truth" / SETTINGS_FILE).is_file():
        raise JobError(
            f"{out}: expected no folder, an empty one or an earlier simulation (truth/{SETTINGS_FILE}), "
            f"found {entries[:5]}; give another --out or remove it"
        )
    for name in _OWN_FOLDERS:
        if (out / name).exists():
            shutil.rmtree(out / name)
    (out / "truth").mkdir(parents=True)


def _local_folder(location: str) -> Path:
    parts = urlsplit(location)
    if parts.scheme not in ("", "file"):
        raise JobError(f"feeds.root is {location}: expected a local folder to simulate into; give --out FOLDER")
    return Path(unquote(parts.path)) if parts.scheme else Path(location).absolute()


def _report(summary: Summary, out: Path) -> Iterator[str]:
    yield f"days            {summary.first_day} to {summary.last_day}"
    yield f"events          {sum(summary.events_by_type.values()):,}"
    for event_type, count in summary.events_by_type.items():
        yield f"  {event_type:<14}{count:,}"
    yield f"lines           {summary.lines:,}, late ones, copies and malformed ones among them"
    yield f"titles          {summary.titles:,}, {summary.titles_unreleased:,} of them not yet released"
    yield f"posters         {summary.posters:,}"
    yield f"users           {summary.users:,}"
    yield f"feeds           {out}"
    yield f"truth           {out / 'truth'}"


def work(settings: Settings, arguments: argparse.Namespace) -> None:
    """Simulate as the settings say and print a summary."""
    out = _local_folder(arguments.out or settings.feeds.root)
    print("\n".join(_report(simulate(settings, out), out)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = command.parser(__doc__)
    parser.add_argument("--out", metavar="FOLDER", help="where to write (default: feeds.root)")
    return command.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
