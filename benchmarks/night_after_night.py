"""Run five nights under Airflow over a small simulated guide, with a failure in some of them.

Reads only the settings; writes feeds, lake, bundles, models and reports below --out, which is replaced, and prints a
line per expectation. Exit code 0 if all hold, else 1. Takes some 40 minutes on two cores.

  every night   titles released on its day are in the live bundle, and some are recommended
  2             first with broken feeds: the night fails and changes nothing
  3             first with a poisoned training set (shuffled titles): the gate says no, and nothing is promoted
  4             killed in staging, in training and in building the index, and run again
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
class Nights:
    """The nights' folder and settings, and the expectations that failed."""

    out: Path
    settings: Settings
    options: Sequence[str]
    failed: list[str] = field(default_factory=list)

    def expect(self, holds: bool, expectation: str) -> None:
        print(f"{'yes' if holds else 'NO '}  {expectation}", flush=True)
        if not holds:
            self.failed.append(expectation)

    def night(self, ds: date) -> int:
        """Run a whole night; returns its exit code."""
        return subprocess.run(self._command(ds), cwd=ROOT, stdout=self._log(), stderr=subprocess.STDOUT).returncode

    def command(self, *arguments: str) -> int:
        """Run `python -m …` with the nights' settings; returns its exit code."""
        command = [sys.executable, "-m", *arguments, *self.options]
        return subprocess.run(command, cwd=ROOT, stdout=self._log(), stderr=subprocess.STDOUT).returncode

    def kill_in(self, task: str, ds: date) -> None:
        """Start a night and kill all its processes while a task runs."""
        log = self.out / "killed.log"
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                self._command(ds), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
            deadline = time.monotonic() + _WAIT_SECONDS
            while f"starting task_id={task}" not in log.read_text(encoding="utf-8", errors="replace"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ModelError(f"the night did not reach {task}; see {log}")
                time.sleep(0.5)
            time.sleep(8)  # past the start of Spark or TensorFlow
            _kill(process.pid)
            process.wait()

    def _command(self, ds: date) -> list[str]:
        return [sys.executable, "-m", "conf.run_airflow", "--ds", str(ds), *self.options]

    def _log(self) -> int:
        self.out.mkdir(parents=True, exist_ok=True)
        return os.open(self.out / "nights.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _kill(session: int) -> None:
    """Kill a process and all its descendants, also those that lead their own process groups."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(parent) for pid, parent in (line.split() for line in table.splitlines())}
    descendants = {session}
    while more := {pid for pid, parent in parents.items() if parent in descendants} - descendants:
        descendants |= more
    for pid in sorted(descendants, reverse=True):
        with _already_gone():
            os.kill(pid, signal.SIGKILL)


@contextmanager
def _already_gone() -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        return


def state(settings: Settings) -> Mapping[str, object]:
    """The state that a night may change: the live bundle, the champion, the models and the tables' ledgers."""
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


def bring_feeds(nights: Nights, count_nights: int) -> date:
    """Add the feeds of one more day and its catalogue; returns the day."""
    fresh, feeds = nights.out / "fresh", Path(nights.settings.feeds.root)
    shutil.rmtree(fresh, ignore_errors=True)
    count = DAYS_BEFORE + count_nights
    done = nights.command("jobs.sources.simulate", "--out", str(fresh), "--set", f"simulate.days={count}")
    if done:
        raise ModelError(f"the simulator ended with code {done}")
    for folder in sorted((fresh / "events").iterdir()):
        if not (feeds / "events" / folder.name).exists():
            shutil.copytree(folder, feeds / "events" / folder.name)
    for feed in ("titles", "offers", "consents", "erasures", "posters"):
        shutil.copytree(fresh / feed, feeds / feed, dirs_exist_ok=True)
    return nights.settings.simulate.first_day + timedelta(days=count - 1)


def released_on(settings: Settings, ds: date) -> set[int]:
    """Ids of titles released on a day."""
    titles = Path(settings.feeds.root) / "titles" / "titles.jsonl.gz"
    with gzip.open(titles, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return {row["title_id"] for row in rows if row.get("release_date") == str(ds)}


def expect_new_titles(nights: Nights, ds: date) -> None:
    """Expect that titles released on the day are served and recommended after the night."""
    new = released_on(nights.settings, ds)
    opened = publication.open_live(publication.store_of(nights.settings))
    candidates = set(opened.title_ids[: opened.manifest.counts.candidates].tolist())
    nights.expect(new <= candidates, f"{ds}: all {len(new)} titles released on it are in the live bundle")
    rows = DeltaTable(f"{nights.settings.lake.root}/recommendations").to_pyarrow_table(columns=["title_id"])
    recommended = new & set(rows["title_id"].to_pylist())
    nights.expect(bool(recommended) or not new, f"{ds}: {len(recommended)} of them are recommended")


def broken_feeds(nights: Nights, ds: date) -> None:
    """Run a night with lines that are not JSON: it fails and changes nothing."""
    folder = Path(nights.settings.feeds.root) / "events" / f"event_date={ds}"
    good = nights.out / "good"
    shutil.copytree(folder, good)
    for file in folder.glob("*.gz"):
        file.write_bytes(gzip.compress(b"no event\n" * 1000, mtime=0))
    before = state(nights.settings)
    nights.expect(nights.night(ds) != 0, f"{ds}: a night with broken feeds fails")
    nights.expect(state(nights.settings) == before, f"{ds}: and changes nothing")
    shutil.rmtree(folder)
    shutil.copytree(good, folder)


def poisoned(nights: Nights, ds: date) -> None:
    """Train on examples whose titles are shuffled among users: the gate says no."""
    nights.expect(nights.command("jobs.backfill", "--to", str(ds), "--skip-complete") == 0, f"{ds}: the lake is built")
    location = f"{nights.settings.lake.root}/training_examples"
    rows = DeltaTable(location).to_pyarrow_table(filters=[("split", "=", "train")])
    shuffled = np.random.default_rng(nights.settings.seed).permutation(rows["title_id"].to_numpy())
    column = rows.schema.get_field_index("title_id")
    bad = rows.set_column(column, rows.schema.field(column), pa.array(shuffled))
    write_deltalake(location, bad, mode="overwrite", predicate="split = 'train'")
    before = state(nights.settings)
    ended = [nights.command("models.train")]
    ended += [nights.command(name, "--ds", str(ds)) for name in ("models.evaluate_night", "models.gate")]
    ended.append(nights.command("indexing.promote", "promote", "--ds", str(ds)))
    nights.expect(ended == [0, 0, 3, 3], f"{ds}: the gate stops a model of shuffled labels (exit codes {ended})")
    after = state(nights.settings)
    same = all(before[name] == after[name] for name in ("live", "champion"))
    nights.expect(same, f"{ds}: bundle and champion are as before")
    again = nights.command("jobs.backfill", "--to", str(ds), "--only", "training_examples", "training_users")
    nights.expect(again == 0, f"{ds}: the examples are built again")


def killed(nights: Nights, ds: date) -> None:
    """Kill the night in each of several tasks; `work` then runs it again."""
    for task in KILLED_IN:
        nights.kill_in(task, ds)
        print(f"     {ds}: killed in {task}", flush=True)


def run_twice(nights: Nights, ds: date) -> None:
    """Run the night again: nothing is left to do."""
    before = state(nights.settings)
    nights.expect(nights.night(ds) == 0, f"{ds}: the night can be run again")
    after = state(nights.settings)
    changed = [name for name, value in before.items() if after[name] != value]
    nights.expect(not changed, f"{ds}: and changes nothing{': ' + ', '.join(changed) if changed else ''}")


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
    nights = Nights(
        out, load_settings(arguments.conf, changes), [part for change in changes for part in ("--set", change)]
    )
    (out / "feeds" / "events").mkdir(parents=True)
    before_night = {2: broken_feeds, 3: poisoned, 4: killed}
    for number in range(1, NIGHTS + 1):
        ds = bring_feeds(nights, number)
        if number in before_night:
            before_night[number](nights, ds)
        nights.expect(nights.night(ds) == 0, f"{ds}: night {number} succeeds")
        for verdict in gate_results.read(nights.settings.lake.root, ds):
            print(f"     {ds}: {verdict.decision} {verdict.model}: {verdict.why}", flush=True)
        expect_new_titles(nights, ds)
    run_twice(nights, ds)
    print(f"{len(nights.failed)} expectations failed" if nights.failed else "all expectations hold")
    return 1 if nights.failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/nights"), metavar="FOLDER", help="default: data/nights")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
