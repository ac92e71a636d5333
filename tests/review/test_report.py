"""The nightly report over a small lake: every section, sections without a source, a page without other files."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import fields
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from PIL import Image

from conf.settings import Settings, with_changes
from lake import night_files
from models.evaluation import evaluations_table
from models.evaluation.comparison import Difference
from models.evaluation.dial_points import DialPoint
from models.evaluation.measurement import Measurement
from models.gating import gate_results
from models.gating.gate_rules import Check
from review import night, report

NIGHT = date(2024, 5, 14)
CHROMIUM = shutil.which("chromium")
# Facts that only a browser knows, written into the page for --dump-dom.
LOOK = """<script>addEventListener("load", () => { document.body.dataset.seen = JSON.stringify({
    images: document.images.length,
    broken: [...document.images].filter(image => !image.naturalWidth).length,
    astray: [...document.querySelectorAll("a[href^='#']")].filter(a => !document.querySelector(a.hash)).length,
    overflows: document.documentElement.scrollWidth > innerWidth,
}) })</script>"""


@pytest.fixture
def settings(tmp_path: Path, settings_in: Callable[[Path], Settings]) -> Settings:
    return with_changes(settings_in(tmp_path), {"report.price_per_hour": 3.6})


def write(
    settings: Settings, name: str, rows: list[dict[str, object]], schema: pa.Schema, by: str | None = None
) -> None:
    table = pa.Table.from_pylist(rows, schema=schema)
    write_deltalake(f"{settings.lake.root}/{name}", table, partition_by=[by] if by else None)


@pytest.fixture
def whole_night(settings: Settings) -> Settings:
    """All outputs of a night: one user liked Heat; als recommends Ronin, the new model Collateral."""
    counts = ("count_files", "count_lines", "count_loaded", "count_rejected", "count_duplicates", "count_erased")
    loads = pa.schema([("feed", pa.string()), ("ds", pa.date32()), *[(name, pa.int64()) for name in counts]])
    numbers = dict(zip(counts, (1, 1234, 1230, 4, 1, 0), strict=True))
    write(settings, "feed_loads", [{"feed": "events", "ds": NIGHT, **numbers}], loads, "feed")
    rejects = pa.schema([("feed", pa.string()), ("ds", pa.date32()), ("reason", pa.string())])
    reasons = [
        "title_id: expected an id, found 'tt1'",
        "title_id: expected an id, found 'tt2'",
        "event_id: a copy of e1",
    ]
    write(
        settings,
        "rejected_rows",
        [{"feed": "events", "ds": NIGHT, "reason": reason} for reason in reasons],
        rejects,
        "feed",
    )
    titles = pa.schema(
        [("title_id", pa.int64()), ("title", pa.string()), ("release_year", pa.int32()), ("poster", pa.string())]
    )
    named = [(1, "Heat", "1.jpg"), (2, "Ronin & Co", None), (3, "Collateral", "gone.jpg")]
    rows: list[dict[str, object]] = [
        {"title_id": n, "title": title, "release_year": 1995, "poster": poster} for n, title, poster in named
    ]
    write(settings, "stg_titles", rows, titles)
    Path(settings.feeds.posters_dir).mkdir(parents=True)
    Image.new("RGB", (4, 6), "red").save(Path(settings.feeds.posters_dir) / "1.jpg")
    users = pa.schema(
        [
            ("user_id", pa.string()),
            ("history_title_ids", pa.list_(pa.int64())),
            ("history_weights", pa.list_(pa.float32())),
        ]
    )
    liked = {"user_id": "a-particular-user", "history_title_ids": [1, -1], "history_weights": [1.0, 0.0]}
    write(settings, "training_users", [liked], users)
    figures(settings)
    folder = Path(settings.report.root) / str(NIGHT)
    (folder / "lists").mkdir(parents=True)
    for model, title in (("als", 2), ("marquee@1", 3)):
        model_list = pd.DataFrame({"user_id": ["a-particular-user"], "title_id": [title], "rank": [1]})
        model_list.to_parquet(folder / "lists" / f"{model}.parquet")
    point = {field.name: 0.5 for field in fields(DialPoint)}
    pd.DataFrame([point | {"dial": dial} for dial in (-1.0, 0.0, 1.0)]).to_csv(folder / "dial.csv", index=False)
    stage(folder, "train", "success", 1000.0)
    return settings


def figures(settings: Settings) -> None:
    def row(dimension: str, segment: str, metric: str, mean: float) -> Measurement:
        difference = Difference(0.1, 0.05, 0.15, 50, 0.5, 0.3, 0.2)
        return Measurement(dimension, segment, metric, 20, mean, mean - 0.05, mean + 0.05, 50, 0, difference)

    for model, gain in (("als", 0.0), ("marquee@1", 0.1)):
        segments = [("all", "all"), ("popularity", "tail"), ("title_age_days", "1-3"), ("history_titles", "5-19")]
        rows = [row(*segment, metric, 0.1234 + gain) for segment in segments for metric in ("recall", "ndcg")]
        evaluations_table.write(settings.lake.root, NIGHT, "test", "als", {model: rows})
    check = Check(
        "segment", "popularity", "tail", "recall", 20, 0.1, 0.2, -0.1, -0.15, -0.05, 500, -0.02, False, True, "worse"
    )
    gate_results.write(settings.lake.root, gate_results.decide(NIGHT, "marquee@1", "als", [check]))


def stage(folder: Path, task: str, state: str, seconds: float, run: str = "run 1", reason: str = "") -> None:
    (folder / "stages").mkdir(parents=True, exist_ok=True)
    noted = {"run": run, "task": task, "state": state, "seconds": seconds, "tries": 1, "reason": reason}
    started = {"started_at": f"2024-05-15T04:00:{len(list((folder / 'stages').iterdir())):02}+00:00"}
    (folder / "stages" / f"{task}.json").write_text(json.dumps(noted | started))


def run(settings: Settings) -> str:
    keys = {"lake.root": settings.lake.root, "report.root": settings.report.root, "report.price_per_hour": 3.6}
    keys["feeds.posters_dir"] = settings.feeds.posters_dir
    changes = [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]
    assert report.main(["--ds", str(NIGHT), *changes]) == 0
    return night_files.report(settings, NIGHT).read_text()


def test_whole_night_is_reported(whole_night: Settings) -> None:
    page = run(whole_night)
    assert "Missing" not in page
    assert (
        "marquee@1 did not pass the gate against als: recall@20 of popularity tail: worse. The champion stays." in page
    )
    for cell in ("1,234", "1,230", "title_id: expected an id", "0.1234", "0.2234", "1,000.0"):
        assert f">{cell}</td>" in page, cell
    # 1,000 seconds at 3.6 an hour.
    assert page.count(">1.0000</td>") == 2
    # Two lines were rejected for the same reason, with different values.
    assert '<td class="text">title_id: expected an id</td><td>2</td>' in page


def test_example_user_is_shown_old_against_new_without_an_id(whole_night: Settings) -> None:
    page = run(whole_night)
    shelves = page[page.index('<div class="user">') :]
    assert "User 1 liked" in shelves
    assert shelves.index("Heat (1995)") < shelves.index("Ronin &amp; Co (1995)") < shelves.index("Collateral (1995)")
    assert shelves.count("data:image/jpeg;base64,") == 1
    assert shelves.count("no poster") == 2
    assert "a-particular-user" not in page


def test_page_needs_nothing_else(whole_night: Settings) -> None:
    page = run(whole_night)
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert page.count('src="data:image/png;base64,') == 6


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; .ci/run installs it")
def test_browser_shows_every_picture_and_finds_every_section(whole_night: Settings, tmp_path: Path) -> None:
    page = tmp_path / "looked_at.html"
    page.write_text(run(whole_night).replace("</html>", LOOK + "</html>"))
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    shown = subprocess.run(
        [*command, "--window-size=1200,900", "--dump-dom", page.as_uri()], capture_output=True, timeout=120
    )
    stored_facts = re.search('data-seen="([^"]*)"', shown.stdout.decode())
    assert stored_facts, shown.stderr.decode()
    # Six plots and one poster.
    assert json.loads(html.unescape(stored_facts[1])) == {"images": 7, "broken": 0, "astray": 0, "overflows": False}


def test_night_that_failed_says_where_and_what_is_missing(settings: Settings) -> None:
    folder = Path(settings.report.root) / str(NIGHT)
    stage(folder, "examples", "success", 1.0, run="an earlier run")
    stage(folder, "check_feeds", "success", 2.0)
    stage(folder, "staging", "failed", 3.0, reason="events for ds=2024-05-14: 9 of 10 lines are bad")
    page = run(settings)
    assert "The night failed at staging: events for ds=2024-05-14: 9 of 10 lines are bad. The previous bundle" in page
    for missing in (
        "the lake has no feed_loads",
        "no model was measured on 2024-05-14",
        "the gate judged no model on 2024-05-14",
        "dial.csv was not written on this night",
        "no lists of als and of a registered model were written on 2024-05-14",
    ):
        assert f"Missing: {missing}" in page
    assert [stage.task for stage in night.read_stages(folder / "stages")] == ["check_feeds", "staging"]


def test_night_that_failed_after_publishing_says_what_is_live() -> None:
    done = night.Stage("run 1", "publish", "success", "2024-05-15T04:00:00+00:00", 1.0, 1, "")
    failed = night.Stage("run 1", "recommend", "failed", "2024-05-15T04:01:00+00:00", 1.0, 1, "out of memory")
    assert night.outcome([done, failed], []) == (
        "The night failed at recommend: out of memory. Tonight's bundle is already live."
    )


def test_dial_of_an_older_version_is_reported_as_missing(whole_night: Settings) -> None:
    pd.DataFrame({"dial": [0.0], "recall": [0.1]}).to_csv(night_files.dial(whole_night, NIGHT), index=False)
    assert "Missing: dial.csv lacks the columns " in run(whole_night)
