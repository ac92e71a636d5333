"""Measure training: reading and learning together, each by itself, and in the way of the TFRS tutorials.

Makes its own tables, before any measurement starts, in --work (default: a temporary folder, removed at the end), and
prints one JSON line per figure, then all as a table on standard error. Figures are examples per second, in one process:

  (a) reader      Petastorm's batch reader alone, with the feed's options, in the order of the files
  (b) feed        models.data.dataset: the rows shuffled over a buffer, in batches, as tensors of tf.data
      inputs      the same with titles and countries as rows: the inputs of training
  (c) training    --training-steps steps of the sampled softmax network from these inputs, from the start of an epoch,
                  with reading and shuffling
  (d) in memory   the same network trained on the same batches, held in memory as tensors
  (e) tutorial    the same rows one by one through tf.data, ids as strings that a layer looks up, an embedding for each
                  title of each row, in-batch negatives; with the same batch size and dim
  (f) users       epochs of the softmax over the whole catalogue, which models.train uses up to
                  training.max_softmax_titles titles, here with --user-titles. It counts predicted likes; in the others
                  each example predicts one

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
from benchmarks.training_bench.networks import COUNTRIES, example_network, user_network
from benchmarks.training_bench.rows import write_examples, write_users
from benchmarks.training_bench.tutorial import TutorialModel, tutorial_dataset
from conf import command_line
from conf.settings import Settings
from lake.snapshot import LakeSnapshot
from models.data.dataset import BatchReader
from models.fit import network, training
from models.fit.network_inputs import InputMaker
from models.towers.legacy_keras import keras, tf
from models.towers.networks import SampledSoftmax

_WARM_UP_STEPS = 5


def open_feed(settings: Settings, root: Path, table: str) -> BatchReader:
    """The reader with which models.train would read a table."""
    loss = "user_softmax" if table == "training_users" else "sampled_softmax"
    return training.reader_for(settings, LakeSnapshot.pin(str(root), [table]), loss)


def count_a_second(batches: Iterable[Any], size: int) -> float:
    """Examples per second when iterating over `batches` of `size` examples each."""
    started = perf_counter()
    count = sum(1 for _ in batches)
    return count * size / (perf_counter() - started)


def raw_rows_a_second(feed: BatchReader) -> float:
    """Rows per second of Petastorm's reader alone."""
    started = perf_counter()
    count = 0
    with feed.open_reader(None) as reader:
        for group in reader:
            count += len(group.title_id)
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
    _add(report, "(a) raw Petastorm reader", speeds["raw"])
    for name, title in (("feed", "(b) our feed"), ("inputs", "our feed, titles as rows")):
        _add(report, title, speeds[name])
        _add_turns_ratio(report, f"{title}, over (a)", speeds[name], speeds["raw"], arguments.min_feed_ratio)


def add_training(
    report: Report,
    settings: Settings,
    feed: BatchReader,
    maker: InputMaker,
    title_ids: NDArray[np.int64],
    arguments: Namespace,
) -> float:
    """Add (c), (d) and the input wait; returns (c)."""
    made = example_network(settings, title_ids)
    in_memory = held(maker.dataset(feed, 0), arguments.held_batches)
    made.fit(in_memory.take(_WARM_UP_STEPS), verbose=0)
    epochs = iter(range(10_000))

    def trained(data: tf.data.Dataset) -> float:
        started = perf_counter()
        made.fit(data, verbose=0)
        return int(data.cardinality()) * feed.batch_size / (perf_counter() - started)

    # The held batches are repeated for the same number of steps.
    steps = min(arguments.training_steps, feed.count_batches)
    speeds = by_turns(
        arguments.repeats,
        fed=lambda: trained(maker.dataset(feed, next(epochs)).take(steps)),
        held=lambda: trained(in_memory.repeat().take(steps)),
    )
    context = {"steps": steps, "titles": len(title_ids), "dim": settings.model.dim}
    fed = _add(report, "(c) training from the feed", speeds["fed"], **context)
    _add(report, "(d) training from tensors in memory", speeds["held"], **context)
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


def input_wait(made: SampledSoftmax, data: tf.data.Dataset) -> tuple[float, float]:
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
    report: Report, settings: Settings, feed: BatchReader, title_ids: NDArray[np.int64], arguments: Namespace
) -> float:
    """Add (e)."""
    model = TutorialModel(title_ids, settings.model.dim)
    model.compile(optimizer=keras.optimizers.Adam(settings.training.learning_rate))
    speeds = []
    for _ in range(arguments.repeats):
        timer = _FirstBatch()
        data = tutorial_dataset(feed, feed.batch_size, settings.training.shuffle_buffer_rows)
        history = model.fit(data.take(arguments.tutorial_steps + 1), verbose=0, callbacks=[timer])
        assert np.isfinite(history.history["loss"][-1])
        speeds.append(timer.count_timed * feed.batch_size / (perf_counter() - timer.started))
    return _add(report, "(e) TFRS-tutorial style", speeds, steps=arguments.tutorial_steps)


def user_likes_a_second(
    report: Report, settings: Settings, feed: BatchReader, title_ids: NDArray[np.int64], repeats: int
) -> float:
    """Add (f)."""
    made = user_network(settings, title_ids)
    maker = InputMaker(title_ids, COUNTRIES)
    likes = sum(int(np.count_nonzero(batch["rows"])) for batch in maker.dataset(feed, 0))
    predicted = likes * sum(network.DROPPED_SHARE) / 2
    made.fit(maker.dataset(feed, 0).take(_WARM_UP_STEPS), verbose=0)
    speeds = []
    for epoch in range(repeats):
        started = perf_counter()
        made.fit(maker.dataset(feed, epoch), verbose=0)
        speeds.append(predicted / (perf_counter() - started))
    context = {
        "steps": feed.count_batches,
        "users_per_batch": feed.batch_size,
        "titles": len(title_ids),
        "likes": likes,
    }
    return _add(report, "(f) softmax over the catalogue, from the feed", speeds, **context)


class _FirstBatch(keras.callbacks.Callback):
    """Starts the clock after the first batch."""

    started = 0.0
    count_timed = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            self.started = perf_counter()
        self.count_timed = batch


def _add(report: Report, title: str, speeds: Sequence[float], **context: Any) -> float:
    median = statistics.median(speeds)
    report.add(title, median, "examples/s", one_by_one=[round(value) for value in speeds], **context)
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
        with emptied(folder / "training_examples"), emptied(folder / "training_users"):
            layout = (options.rows_per_group, settings.seed)
            write_examples(folder / "training_examples", arguments.rows, title_ids, options.history_titles, *layout)
            write_users(folder / "training_users", arguments.users, few, options.user_history_titles, *layout)
            _measure(report, settings, folder, title_ids, few, arguments)


def _measure(
    report: Report,
    settings: Settings,
    folder: Path,
    title_ids: NDArray[np.int64],
    few: NDArray[np.int64],
    arguments: Namespace,
) -> None:
    feed = open_feed(settings, folder, "training_examples")
    context = {"batch": feed.batch_size, "history": settings.examples.history_titles}
    report.add("examples", feed.count_rows, "rows", **context)
    report.add("GPUs", len(tf.config.list_physical_devices("GPU")), "devices")
    maker = InputMaker(title_ids, COUNTRIES)
    add_reading(report, feed, maker, arguments)
    fed = add_training(report, settings, feed, maker, title_ids, arguments)
    tutorial = tutorial_examples_a_second(report, settings, feed, title_ids, arguments)
    report.add("(c) over (e)", fed / tutorial, "ratio", at_least=arguments.min_tutorial_ratio)
    users = open_feed(settings, folder, "training_users")
    predicted = user_likes_a_second(report, settings, users, few, arguments.repeats)
    report.add("(f) over (e)", predicted / tutorial, "ratio", at_least=arguments.min_tutorial_ratio)


def _parser() -> ArgumentParser:
    parser = command_line.parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="examples in the table")
    parser.add_argument("--titles", type=int, default=30_000, help="in the catalogue")
    parser.add_argument("--users", type=int, default=20_000, help="of (f)")
    parser.add_argument("--user-titles", type=int, default=3_000, help="in the catalogue of (f)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each")
    parser.add_argument("--training-steps", type=int, default=200, help="for (c) and (d)")
    parser.add_argument("--held-batches", type=int, default=100, help="of (d)")
    parser.add_argument("--wait-steps", type=int, default=200, help="timed one by one")
    parser.add_argument("--tutorial-steps", type=int, default=50, help="of (e)")
    parser.add_argument("--min-feed-ratio", type=float, default=0.8, help="target of (b) over (a)")
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
