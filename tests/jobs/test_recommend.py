"""Lists for all users on Spark's workers: those of the retriever, without titles that a user has interacted with."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings, with_changes
from indexing.bundle import builder, lake_inputs
from indexing.bundle.builder import BundleSpec
from indexing.bundle.bundle import Bundle
from indexing.bundle.manifest import ModelSource
from indexing.publishing import publication
from jobs import erase, interactions, recommend, user_histories
from jobs.serving import batch_inference, recommendations
from jobs.staging import erasures
from jobs.store import built_days, catalog, tables
from jobs.store.built_days import Built
from lake.snapshot import LakeSnapshot
from serving.retriever import Retriever, UserLists
from serving.user_history import Entry, UserHistory, UserQuery
from tests import arrow_frames
from tests.fixtures.small_bundle import VERSION, SmallModel, write_lake
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
DAY = date(2024, 5, 14)
MIDNIGHT = datetime(2024, 5, 15, tzinfo=UTC)
# By user: title, weight and age in days at the end of DAY, the newest first.
HISTORIES: dict[str, list[tuple[int, float, float]]] = {
    "ann": [(1003, 1.0, 2.0), (1010, 0.6, 5.0), (1040, -1.0, 30.0)],
    "bob": [(1200, 1.0, 1.0)],
    "cut": [(1100, 1.0, 1.0), (1101, 1.0, 2.0), (1102, 1.0, 3.0), (1103, 0.8, 4.0)],
    "foe": [(1001, -1.0, 1.0)],
}
SHORT = {"histories.max_titles": 4, "examples.history_titles": 4, "examples.user_history_titles": 4}
LIST = ("user_id", "rank", "title_id")
FORGOTTEN = {"cut": [1000, 1005]}  # interactions older than the entries of the cut history


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, settings_in: Callable[[Path], Settings]) -> Bundle:
    """300 titles with ids from 1000; even ones are on offer in DE."""
    folder = tmp_path_factory.mktemp("bundle")
    write_lake(folder / "lake")
    settings = with_changes(settings_in(folder), {"index.queries": 32})
    source = ModelSource(name="marquee", version=7, run_id=None, delta_versions={})
    root = settings.lake.root
    spec = BundleSpec(source, LakeSnapshot.pin(root, lake_inputs.TABLES), settings.index, None, None, settings.seed)
    return builder.build(SmallModel(seed=2), spec, folder / "bundles", VERSION)


@pytest.fixture(scope="module")
def lake(
    spark: SparkSession,
    tmp_path_factory: pytest.TempPathFactory,
    settings_in: Callable[[Path], Settings],
    write_table: Callable[..., None],
    small: Bundle,
) -> Settings:
    """A lake with the histories and interactions above, where the small bundle is live."""
    settings = with_changes(settings_in(tmp_path_factory.mktemp("lake")), SHORT)

    def moment(age: float) -> datetime:
        return MIDNIGHT - timedelta(days=age)

    entries = {
        user: [
            {
                **{"event_time": moment(age), "title_id": title, "weight": weight},
                **{"is_opinion": weight < 0, "country": "DE"},
            }
            for title, weight, age in history
        ]
        for user, history in HISTORIES.items()
    }
    histories = [
        {"user_id": user, "ds": DAY, "entries": listed, "count_interactions": len(listed)}
        for user, listed in entries.items()
    ]
    of_day = {"ds": DAY, "known_ds": DAY, "is_opinion": False, "country": "DE", "count_events": 1}
    interacted = [
        {
            **{"user_id": user, "title_id": title, "weight": weight, **of_day},
            **dict.fromkeys(("first_event_time", "last_event_time"), moment(age)),
        }
        for user, history in HISTORIES.items()
        for title, weight, age in [*history, *[(title, 1.0, 9.0) for title in FORGOTTEN.get(user, [])]]
    ]
    write_table(settings, user_histories.TABLE, *histories)
    write_table(settings, interactions.TABLE, *interacted)
    built_days.enter(spark, settings, user_histories.TABLE, {DAY: Built(len(histories), 0, "")})
    shutil.copytree(small.folder, Path(settings.bundles.root) / small.version)
    publication.publish(publication.store_of(settings), None)
    return settings


@pytest.fixture(scope="module")
def run(spark: SparkSession, lake: Settings) -> Iterator[Callable[..., int]]:
    """`run(argument, ...)`: the command over the lake, in the tests' session."""
    values = {"lake.root": lake.lake.root, "bundles.root": lake.bundles.root, **SHORT}
    overrides = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recommend, "spark_session", lambda *_: nullcontext(spark))
        yield lambda *arguments: recommend.main([*overrides, *map(str, arguments)])


@dataclass(frozen=True)
class ForAll:
    """The table after a run for all users, and the folder of its --out."""

    rows: list[tuple[Any, ...]]
    out: Path


@pytest.fixture(scope="module")
def for_all(
    run: Callable[..., int],
    lake: Settings,
    read_rows: Callable[..., list[Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> ForAll:
    out = tmp_path_factory.mktemp("for_all") / "out"
    assert run("--k", 5, "--dial", "popular", "--out", out) == 0
    return ForAll(read_rows(lake, recommendations.TABLE, *LIST, "is_popular", "bundle", "ds"), out)


def lists(rows: Sequence[tuple[Any, ...]]) -> dict[str, list[int]]:
    """Title ids by user, by rank; ranks must count from 1."""
    by_user: dict[str, dict[int, int]] = {}
    for user, rank, title in rows:
        assert rank not in by_user.setdefault(user, {})
        by_user[user][rank] = title
    assert all(sorted(by_rank) == list(range(1, len(by_rank) + 1)) for by_rank in by_user.values())
    return {user: [by_rank[rank] for rank in sorted(by_rank)] for user, by_rank in by_user.items()}


def query_of(user: str) -> UserQuery:
    entries: list[Entry] = list(HISTORIES[user])
    return UserQuery(UserHistory.from_entries(entries), "DE", np.array(FORGOTTEN.get(user, []), dtype=np.int64))


def test_all_users_get_the_lists_of_the_retriever(for_all: ForAll, lake: Settings, small: Bundle) -> None:
    titles = lists([row[:3] for row in for_all.rows])
    queries = {user: query_of(user) for user in ("ann", "bob", "cut", "foe")}
    expected = Retriever(small, lake.serving).recommend_many(list(queries.values()), "popular", 5)
    assert titles == dict(zip(queries, expected.title_ids.tolist(), strict=True))
    assert not {1000, 1005} & set(titles["cut"])
    assert 1001 not in titles["foe"]

    about = {(row[0], *row[3:]) for row in for_all.rows}
    assert about == {(user, user == "foe", VERSION, DAY) for user in HISTORIES}
    written = pd.read_parquet(for_all.out)
    assert list(written.columns) == ["user_id", "rank", "title_id", "score"]
    assert titles == lists(list(written[[*LIST]].itertuples(index=False, name=None)))
    assert np.allclose(written[written.user_id == "bob"].sort_values("rank").score, expected.scores[1], atol=1e-5)


def test_users_titles_and_offers_restrict_the_run_and_others_stay(
    run: Callable[..., int],
    for_all: ForAll,
    lake: Settings,
    small: Bundle,
    read_rows: Callable[..., list[Any]],
    tmp_path: Path,
) -> None:
    before = lists([row[:3] for row in for_all.rows])
    (tmp_path / "users.csv").write_text("user_id,n\nbob,1\nnew,2\nbob,3\n")
    (tmp_path / "titles.csv").write_text("title_id\n1003\n1004\n1006\n1200\n")
    files = ("--users", tmp_path / "users.csv", "--titles", tmp_path / "titles.csv")
    assert run("--k", 9, "--available", *files, "--out", tmp_path / "out") == 0
    after = lists(read_rows(lake, recommendations.TABLE, *LIST))
    # 1003 is not on offer in DE, and bob has seen 1200; new is unknown, and so is the country of new.
    assert set(after.pop("bob")) == {1004, 1006}
    chosen = [1003, 1004, 1006, 1200]
    of_cold_user = Retriever(small, lake.serving).recommend_many(
        [UserQuery(UserHistory.from_entries([]))], k=4, candidates=chosen
    )
    assert after.pop("new") == of_cold_user.title_ids[0].tolist()
    assert after == {user: titles for user, titles in before.items() if user != "bob"}
    assert set(pd.read_parquet(tmp_path / "out").user_id) == {"bob", "new"}


def test_erased_user_leaves_the_table(
    spark: SparkSession,
    settings: Settings,
    write_table: Callable[..., None],
    read_rows: Callable[..., list[Any]],
) -> None:
    about = {"rank": 1, "title_id": 1000, "score": 1.0, "is_popular": False, "dial": 0.0, "bundle": VERSION, "ds": DAY}
    write_table(settings, recommendations.TABLE, *[{"user_id": user, **about} for user in HISTORIES])
    assert recommendations.TABLE in catalog.TABLES
    tables.ensure(spark, settings, erasures.TABLE)
    requests = arrow_frames.frame(spark, "user_id string, requested_at timestamp", [("ann", MIDNIGHT)])
    erase._register(requests, settings)
    erased = erase._erase_user_rows(spark, settings, recommendations.TABLE)
    assert erased.rows_removed == 1
    assert read_rows(settings, recommendations.TABLE, "user_id") == [("bob",), ("cut",), ("foe",)]
    assert recommendations.TABLE.user_column == "user_id"


@contextmanager
def daemon(kind: str, *arguments: str) -> Iterator[None]:
    """A master or worker of a standalone cluster, until the block ends."""
    command = [str(Path(sys.executable).parent / "spark-class"), f"org.apache.spark.deploy.{kind}", *arguments]
    small = {**os.environ, "SPARK_DAEMON_MEMORY": "256m", "PYSPARK_PYTHON": sys.executable}
    process = subprocess.Popen(command, env=small, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def state_of(pages: int) -> dict[str, Any]:
    """The state that a master reports; empty while it starts."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{pages}/json/", timeout=5) as answer:
            return dict(json.load(answer))
    except OSError:
        return {}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A master and two workers of one core each, on loopback: its URL, and the port of its pages."""
    port, pages = free_port(), free_port()
    master = f"spark://127.0.0.1:{port}"
    here = ("--host", "127.0.0.1")
    worker = ("worker.Worker", *here, "--cores", "1", "--memory", "1g", "--work-dir", str(tmp_path / "work"))
    with (
        daemon("master.Master", *here, "--port", str(port), "--webui-port", str(pages)),
        daemon(*worker, "--webui-port", "0", master),
        daemon(*worker, "--webui-port", "0", master),
    ):
        for _ in range(300):
            if state_of(pages).get("aliveworkers") == 2:
                break
            time.sleep(0.2)
        else:
            pytest.fail(f"no two workers within a minute: {state_of(pages)}")
        yield master, pages


@pytest.mark.skipif(
    "MARQUEE_CLUSTER_TESTS" not in os.environ, reason="takes two cores for a minute or two: set MARQUEE_CLUSTER_TESTS"
)
def test_cluster_gives_the_same_lists(
    run: Callable[..., int], lake: Settings, read_rows: Callable[..., list[Any]], cluster: tuple[str, int]
) -> None:
    assert run("--k", 5, "--dial", "gems") == 0
    columns = ("user_id", "rank", "title_id", "dial")
    expected = read_rows(lake, recommendations.TABLE, *columns)
    assert run("--k", 1) == 0
    master, pages = cluster
    conf = {"spark.executor.memory": "1g", "spark.driver.host": "127.0.0.1", "spark.sql.shuffle.partitions": "2"}
    values = {
        **{"lake.root": lake.lake.root, "bundles.root": lake.bundles.root, **SHORT, "spark.master": master},
        **{f"spark.conf.{key}": value for key, value in conf.items()},
    }
    overrides = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "jobs.recommend", "--k", "5", "--dial", "gems", *overrides],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read_rows(lake, recommendations.TABLE, *columns) == expected
    [ran] = state_of(pages)["completedapps"]
    assert (ran["name"], ran["state"], ran["cores"]) == ("recommendations", "FINISHED", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dial", "loud"), "dial: no setting 'loud'; there are popular"),
        (("--k", "0"), "k: expected 1 to 1000 titles, not 0"),
        (("--ds", "2024-05-20"), "user_histories is not built for ds=2024-05-20; run python -m jobs.backfill first"),
        (("--bundle", "/nowhere"), "/nowhere: no bundle here"),
    ],
)
def test_impossible_request_ends_with_one_line_before_spark_works(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run(*arguments) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_files_and_folders_are_checked(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "ids.csv").write_text("id\n1\n")
    (tmp_path / "words.csv").write_text("title_id\nx\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    for arguments, message in (
        (("--titles", tmp_path / "ids.csv"), "ids.csv: expected a column 'title_id'; found ['id']"),
        (("--titles", tmp_path / "words.csv"), "words.csv: column 'title_id': invalid literal"),
        (("--users", tmp_path / "missing.csv"), "missing.csv"),
        (("--out", tmp_path / "full"), "the folder holds something else, which would be lost"),
    ):
        assert run(*arguments) == 1
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "full" / "thesis.txt").exists()


def test_lists_become_rows_without_their_padding() -> None:
    user_lists = UserLists(
        np.array([[5, 7], [9, -1]]),
        np.array([[2.0, 1.0], [3.0, -np.inf]], dtype=np.float32),
        np.array([False, True]),
    )
    rows = batch_inference.as_rows(np.array(["a", "b"]), user_lists)
    assert list(rows.itertuples(index=False, name=None)) == [
        ("a", 1, 5, 2.0, False),
        ("a", 2, 7, 1.0, False),
        ("b", 1, 9, 3.0, True),
    ]
