"""Show a night's outputs: one user's recommendations at three settings of the dial, and where its pages are.

Reads the live bundle in <bundles.root> and training_users in <lake.root>, and looks for pages in <report.root>/DATE;
writes nothing. The user is --user, or one whose history has the median length.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from rich.table import Table as RichTable

from conf import command_line
from conf.settings import Settings
from indexing.bundle.bundle import Bundle
from indexing.publishing import publication
from lake.snapshot import LakeSnapshot
from models.errors import ModelError
from serving.response.response import Item, RetrieverResponse, Why
from serving.retriever import Retriever

COUNT = 20
_HISTORY_SHOWN = 8
_COLUMNS = ("user_id", "country", "history_title_ids", "history_weights", "history_ages_days")


@dataclass(frozen=True)
class ShownUser:
    """A user of the lake; history entries are (title id, weight, age in days), the newest first."""

    user_id: str
    country: str | None
    history: Sequence[tuple[int, float, float]]


def find_user(settings: Settings, user_id: str | None) -> ShownUser:
    """The user with that id, or one whose history has the median length. Raises ModelError where there is none."""
    snapshot = LakeSnapshot.pin(settings.lake.root, ["training_users"])
    rows = snapshot.read("training_users", _COLUMNS)
    users = [_shown_user(row) for row in rows.to_pylist() if user_id in (None, row["user_id"])]
    if not users:
        raise ModelError(f"{snapshot.location('training_users')}: no user {user_id or 'at all'}")
    ordered = sorted(users, key=lambda user: (len(user.history), user.user_id))
    return ordered[len(ordered) // 2]


def three_settings(settings: Mapping[str, float]) -> list[str]:
    """Names of three settings of the dial: the most popular one, the one nearest to 0, the least popular one."""
    ordered = sorted(settings, key=lambda name: -settings[name])
    middle = min(ordered, key=lambda name: abs(settings[name]))
    return list(dict.fromkeys([ordered[0], middle, ordered[-1]]))


def _shown_user(row: Mapping[str, object]) -> ShownUser:
    parts = [np.asarray(row[name]) for name in _COLUMNS[2:]]
    entries = [(int(title), float(weight), float(age)) for title, weight, age in zip(*parts, strict=True) if weight]
    country = row["country"]
    return ShownUser(str(row["user_id"]), None if country is None else str(country), entries)


def print_response(response: RetrieverResponse, dial: str) -> None:
    """Print a list with its reasons as a table."""
    shown = RichTable(title=f"dial {dial}: {response.dial or 0:+.2f}", title_justify="left", expand=True)
    shown.add_column("", justify="right")
    shown.add_column("title", ratio=4)
    shown.add_column("score", justify="right")
    shown.add_column("because of", ratio=4)
    shown.add_column("which share", ratio=4)
    for item in response.items:
        shown.add_row(str(item.rank), _format_title(item), f"{item.score:.2f}", *_format_reasons(item.why))
    command_line.console().print(shown)
    if response.note:
        print(response.note)


def _format_title(item: Item) -> str:
    details = ", ".join(part for part in (str(item.release_year or ""), "not yet out" * item.is_unreleased) if part)
    return f"{item.title} ({details})" if details else item.title


def _format_reasons(why: Why | None) -> tuple[str, str]:
    if why is None:
        return "", ""
    return ", ".join(reason.title for reason in why.titles[:2]), ", ".join([*why.genres, *why.themes, *why.people][:4])


def print_locations(settings: Settings, bundle: Bundle, ds: date) -> None:
    """Print where the bundle, the pages and MLflow are, and how to open them."""
    folder = Path(settings.report.root) / ds.isoformat()
    pages = [page for page in (folder / "report.html", folder / "gate.html") if page.exists()]
    counts = bundle.manifest.counts
    print(f"\nbundle   {bundle.folder}: {counts.candidates:,} titles, model version {bundle.manifest.model.version}")
    print("         check it: python -m indexing.verify; serve it: python -m serving.server")
    for page in pages:
        print(f"page     file://{page}")
    print(f"MLflow   mlflow server --backend-store-uri {settings.mlflow.tracking_uri} --host 127.0.0.1 --port 5000")
    print("Airflow  make airflow")


def work(settings: Settings, arguments: Namespace) -> None:
    opened = publication.open_live(publication.store_of(settings))
    user = find_user(settings, arguments.user)
    retriever = Retriever(opened, settings.serving)
    titles = dict(zip(opened.title_ids.tolist(), opened.titles["title"].to_pylist(), strict=True))
    liked = [titles.get(title, f"title {title}") for title, weight, _ in user.history if weight > 0]
    country = user.country or "no known country"
    print(f"user {user.user_id} in {country} liked {len(liked)} titles, most recently")
    print(", ".join(liked[:_HISTORY_SHOWN]) + "\n")
    for dial in three_settings(opened.manifest.dial.settings):
        response = retriever.recommend(user.history, dial=dial, k=arguments.k)
        print_response(response, dial)
    print_locations(settings, opened, arguments.ds)


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--ds", type=date.fromisoformat, required=True, metavar="DATE", help="the night")
    parser.add_argument("--user", metavar="ID", help="a user with a history; default: one of median length")
    parser.add_argument("--k", type=int, default=COUNT, metavar="N", help=f"titles per list; default: {COUNT}")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
