"""Measure training: reading and learning together, each by itself, and in the way of the TFRS tutorials.

Makes its own tables, before any measurement starts, in --work (default: a temporary folder, removed at the end), and
prints one JSON line per figure, then all as a table on standard error. Figures are users or positives per second, in
one process:

  (a) reader      Petastorm's batch reader alone, with the feed's options, in the order of the files: rows of
                  training_users, of users with a history
  (b) feed        models.data.dataset: the rows shuffled over a buffer, in batches, as tensors of tf.data
      inputs      the same with titles and countries as rows: the inputs of training
  (c) training    --training-steps steps of the softmax over a sample of the catalogue (training.negatives) from these
                  inputs, from the start of an epoch, with reading and shuffling
  (d) in memory   the same network trained on the same batches, held in memory as tensors
  (e) tutorial    rows of training_examples one by one through tf.data, ids as strings that a layer looks up, an
                  embedding for each title of each row, in-batch negatives; with the same dim and catalogue, in
                  batches of --tutorial-batch examples
  (f) users       epochs of the softmax over the whole catalogue, which models.train uses for catalogues of this size,
                  here with --user-titles

Positives are all likes of the histories that an epoch has, not only predicted ones: in (c), (d) and (f) a step takes
whole histories and predicts a part of each from the rest, and the next epoch predicts another part. In (e) an example
predicts one like from the history before it; its catalogue has --titles titles where (f) is compared with it, too.

(a) and (b), and then (c) and (d), take turns, so that other programs slow both alike. Figures are medians; a ratio
of two that take turns is the median of the ratios by turn. Each network makes its first steps before its measurement
starts. (e) is timed from its second batch on, so that filling its shuffle buffer does not count.

The input wait is the time that a step waits for its batch, measured step by step outside Keras. On a machine without a
GPU, reading also takes processor time from learning, which (c) beside (d) shows and the wait does not.

The exit code is 0 even where a target is missed; the table says so.
"""

import statistics
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.report import Report, emptied, reporting
from benchmarks.training_bench.networks import COUNTRIES, catalogue_network, sampled_network
from benchmarks.training_bench.rows import write_examples, write_users
from benchmarks.training_bench.tutorial import TutorialModel, open_examples, tutorial_dataset
from conf import command_line
from conf.settings import Settings
from lake.snapshot import LakeSnapshot
from models.data.dataset import BatchReader
from models.fit import training
from models.fit.network_inputs import InputMaker
from models.towers.legacy_keras import keras, tf
from models.towers.networks import TwoTowerNetwork

_WARM_UP_STEPS = 5


def open_feed(settings: Settings, root: Path) -> BatchReader:
    """The reader with which models.train would read training_users."""
    return training.reader_for(settings, LakeSnapshot.pin(str(root), ["training_users"]))


def count_positives(settings: Settings, data: tf.data.Dataset) -> int:
    """All likes of the histories in `data`, predicted or not."""
    least = settings.interactions.positive_min_weight
    return sum(int(np.count_nonzero((batch["rows"] > 0) & (batch["weights"] >= least))) for batch in data)


def count_a_second(batches: Iterable[Any], size: int) -> float:
    """Rows per second when iterating over `batches` of `size` rows each."""
    started = perf_counter()
    count = sum(1 for _ in batches)
    return count * size / (perf_counter() - started)


def raw_rows_a_second(feed: BatchReader) -> float:
    """Rows per second of Petastorm's reader alone."""
    started = perf_counter()
    count = 0
    with feed.open_reader(None) as reader:
        for group in reader:
            count += len(group.country)
    return count / (perf_counter() - started)


def by_turns(repeats: int, **measures: Callable[[], float]) -> dict[str, list[float]]:
    """Run each of `measures` `repeats` times, in turns."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repeats):
        for name, measure in measures.items():
            values[name].append(measure())
    return values


def add_reading(report: Report, feed: BatchReader, maker: InputMaker, arguments: Namespace) -> None:
    """Add (a) and (b)."""
    epochs = iter(range(10_000))
    speeds = by_turns(
        arguments.repeats,
        raw=lambda: raw_rows_a_second(feed),
        feed=lambda: count_a_second(feed.dataset(next(epochs)), feed.batch_size),
        inputs=lambda: count_a_second(maker.dataset(feed, next(epochs)), feed.batch_size),
    )
    _add(report, "(a) raw Petastorm reader", speeds["raw"], "rows/s")
    for name, title in (("feed", "(b) our feed"), ("inputs", "our feed, titles as rows")):
        _add(report, title, speeds[name], "rows/s")
        _add_turns_ratio(report, f"{title}, over (a)", speeds[name], speeds["raw"], arguments.min_feed_ratio)


def add_training(
    report: Report,
    settings: Settings,
    feed: BatchReader,
    maker: InputMaker,
    arguments: Namespace,
) -> float:
    """Add (c), (d) and the input wait; returns (c)."""
    made = sampled_network(settings, arguments.titles)
    positives = count_positives(settings, maker.dataset(feed, 0))
    per_batch = positives / feed.count_batches
    in_memory = held(maker.dataset(feed, 0), arguments.held_batches)
    made.fit(in_memory.take(_WARM_UP_STEPS), verbose=0)
    epochs = iter(range(10_000))

    def trained(data: tf.data.Dataset) -> float:
        started = perf_counter()
        made.fit(data, verbose=0)
        return int(data.cardinality()) * per_batch / (perf_counter() - started)

    # The held batches are repeated for the same number of steps.
    steps = min(arguments.training_steps, feed.count_batches)
    speeds = by_turns(
        arguments.repeats,
        fed=lambda: trained(maker.dataset(feed, next(epochs)).take(steps)),
        held=lambda: trained(in_memory.repeat().take(steps)),
    )
    context = {
        "steps": steps,
        "users_per_batch": feed.batch_size,
        "titles": arguments.titles,
        "negatives": settings.training.negatives,
        "dim": settings.model.dim,
    }
    at_least = arguments.min_positives
    fed = _add(
        report, "(c) training from the feed", speeds["fed"], "positives/s", at_least, positives=positives, **context
    )
    _add(report, "(d) training from tensors in memory", speeds["held"], "positives/s", **context)
    _add_turns_ratio(report, "(c) over (d)", speeds["fed"], speeds["held"], arguments.min_training_ratio)
    share, step_ms = input_wait(made, maker.dataset(feed, next(epochs)).take(arguments.wait_steps))
    report.add("step, with its wait", step_ms, "ms", steps=min(arguments.wait_steps, steps))
    report.add("input wait, of step time", share, "share", target=arguments.max_wait_share)
    return fed


def held(data: tf.data.Dataset, count: int) -> tf.data.Dataset:
    """The first `count` batches of `data` as tensors in memory."""
    batches = list(data.take(count))
    stacked = {name: tf.stack([batch[name] for batch in batches]) for name in batches[0]}
    return tf.data.Dataset.from_tensor_slices(stacked)


def input_wait(made: TwoTowerNetwork, data: tf.data.Dataset) -> tuple[float, float]:
    """Share of the time that steps wait for their batches, and the mean time of a step with its wait in milliseconds.

    The first steps are not counted: TensorFlow traces the function and the feed fills its buffer.
    """
    step = tf.function(made.train_step)
    waits, totals = [], []
    batches: Iterator[Any] = iter(data)
    while True:
        started = perf_counter()
        batch = next(batches, None)
        if batch is None:
            break
        waits.append(perf_counter() - started)
        step(batch)["loss"].numpy()  # waits until the step is done
        totals.append(perf_counter() - started)
    counted = slice(min(_WARM_UP_STEPS, len(totals) - 1), None)
    total = sum(totals[counted])
    return sum(waits[counted]) / total, 1000 * total / len(totals[counted])


def tutorial_examples_a_second(
    report: Report, settings: Settings, examples: BatchReader, title_ids: NDArray[np.int64], arguments: Namespace
) -> float:
    """Add (e)."""
    model = TutorialModel(title_ids, settings.model.dim)
    model.compile(optimizer=keras.optimizers.Adam(settings.training.learning_rate))
    speeds = []
    for _ in range(arguments.repeats):
        timer = _FirstBatch()
        data = tutorial_dataset(examples, settings.training.shuffle_buffer_rows)
        history = model.fit(data.take(arguments.tutorial_steps + 1), verbose=0, callbacks=[timer])
        assert np.isfinite(history.history["loss"][-1])
        speeds.append(timer.count_timed * examples.batch_size / (perf_counter() - timer.started))
    context = {"steps": arguments.tutorial_steps, "examples_per_batch": examples.batch_size, "titles": len(title_ids)}
    return _add(report, "(e) TFRS-tutorial style", speeds, "positives/s", **context)


def catalogue_positives_a_second(
    report: Report, settings: Settings, feed: BatchReader, title_ids: NDArray[np.int64], repeats: int
) -> float:
    """Add (f)."""
    made = catalogue_network(settings, len(title_ids))
    maker = InputMaker(title_ids, COUNTRIES)
    positives = count_positives(settings, maker.dataset(feed, 0))
    made.fit(maker.dataset(feed, 0).take(_WARM_UP_STEPS), verbose=0)
    speeds = []
    for epoch in range(repeats):
        started = perf_counter()
        made.fit(maker.dataset(feed, epoch), verbose=0)
        speeds.append(positives / (perf_counter() - started))
    context = {
        "steps": feed.count_batches,
        "users_per_batch": feed.batch_size,
        "titles": len(title_ids),
        "positives": positives,
    }
    return _add(report, "(f) softmax over the catalogue, from the feed", speeds, "positives/s", **context)


class _FirstBatch(keras.callbacks.Callback):
    """Starts the clock after the first batch."""

    started = 0.0
    count_timed = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            self.started = perf_counter()
        self.count_timed = batch


def _add(
    report: Report, title: str, speeds: Sequence[float], unit: str, at_least: float | None = None, **context: Any
) -> float:
    median = statistics.median(speeds)
    one_by_one = [round(value) for value in speeds]
    report.add(title, median, unit, at_least=at_least, one_by_one=one_by_one, **context)
    return median


def _add_turns_ratio(
    report: Report, title: str, above: Sequence[float], below: Sequence[float], at_least: float
) -> None:
    ratios = [over / under for over, under in zip(above, below, strict=True)]
    turns = [round(ratio, 3) for ratio in ratios]
    report.add(title, statistics.median(ratios), "ratio", at_least=at_least, turn_by_turn=turns)


def work(settings: Settings, arguments: Namespace) -> None:
    """Measure and show the table."""
    title_ids = np.random.default_rng(settings.seed).permutation(10 * arguments.titles)[: arguments.titles] + 1
    with reporting("training", ("petastorm", "pyarrow", "tensorflow"), arguments.work) as (report, folder):
        options, few = settings.examples, title_ids[: arguments.user_titles]
        layout = (options.rows_per_group, settings.seed)
        with emptied(folder / "all_titles"), emptied(folder / "few_titles"):
            users, examples = folder / "all_titles" / "training_users", folder / "all_titles" / "training_examples"
            write_users(users, arguments.rows, title_ids, options.user_history_titles, *layout)
            write_examples(examples, arguments.tutorial_rows, title_ids, options.history_titles, *layout)
            of_few = folder / "few_titles" / "training_users"
            write_users(of_few, arguments.users, few, options.user_history_titles, *layout)
            _measure(report, settings, folder, title_ids, few, arguments)


def _measure(
    report: Report,
    settings: Settings,
    folder: Path,
    title_ids: NDArray[np.int64],
    few: NDArray[np.int64],
    arguments: Namespace,
) -> None:
    feed = open_feed(settings, folder / "all_titles")
    context = {"batch": feed.batch_size, "history": settings.examples.user_history_titles}
    report.add("users", feed.count_rows, "rows", **context)
    report.add("GPUs", len(tf.config.list_physical_devices("GPU")), "devices")
    maker = InputMaker(title_ids, COUNTRIES)
    add_reading(report, feed, maker, arguments)
    fed = add_training(report, settings, feed, maker, arguments)
    examples = open_examples(folder / "all_titles", settings, arguments.tutorial_batch)
    tutorial = tutorial_examples_a_second(report, settings, examples, title_ids, arguments)
    report.add("(c) over (e)", fed / tutorial, "ratio", at_least=arguments.min_tutorial_ratio)
    of_few = open_feed(settings, folder / "few_titles")
    whole = catalogue_positives_a_second(report, settings, of_few, few, arguments.repeats)
    report.add("(f) over (e)", whole / tutorial, "ratio", at_least=arguments.min_tutorial_ratio)


def _parser() -> ArgumentParser:
    parser = command_line.parser(__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="users in the table of (a) to (d)")
    parser.add_argument("--titles", type=int, default=60_000, help="in the catalogue of (a) to (e)")
    parser.add_argument("--users", type=int, default=20_000, help="of (f)")
    parser.add_argument("--user-titles", type=int, default=3_000, help="in the catalogue of (f)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each")
    parser.add_argument("--training-steps", type=int, default=200, help="for (c) and (d)")
    parser.add_argument("--held-batches", type=int, default=100, help="of (d)")
    parser.add_argument("--wait-steps", type=int, default=200, help="timed one by one")
    parser.add_argument("--tutorial-rows", type=int, default=200_000, help="examples in the table of (e)")
    parser.add_argument("--tutorial-batch", type=int, default=1024, help="examples per batch of (e)")
    parser.add_argument("--tutorial-steps", type=int, default=50, help="of (e)")
    parser.add_argument("--min-feed-ratio", type=float, default=0.8, help="target of (b) over (a)")
    parser.add_argument("--min-positives", type=float, default=100_000, help="target of (c), a second")
    parser.add_argument("--min-training-ratio", type=float, default=0.9, help="target of (c) over (d)")
    parser.add_argument("--min-tutorial-ratio", type=float, default=5.0, help="target of (c) and (f) over (e)")
    parser.add_argument("--max-wait-share", type=float, default=0.05, help="target of the input wait")
    parser.add_argument("--work", metavar="FOLDER", help="folder for the tables, which are removed")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return command_line.run(_parser(), work, argv)


if __name__ == "__main__":
    sys.exit(main())
