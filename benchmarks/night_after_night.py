"""Play five nights under Airflow over a small simulated guide, and what goes wrong on some of them.

Reads nothing but the settings; writes feeds, lake, bundles, models and reports below --out, which is replaced, and
prints a line per expectation. Exit code 0 where all hold, 1 where one does not. Some 40 minutes on two cores.

  every night   titles released on its day are in the live bundle, and some are recommended to somebody
  2             its feeds are broken at first: the night fails and changes nothing
  3             its training set is poisoned at first (titles shuffled): the gate says no, and nothing is promoted
  4             killed in staging, in training and in building the index, and run again each time
  5             run twice: the second run changes nothing
"""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from conf import command_line
from conf.loader import load_settings
from conf.run_airflow import ROOT
from conf.settings import Settings
from indexing.publishing import pointer, publication
from lake.gate_results import TABLE as GATE_RESULTS
from lake.model_names import REGISTERED_MODEL
from models.errors import ModelError
from models.gating import gate_results
from models.tracking import registry

DAYS_BEFORE, NIGHTS = 10, 5
KILLED_IN = ("staging", "train", "build_index")
SMALL = (
    "simulate.users=500",
    "simulate.titles=400",
    "simulate.sessions_per_user_day=1.0",
    "spark.conf.spark.driver.memory=2g",
)
_WAIT_SECONDS = 1200


@dataclass
class Play:
    """The nights' folder and settings, and what came of each expectation."""

    out: Path
    settings: Settings
    options: Sequence[str]
    failed: list[str] = field(default_factory=list)

    def expect(self, holds: bool, what: str) -> None:
        print(f"{'yes' if holds else 'NO '}  {what}", flush=True)
        if not holds:
            self.failed.append(what)

    def night(self, ds: date) -> int:
        """The exit code of a whole night."""
        return subprocess.run(self._command(ds), cwd=ROOT, stdout=self._log(), stderr=subprocess.STDOUT).returncode

    def command(self, *arguments: str) -> int:
        """The exit code of `python -m …` with the nights' settings."""
        command = [sys.executable, "-m", *arguments, *self.options]
        return subprocess.run(command, cwd=ROOT, stdout=self._log(), stderr=subprocess.STDOUT).returncode

    def kill_in(self, task: str, ds: date) -> None:
        """Start a night and kill all its processes while a task is at work."""
        log = self.out / "killed.log"
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                self._command(ds), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
            deadline = time.monotonic() + _WAIT_SECONDS
            while f"starting task_id={task}" not in log.read_text(encoding="utf-8", errors="replace"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ModelError(f"the night never came to {task}; see {log}")
                time.sleep(0.5)
            time.sleep(8)  # into its work: a start of Spark or TensorFlow takes as long
            _kill(process.pid)
            process.wait()

    def _command(self, ds: date) -> list[str]:
        return [sys.executable, "-m", "conf.run_airflow", "--ds", str(ds), *self.options]

    def _log(self) -> int:
        self.out.mkdir(parents=True, exist_ok=True)
        return os.open(self.out / "nights.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _kill(session: int) -> None:
    """Kill a process and all that it started, those included that lead groups of their own."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(parent) for pid, parent in (line.split() for line in table.splitlines())}
    doomed = {session}
    while more := {pid for pid, parent in parents.items() if parent in doomed} - doomed:
        doomed |= more
    for pid in sorted(doomed, reverse=True):
        with _already_gone():
            os.kill(pid, signal.SIGKILL)


@contextmanager
def _already_gone() -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        return


def state(settings: Settings) -> Mapping[str, object]:
    """What a night may change: which bundle is live, the champion, models, and the derived tables' rows."""
    live = publication.store_of(settings).read(pointer.KEY)
    champion = registry.champion_or_none(settings)
    models = registry.client(settings).search_model_versions(f"name = '{REGISTERED_MODEL}'")
    return {
        "live": live and live[0],
        "champion": champion and champion.version,
        "models": len(models),
        "built": _rows(settings, "built_days"),
        "verdicts": _rows(settings, GATE_RESULTS.name),
    }


def _rows(settings: Settings, table: str) -> list[str]:
    location = f"{settings.lake.root}/{table}"
    if not DeltaTable.is_deltatable(location):
        return []
    return sorted(map(repr, DeltaTable(location).to_pyarrow_table().to_pylist()))


def bring_feeds(play: Play, nights: int) -> date:
    """Add the feeds of one more day, and the catalogue as of it; that day."""
    fresh, feeds = play.out / "fresh", Path(play.settings.feeds.root)
    shutil.rmtree(fresh, ignore_errors=True)
    count = DAYS_BEFORE + nights
    done = play.command("jobs.sources.simulate", "--out", str(fresh), "--set", f"simulate.days={count}")
    if done:
        raise ModelError(f"the simulator ended with code {done}")
    for folder in sorted((fresh / "events").iterdir()):
        if not (feeds / "events" / folder.name).exists():
            shutil.copytree(folder, feeds / "events" / folder.name)
    for feed in ("titles", "offers", "consents", "erasures", "posters"):
        shutil.copytree(fresh / feed, feeds / feed, dirs_exist_ok=True)
    return play.settings.simulate.first_day + timedelta(days=count - 1)


def released_on(settings: Settings, ds: date) -> set[int]:
    """Titles that came out on a day."""
    titles = Path(settings.feeds.root) / "titles" / "titles.jsonl.gz"
    with gzip.open(titles, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return {row["title_id"] for row in rows if row.get("release_date") == str(ds)}


def expect_new_titles(play: Play, ds: date) -> None:
    """Titles of the day are served and recommended the next morning."""
    new = released_on(play.settings, ds)
    opened = publication.open_live(publication.store_of(play.settings))
    candidates = set(opened.title_ids[: opened.manifest.counts.candidates].tolist())
    play.expect(new <= candidates, f"{ds}: all {len(new)} titles released on it are in the live bundle")
    rows = DeltaTable(f"{play.settings.lake.root}/recommendations").to_pyarrow_table(columns=["title_id"])
    recommended = new & set(rows["title_id"].to_pylist())
    play.expect(bool(recommended) or not new, f"{ds}: {len(recommended)} of them are recommended to somebody")


def broken_feeds(play: Play, ds: date) -> None:
    """A day whose lines are no JSON: the night fails and leaves all as it was."""
    folder = Path(play.settings.feeds.root) / "events" / f"event_date={ds}"
    good = play.out / "good"
    shutil.copytree(folder, good)
    for file in folder.glob("*.gz"):
        file.write_bytes(gzip.compress(b"no event\n" * 1000, mtime=0))
    before = state(play.settings)
    play.expect(play.night(ds) != 0, f"{ds}: a night with broken feeds fails")
    play.expect(state(play.settings) == before, f"{ds}: and changes nothing")
    shutil.rmtree(folder)
    shutil.copytree(good, folder)


def poisoned(play: Play, ds: date) -> None:
    """Training examples whose titles are shuffled among users: the gate says no."""
    play.expect(play.command("jobs.backfill", "--to", str(ds), "--skip-complete") == 0, f"{ds}: the lake is built")
    location = f"{play.settings.lake.root}/training_examples"
    rows = DeltaTable(location).to_pyarrow_table(filters=[("split", "=", "train")])
    shuffled = np.random.default_rng(play.settings.seed).permutation(rows["title_id"].to_numpy())
    place = rows.schema.get_field_index("title_id")
    bad = rows.set_column(place, rows.schema.field(place), pa.array(shuffled))
    write_deltalake(location, bad, mode="overwrite", predicate="split = 'train'")
    before = state(play.settings)
    ended = [play.command("models.train")]
    ended += [play.command(name, "--ds", str(ds)) for name in ("models.evaluate_night", "models.gate")]
    ended.append(play.command("indexing.promote", "promote", "--ds", str(ds)))
    play.expect(ended == [0, 0, 3, 3], f"{ds}: the gate stops a model of shuffled labels (exit codes {ended})")
    after = state(play.settings)
    same = all(before[name] == after[name] for name in ("live", "champion"))
    play.expect(same, f"{ds}: bundle and champion are as before")
    again = play.command("jobs.backfill", "--to", str(ds), "--only", "training_examples", "training_users")
    play.expect(again == 0, f"{ds}: the examples are built again")


def killed(play: Play, ds: date) -> None:
    """A night that was killed in a task and run again ends as any other."""
    for task in KILLED_IN:
        play.kill_in(task, ds)
        print(f"     {ds}: killed in {task}", flush=True)


def run_twice(play: Play, ds: date) -> None:
    """A second run finds everything done."""
    before = state(play.settings)
    play.expect(play.night(ds) == 0, f"{ds}: the night can be run again")
    after = state(play.settings)
    changed = [name for name, value in before.items() if after[name] != value]
    play.expect(not changed, f"{ds}: and changes nothing{': ' + ', '.join(changed) if changed else ''}")


def work(settings: Settings, arguments: Namespace) -> int:
    out = arguments.out.absolute()
    shutil.rmtree(out, ignore_errors=True)
    keys = {
        **{"feeds.root": out / "feeds", "feeds.posters_dir": out / "feeds" / "posters", "lake.root": out / "lake"},
        **{"bundles.root": out / "lake" / "bundles", "report.root": out / "reports", "airflow.home": out / "airflow"},
        **{"mlflow.tracking_uri": f"sqlite:///{out}/mlflow.db", "mlflow.artifacts_root": out / "mlartifacts"},
        **{"airflow.database_uri": f"sqlite:///{out}/airflow/airflow.db", "training.checkpoints": out / "checkpoints"},
        **{"airflow.retries": 0, "airflow.feeds_timeout_seconds": 1},
    }
    changes = [*(f"{key}={value}" for key, value in keys.items()), *SMALL, *arguments.overrides]
    play = Play(out, load_settings(arguments.conf, changes), [part for own in changes for part in ("--set", own)])
    (out / "feeds" / "events").mkdir(parents=True)
    before_night = {2: broken_feeds, 3: poisoned, 4: killed}
    for number in range(1, NIGHTS + 1):
        ds = bring_feeds(play, number)
        if number in before_night:
            before_night[number](play, ds)
        play.expect(play.night(ds) == 0, f"{ds}: night {number} ends well")
        for verdict in gate_results.read(play.settings.lake.root, ds):
            print(f"     {ds}: {verdict.decision} {verdict.model}: {verdict.why}", flush=True)
        expect_new_titles(play, ds)
    run_twice(play, ds)
    print(f"{len(play.failed)} expectations failed" if play.failed else "all expectations hold")
    return 1 if play.failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/nights"), metavar="FOLDER", help="default: data/nights")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
