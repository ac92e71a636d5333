"""Every command of the documents: cheap ones run over one small lake, all others are parsed.

All: the module, script or make target exists, and its own parser takes exactly the arguments that the document gives.
RUN: run, in this process and on one Spark, over a simulated guide of a few dozen people. SERVED: started as a process
of its own, asked once, stopped. PARSED: not run here, with the test that does it elsewhere, or why none does. So
are commands that want a cluster or object storage: those are run by hand, as docs/cluster.md has them.

A command that none of the three names fails the test, and so does a name that no document has any more.
"""

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from datetime import date
from io import StringIO
from pathlib import Path
from textwrap import dedent

import pyarrow as pa
import pyarrow.compute as pc
import pyspark
import pytest
from pyarrow import csv
from pyspark.sql import SparkSession

from conf import command_line
from conf.loader import load_settings
from conf.settings import Settings
from jobs import erase, stg_consents, stg_events, stg_offers, stg_titles
from jobs.store import catalog
from lake import delta_log
from tests.ports import free_port
from tests.processes import ask, make, own_environment, started

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = {
    file.name: re.sub(r"^```.*?^```", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for file in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
}
ALL_TEXT = "\n".join(DOCUMENTS.values())
# Commands of the other documents are variants of these.
RUN_FROM = ("README.md", "commands.md", "data.md")
PROGRAMS = ("python", "spark-submit", "spark-class", "make", "mlflow", "moto_server", "curl")
DAY = "2024-05-14"  # the newest of the simulated days, and of the documents'

RUN = (
    *("jobs.backfill", "jobs.check_feeds", "jobs.stg_events", "jobs.describe", "jobs.erase", "jobs.maintain"),
    *("jobs.recommend", "jobs.sources.movielens", "jobs.sources.simulate", "jobs.training_examples"),
    *("models.ablation", "models.dial", "models.evaluate", "models.evaluate_night", "models.gate", "models.neighbours"),
    *("models.position_bias", "models.readiness", "models.backtest", "models.train", "models.true_taste"),
    "models.tune_als",
    *("indexing.build", "indexing.drill", "indexing.promote", "indexing.publish", "indexing.reproduce"),
    *("indexing.retention", "indexing.rollback", "indexing.verify", "serving.show", "review.report"),
)
# Arguments that come after a document's.
SMALLER = {
    "models.tune_als": ["--random", "2", "--climbs", "1", "--max-trials", "3"],
    "models.backtest": ["--step-days", "9"],
}
SERVED = ("serving.server", "curl", "mlflow", "moto_server", "python -c")
PARSED = {
    "spark-submit": "tests/jobs/test_command_lines.py submits a job to a JVM of its own",
    "spark-class": "tests/jobs/test_recommend.py starts a master and two workers, where MARQUEE_CLUSTER_TESTS is set",
    "conf.run_airflow": "tests/dags/test_night.py runs a night; another takes minutes",
    "make airflow": "tests/dags/test_night.py asks it whether it is well",
    "make env": "it built what runs this",
    "make run": "minutes: a night under Airflow, of which tests/dags/test_night.py runs one without feeds",
    "make test": "it is what runs this",
    "make check": "a part of `make test`",
    "conf.document": "tests/conf/test_document.py compares what it writes",
    "benchmarks.equality": "tests/benchmarks/test_equality.py",
    "make lock": "asks the package index for all versions anew",
    "make minilm": "fetches weights of 90 MB",
    "benchmarks.lake": "tests/benchmarks/test_lake.py runs its parts at tiny sizes",
    "benchmarks.features": "tests/benchmarks/test_features.py",
    "benchmarks.training": "tests/benchmarks/test_training.py",
    "benchmarks.strategies": "tests/benchmarks/test_strategies.py",
    "benchmarks.index_build": "tests/benchmarks/test_index_build.py",
    "benchmarks.index": "minutes an engine; its parts run on what tests/indexing/test_scann_index.py tests",
    "benchmarks.swaps": "minutes of load; tests/indexing/test_live.py and test_server.py swap bundles under requests",
    "benchmarks.night_after_night": "half an hour of nights",
}

SETTINGS = {
    **{"simulate.users": 80, "simulate.titles": 120, "simulate.sessions_per_user_day": 1.5},
    "simulate.impressions_per_session": 4,  # each is a row, and nothing here needs more
    **{"title_features.text.dims": 8, "vocabulary_min_counts.person": 1},
    **{"model.dim": 16, "training.epochs": 2, "training.users_per_batch": 32, "training.reader_threads": 1},
    **{"baselines.als.factors": 8, "baselines.als.iterations": 5},
    **{"model.als.factors": 8, "model.als.iterations": 5},
    **{"evaluation.k": "[5]", "evaluation.resamples": 20, "gate.min_users": 5},
    **{"dial.values": "[-0.5,0.0,0.5]"},
    **{"index.queries": 16, "report.users": 1},
}
# The small guide: fourteen days, all tables, a champion of two bundles, of which the second is live, and a challenger
# with a bundle.
BUILD_AND_PUBLISH = ("python -m indexing.build --model challenger", "python -m indexing.publish")
MADE_BY = (
    *("python -m jobs.sources.simulate", "python -m jobs.backfill --skip-complete", "python -m models.train"),
    *(*BUILD_AND_PUBLISH, *BUILD_AND_PUBLISH, "python -m indexing.promote align"),
    *("python -m models.train --set model.temperature=0.12", BUILD_AND_PUBLISH[0]),
)
# These run on copies, since what they change is read by others.
APART = ("jobs.erase", "jobs.maintain", "models.train", "indexing.rollback", "indexing.promote")
# Of which erasing and maintaining get few tables: each takes seconds of Spark.
COPIED = {"jobs.erase": ("stg_events", "rejected_rows"), "jobs.maintain": ("stg_events", "gate_results")}
# What a command finds done already, in the order of docs/commands.md.
BEFORE = {
    "models.gate": [f"python -m models.evaluate_night --ds {DAY}"],
    "jobs.maintain": [f"python -m models.gate --ds {DAY}"],
    "indexing.promote": [f"python -m models.gate --ds {DAY} --override --why 'the night is known to be short'"],
}


def command_lines(text: str) -> list[str]:
    """The commands of a Markdown text: indented lines, and what stands between backticks, that begin with a program.

    Without comments; a line that ends in a backslash goes on in the next.
    """
    quoted = re.findall(r"`((?:python -m|make|spark-submit|mlflow) [^`]+)`", text.replace("\n", " "))
    found = [line for line in [*indented_lines(text), *quoted] if line.split()[0] in PROGRAMS]
    return list(dict.fromkeys(shlex.join(shlex.split(line, comments=True)) for line in found))


def indented_lines(text: str) -> list[str]:
    """Those of code, without their indentation."""
    return re.findall(r"^ {4,}(\S.*)$", text.replace("\\\n", " "), re.MULTILINE)


def name_of(command: str) -> str:
    """What RUN, SERVED and PARSED call a command: a module, a make target, a program."""
    words = shlex.split(command)
    if words[:2] == ["python", "-m"]:
        return words[2]
    return " ".join(words[:2]) if words[0] in ("make", "python") else words[0]


COMMANDS = command_lines(ALL_TEXT)
TO_RUN = command_lines("\n".join(DOCUMENTS[name] for name in RUN_FROM))
MODULES = [command for command in COMMANDS if command.startswith("python -m ")]


def test_command_lines_are_found() -> None:
    text = "Try `make  run`, `python`.\n\n    make run   # all\n    python -m a.b --x 'y z' \\\n        --w\n    ls\n"
    assert command_lines(text) == ["make run", "python -m a.b --x 'y z' --w"]
    assert [name_of(command) for command in command_lines(text)] == ["make run", "a.b"]


def test_every_command_is_named_once_and_no_other() -> None:
    named = [*RUN, *SERVED, *PARSED]
    assert len(set(named)) == len(named)
    assert sorted({name_of(command) for command in COMMANDS}) == sorted(named)


def test_no_other_line_could_be_a_command() -> None:
    """Other indented lines are the snippet, exported variables, and lines of feeds."""
    known = {line.strip() for line in snippet().split("\n")}
    others = [line for line in indented_lines(ALL_TEXT) if line.split()[0] not in PROGRAMS]
    unknown = [line for line in others if not line.startswith(("{", "export ")) and line not in known]
    assert unknown == []


def snippet() -> str:
    """The one piece of Python."""
    [found] = re.findall(r"^    from serving.*(?:\n(?:    .*)?)+", README, re.MULTILINE)
    return dedent(found).strip()


def exit_code(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Of a `python -m` command that is parsed by its module's own parser, and its settings; its work is not done.

    SystemExit or an error where it can't be parsed.
    """
    parsed = []

    def parse(parser: object, work: object, argv: Sequence[str], failures: object = ()) -> int:
        arguments = parser.parse_args(argv)
        load_settings(arguments.conf, arguments.overrides)
        parsed.append(arguments)
        return 0

    monkeypatch.setattr(command_line, "run", parse)
    words = shlex.split(command)
    code = importlib.import_module(words[2]).main(words[3:])
    assert len(parsed) == 1
    return code


@pytest.mark.parametrize("command", MODULES)
def test_module_takes_the_arguments(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(command, monkeypatch) == 0


@pytest.mark.parametrize(
    "command", ["python -m jobs.stg_event --ds 2024-05-01", "python -m models.train --fast", "python -m models.gate"]
)
def test_wrong_commands_are_not_taken(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((ModuleNotFoundError, SystemExit)):
        exit_code(command, monkeypatch)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("spark-submit ")])
def test_submitted_script_takes_the_arguments(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command)[1:]
    place = next(n for n, word in enumerate(words) if word.endswith(".py"))
    assert set(words[:place:2]) <= {"--master", "--conf", "--packages", "--deploy-mode"}
    script = Path(words[place])
    assert (ROOT / script).is_file()
    module = ".".join(script.with_suffix("").parts)
    assert exit_code(shlex.join(["python", "-m", module, *words[place + 1 :]]), monkeypatch) == 0


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("spark-class ")])
def test_daemon_is_one_of_sparks(command: str) -> None:
    [core] = (Path(pyspark.__file__).parent / "jars").glob("spark-core_*.jar")
    with zipfile.ZipFile(core) as jar:
        assert f"{shlex.split(command)[1].replace('.', '/')}.class" in jar.namelist()


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_target_is_there_and_what_it_runs_is_taken(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, *variables = shlex.split(command)[1:]
    dry = subprocess.run(
        make("--dry-run", target, *variables), env=own_environment(), capture_output=True, text=True, timeout=60
    )
    assert dry.returncode == 0, dry.stderr
    for variable in variables:  # one that the Makefile doesn't know would be passed over
        _, _, value = variable.partition("=")
        assert all(part in dry.stdout for part in value.split()), variable
    folders = "|".join(path.name for path in ROOT.iterdir() if (path / "__init__.py").exists())
    for found in re.findall(rf"python -m (?:{folders})\.[^&|;)\n]+", dry.stdout):
        assert exit_code(found.replace("$day", DAY), monkeypatch) == 0


@dataclass(frozen=True)
class Guide:
    """A simulated guide whose lake, models and bundles are in one folder; by command, the exit code it ended with."""

    folder: Path
    ended: dict[str, int]

    def settings(self, apart: Path | None = None) -> list[str]:
        """Arguments that put all that is read and written here; what changes it into a folder `apart`."""
        changing = apart or self.folder
        values = {
            **{"feeds.root": f"{self.folder}/feeds", "feeds.posters_dir": f"{self.folder}/feeds/posters"},
            **{"lake.root": f"{changing}/lake", "bundles.root": f"{changing}/lake/bundles"},
            **{"mlflow.tracking_uri": f"sqlite:///{changing}/mlflow.db"},
            **{"mlflow.artifacts_root": f"{self.folder}/artifacts", "training.checkpoints": f"{self.folder}/partial"},
            **{"report.root": f"{self.folder}/reports", "bundles.copies": f"{self.folder}/copies"},
            **SETTINGS,
        }
        return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]

    def run(self, command: str) -> int:
        """The exit code of a `python -m` command here, run once however often it is asked for."""
        if command not in self.ended:
            module = name_of(command)
            for other in BEFORE.get(module, ()):
                self.run(other)
            apart = self._copy(module, f"apart{len(self.ended)}") if module in APART else None
            words = [self._real(word) for word in shlex.split(command)[3:]]
            argv = [*words, *SMALLER.get(module, ()), *self.settings(apart)]
            self.ended[command] = importlib.import_module(module).main(argv)
        return self.ended[command]

    def _copy(self, module: str, name: str) -> Path:
        target = self.folder / name
        for table in COPIED.get(module, ("",)):
            shutil.copytree(self.folder / "lake" / table, target / "lake" / table)
        shutil.copy(self.folder / "mlflow.db", target)
        return target

    def _real(self, word: str) -> str:
        """What stands here where a document has something of the reader's own."""
        folder, liked = self.folder, self.titles()
        places = {
            **{"my/ml-25m": folder / "movielens", "my/truth.csv": folder / "asked.csv"},
            **{"my/candidates.csv": folder / "asked.csv", "data/feeds/truth": folder / "feeds" / "truth"},
            "data/feeds/truth/position_bias.json": folder / "feeds" / "truth" / "position_bias.json",
            **{"Toy Story": liked[0], "Heat (1995)": liked[1]},
        }
        return str(places.get(word, folder / f"out{len(self.ended)}" if word.startswith("my/") else word))

    def titles(self) -> list[str]:
        """Names of titles, the most liked first."""
        lake = self.folder / "lake"
        liked = Counter(read(lake / "training_examples")["title_id"].to_pylist())
        staged = read(lake / "stg_titles")
        names = dict(zip(staged["title_id"].to_pylist(), staged["title"].to_pylist(), strict=True))
        return [names[title] for title, _ in liked.most_common()]


def read(location: Path) -> pa.Table:
    return delta_log.read(delta_log.load(str(location)))


@pytest.fixture(scope="module")
def guide(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guide]:
    """What MADE_BY makes, in this process and on the tests' Spark."""
    made = Guide(tmp_path_factory.mktemp("guide"), {})
    movielens = made.folder / "movielens"
    movielens.mkdir()
    (movielens / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,7,4.0,964982703\n")
    (movielens / "movies.csv").write_text("movieId,title,genres\n7,Heat (1995),Action|Crime\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in RUN:
            importlib.import_module(name)
        jobs = [name for name in sys.modules if name.startswith("jobs.")]
        for name in [name for name in jobs if hasattr(sys.modules[name], "spark_session")]:
            patch.setattr(f"{name}.spark_session", lambda *_: nullcontext(spark))
        for command in MADE_BY:
            words = shlex.split(command)[3:]
            assert importlib.import_module(name_of(command)).main([*words, *made.settings()]) == 0
            made.ended[command] = 0
        held_out = read(made.folder / "lake" / "training_examples").filter(pc.field("split") == "test")
        csv.write_csv(held_out.select(["user_id", "title_id"]), made.folder / "asked.csv")
        yield made


def runs_here(command: str) -> bool:
    """Whether a command of RUN needs neither a cluster nor object storage."""
    return name_of(command) in RUN and "conf/cluster.yaml" not in command and "spark.master" not in command


@pytest.mark.parametrize("command", [command for command in TO_RUN if runs_here(command)])
def test_command_runs(command: str, guide: Guide) -> None:
    said_no = 3
    assert guide.run(command) in ((0, said_no) if name_of(command) == "models.gate" else (0,))


def test_snippet_runs(guide: Guide) -> None:
    assert len([line for line in snippet().splitlines() if line]) == 5
    here = snippet().replace('"data/lake/bundles"', repr(f"{guide.folder}/lake/bundles"))
    assert here != snippet()
    with redirect_stdout(StringIO()) as said:
        exec(here, {})
    assert said.getvalue().count("\n") > 5


@pytest.mark.parametrize("feed", ["events", "titles", "offers", "consents", "erasures"])
@pytest.mark.usefixtures("spark")
def test_example_lines_are_good(feed: str, judge: Callable[..., dict[str, str | None]]) -> None:
    declared = {
        **{"events": stg_events.feed_spec(load_settings().staging), "titles": stg_titles.feed_spec()},
        **{"offers": stg_offers.feed_spec(), "consents": stg_consents.feed_spec(), "erasures": erase.feed_spec()},
    }
    lines = re.findall(r"^    (\{.*\})$", DOCUMENTS["data.md"], re.MULTILINE)
    own = {line: line for line in lines if feed_of(json.loads(line)) == feed}
    assert own
    assert judge(declared[feed], own, feed_date=date(2024, 5, 14)) == dict.fromkeys(own)


def feed_of(row: dict[str, object]) -> str:
    """By a field that only that feed has."""
    fields = {
        **{"event_id": "events", "title": "titles", "monetization_type": "offers", "marketing": "consents"},
        "requested_at": "erasures",
    }
    [found] = [feed for field, feed in fields.items() if field in row]
    return found


def test_tables_are_those_of_the_catalogue() -> None:
    section = DOCUMENTS["data.md"].split("\n## Tables\n")[1].split("\n## ")[0]
    named = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(named) == sorted(table.name for table in (*catalog.TABLES, *catalog.NIGHT_TABLES))


def is_file_or_module(name: str) -> bool:
    """`gate.html` and `serving.server` are named as keys are."""
    return name.endswith((".html", ".safetensors")) or (ROOT / name.replace(".", "/")).with_suffix(".py").exists()


def test_keys_are_those_of_the_settings() -> None:
    moved_keys = DOCUMENTS["configuration.md"].split("\n## Keys of earlier versions\n")[1]
    keys = [
        key
        for key in re.findall(r"`([a-z_]+(?:\.[a-z0-9_]+)+)`", ALL_TEXT.replace(moved_keys, ""))
        if key.split(".")[0] in Settings.model_fields and not is_file_or_module(key)
    ]
    assert len(keys) > 30
    settings = load_settings().model_dump(warnings=False)
    for key in keys:
        value: object = settings
        for part in key.split("."):
            assert isinstance(value, Mapping), key
            assert part in value, key
            value = value[part]


def the_one(name: str) -> list[str]:
    """The words of the one command of that name."""
    [command] = [command for command in COMMANDS if name_of(command) == name]
    return shlex.split(command)


def program(name: str) -> str:
    """Of this environment."""
    return str(Path(sys.executable).parent / name)


def test_server_answers_what_curl_asks(guide: Guide) -> None:
    port = str(free_port())
    words = [sys.executable, *the_one("serving.server")[1:], *guide.settings(), "--port", port]
    _, _, url, _, header, _, body = the_one("curl")
    assert url.startswith("http://127.0.0.1:8000/")
    assert the_one("serving.server")[-2:] == ["--port", "8000"]
    request = urllib.request.Request(url.replace(":8000", f":{port}"), body.encode(), dict([header.split(": ")]))
    with started(words) as process:
        answer = json.loads(ask(process, request))
    assert len(answer["items"]) == json.loads(body)["k"]


def test_mlflow_shows_the_runs(guide: Guide) -> None:
    words = the_one("mlflow")
    assert words[2:] == ["--backend-store-uri", load_settings().mlflow.tracking_uri]
    port = str(free_port())
    own = ["--backend-store-uri", f"sqlite:///{guide.folder}/mlflow.db", "--port", port, "--workers", "1"]
    with started([program("mlflow"), *words[1:2], *own]) as process:
        assert b"MLflow" in ask(process, f"http://127.0.0.1:{port}/")


def test_object_storage_takes_the_feeds(tmp_path: Path) -> None:
    (tmp_path / "data" / "feeds" / "titles").mkdir(parents=True)
    (tmp_path / "data" / "feeds" / "titles" / "titles.jsonl").write_text("{}\n")
    port = str(free_port())
    [exported] = re.findall(r"^    export (.*)$", ALL_TEXT, re.MULTILINE)
    told = dict(word.split("=", 1) for word in exported.replace(":5555", f":{port}").split())
    assert the_one("moto_server")[-1] == "5555"
    with started([program("moto_server"), *the_one("moto_server")[1:], "-p", port]) as process:
        assert b"ListAllMyBucketsResult" in ask(process, told["AWS_ENDPOINT_URL"])
        for command in COMMANDS:
            if name_of(command) == "python -c":
                words = [sys.executable, *shlex.split(command)[1:]]
                subprocess.run(words, cwd=tmp_path, env={**os.environ, **told}, check=True, timeout=120)
        listed = ask(process, f"{told['AWS_ENDPOINT_URL']}/marquee?list-type=2")
    assert b"<Key>feeds/titles/titles.jsonl</Key>" in listed
