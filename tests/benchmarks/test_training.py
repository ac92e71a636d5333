"""The whole command at a tiny size; figures from times, by a clock that a test moves."""

import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import training
from benchmarks.harness.report import Figure, Report
from benchmarks.training_bench.rows import write_examples, write_users
from benchmarks.training_bench.tutorial import open_examples, tutorial_dataset
from conf.loader import load_settings
from lake.delta_files import read_table
from models.towers.legacy_keras import tf

ROWS, USERS, TITLES, BATCH = 700, 60, 40, 64
TUTORIAL_ROWS, TUTORIAL_BATCH = 300, 32
_SMALL = {
    "examples.history_titles": 6,
    "examples.user_history_titles": 8,
    "examples.rows_per_group": 100,
    "training.users_per_batch": BATCH,
    "training.negatives": 8,
    "training.shuffle_buffer_rows": 200,
    "model.dim": 4,
}
_ARGUMENTS = [
    *(part for key, value in _SMALL.items() for part in ("--set", f"{key}={value}")),
    *("--rows", str(ROWS), "--users", str(USERS), "--titles", str(TITLES), "--user-titles", "20"),
    *("--tutorial-rows", str(TUTORIAL_ROWS), "--tutorial-batch", str(TUTORIAL_BATCH), "--tutorial-steps", "3"),
    *("--repeats", "2", "--held-batches", "4", "--wait-steps", "8", "--min-positives", "123"),
]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    work, printed = tmp_path_factory.mktemp("training"), StringIO()
    with redirect_stdout(printed):
        assert training.main([*_ARGUMENTS, "--work", str(work)]) == 0
    assert list(work.iterdir()) == []
    return {entry["figure"]: entry for entry in map(json.loads, printed.getvalue().splitlines())}


def test_each_way_is_measured_as_often_as_requested(figures: dict[str, dict[str, Any]]) -> None:
    for name in (
        "(a) raw Petastorm reader",
        "(b) our feed",
        "(c) training from the feed",
        "(d) training from tensors in memory",
        "(e) TFRS-tutorial style",
        "(f) softmax over the catalogue, from the feed",
    ):
        assert len(figures[name]["one_by_one"]) == 2
        assert figures[name]["value"] == pytest.approx(np.median(figures[name]["one_by_one"]), abs=1)
        assert figures[name]["value"] > 0
    # 700 rows hold ten full batches of 64; both train as many steps.
    assert figures["(c) training from the feed"]["steps"] == ROWS // BATCH == 10
    assert figures["(d) training from tensors in memory"]["steps"] == 10
    assert figures["(e) TFRS-tutorial style"]["examples_per_batch"] == TUTORIAL_BATCH
    # 60 users are one batch, though a smaller one.
    assert figures["(f) softmax over the catalogue, from the feed"]["steps"] == 1


def test_rows_are_read_and_positives_are_learnt_from(figures: dict[str, dict[str, Any]]) -> None:
    for name, figure in figures.items():
        if "one_by_one" in figure:
            is_read = name in ("(a) raw Petastorm reader", "(b) our feed", "our feed, titles as rows")
            assert figure["unit"] == ("rows/s" if is_read else "positives/s")
    fed = figures["(c) training from the feed"]
    # Of 640 users in full batches, with one to six titles each.
    assert 640 < fed["positives"] < 640 * 8
    assert fed["target_at_least"] == 123
    assert fed["verdict"] == ("met" if fed["value"] >= 123 else "missed")


def test_positives_are_all_likes_of_histories() -> None:
    batches = {
        "rows": np.array([[[1, 2, 3], [4, 0, 0]], [[5, 6, 0], [0, 0, 0]]]),
        # 0.1 is no like, and what weighs 1 on padding is none.
        "weights": np.array([[[1, 0.1, 0.8], [1, 1, 0]], [[-1, 1, 0], [0, 0, 0]]], dtype=np.float32),
    }
    data = tf.data.Dataset.from_tensor_slices(batches)
    assert training.count_positives(load_settings(), data) == 4


def test_ratios_follow_from_the_figures_and_are_judged_by_their_targets(figures: dict[str, dict[str, Any]]) -> None:
    values = {name: figure["value"] for name, figure in figures.items()}
    for name, above, below, least in (
        ("(b) our feed, over (a)", "(b) our feed", "(a) raw Petastorm reader", 0.8),
        ("(c) over (d)", "(c) training from the feed", "(d) training from tensors in memory", 0.9),
        ("(c) over (e)", "(c) training from the feed", "(e) TFRS-tutorial style", 5.0),
        ("(f) over (e)", "(f) softmax over the catalogue, from the feed", "(e) TFRS-tutorial style", 5.0),
    ):
        if turns := figures[name].get("turn_by_turn"):
            # Ratios are rounded to three decimals.
            pairs = zip(figures[above]["one_by_one"], figures[below]["one_by_one"], strict=True)
            assert turns == pytest.approx([over / under for over, under in pairs], rel=0.02, abs=5e-4)
            assert values[name] == pytest.approx(np.median(turns), abs=1e-3)
        else:
            # Figures are printed to four decimals.
            assert values[name] == pytest.approx(values[above] / values[below], rel=1e-3, abs=1e-4)
        assert figures[name]["target_at_least"] == least
        assert figures[name]["verdict"] == ("met" if values[name] >= least else "missed")
    wait = figures["input wait, of step time"]
    assert 0 <= wait["value"] < 1
    assert wait["verdict"] == ("met" if wait["value"] <= 0.05 else "missed")


@pytest.mark.parametrize(
    ("limits", "value", "expected"),
    [
        ({"target": 2.0}, 2.0, "met"),
        ({"target": 2.0}, 2.1, "missed"),
        ({"at_least": 2.0}, 2.0, "met"),
        ({"at_least": 2.0}, 1.9, "missed"),
        ({"target": 3.0, "at_least": 2.0}, 3.5, "missed"),
        ({}, 1.0, ""),
    ],
)
def test_targets_are_from_above_or_from_below(limits: dict[str, float], value: float, expected: str) -> None:
    assert Figure("f", value, "ratio", {}, **limits).verdict == expected
    printed = StringIO()
    with redirect_stdout(printed):
        Report("b").add("f", value, "ratio", **limits)
    line = json.loads(printed.getvalue())
    assert line.get("verdict", "") == expected
    assert line.get("target_at_least") == limits.get("at_least")
    assert line.get("target_at_most") == limits.get("target")


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_input_wait_is_the_time_before_a_step_has_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(training, "perf_counter", clock)

    def batches() -> Iterator[int]:
        for number in range(9):
            # The first five are not counted: of the others each waits 1 second.
            clock.now += 50 if number < 5 else 1
            yield number

    def train_step(batch: Any) -> dict[str, Any]:
        return {"loss": tf.constant(0.0)}

    def step(function: Any) -> Any:
        def run(batch: int) -> dict[str, Any]:
            clock.now += 3
            return function(batch)

        return run

    monkeypatch.setattr(training.tf, "function", step)
    share, step_ms = training.input_wait(SimpleNamespace(train_step=train_step), batches())
    assert share == pytest.approx(1 / 4)
    assert step_ms == pytest.approx(4000)


def test_measures_take_turns() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return float(len(order))

    measured = training.by_turns(2, a=lambda: measure("a"), b=lambda: measure("b"))
    assert order == ["a", "b", "a", "b"]
    assert measured == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_histories_are_padded_and_of_the_catalogue(tmp_path: Path) -> None:
    titles = np.array([7, 3, 9])
    write_examples(tmp_path / "training_examples", 500, titles, 4, 100, seed=1)
    write_users(tmp_path / "training_users", 30, titles, 5, 10, seed=1)
    names = ("title_id", "history_title_ids", "history_weights", "sampling_probability")
    rows = read_table(str(tmp_path / "training_examples"), 0, names, "train").to_pydict()
    assert len(rows["title_id"]) == 500
    # By Zipf's law of three titles they have 6/11, 3/11 and 2/11.
    assert np.mean(np.array(rows["title_id"]) == 7) == pytest.approx(6 / 11, abs=0.07)
    shares = dict(zip(rows["title_id"], rows["sampling_probability"], strict=True))
    assert shares == pytest.approx({7: 6 / 11, 3: 3 / 11, 9: 2 / 11})
    for ids, weights in zip(rows["history_title_ids"], rows["history_weights"], strict=True):
        count = int(np.count_nonzero(ids))
        assert 1 <= count <= 3
        assert len(set(ids[:count]) & {7, 3, 9}) == count  # each once
        assert weights == [1] * count + [0] * (4 - count)
    users = read_table(str(tmp_path / "training_users"), 0, ("history_title_ids",))
    assert len(users) == 30
    assert {len(ids) for ids in users["history_title_ids"].to_pylist()} == {5}


def test_the_tutorial_has_the_same_rows_one_by_one(tmp_path: Path) -> None:
    write_examples(tmp_path / "training_examples", 100, np.arange(1, 9), 3, 50, seed=1)
    examples = open_examples(tmp_path, load_settings(), 20)
    batches = list(tutorial_dataset(examples, 40))
    assert [batch["history"].shape for batch in batches] == [(20, 3)] * 5
    mapped_titles = sorted(int(title) for batch in batches for title in batch["title_id"].numpy())
    rows = read_table(str(tmp_path / "training_examples"), 0, ("title_id",), "train")
    assert mapped_titles == sorted(rows["title_id"].to_pylist())
