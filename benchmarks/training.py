"""How fast training reads and learns, beside reading alone, learning alone, and the way TFRS's tutorials do both.

Makes its own tables, before any clock starts, in --work (default: a temporary folder, removed at the end), and prints
one JSON line per figure, then all as a table on standard error. All in examples a second, in one process:

  (a) reader      Petastorm's batch reader alone, with the options that the feed gives it, in the order of the files
  (b) feed        what models.data.dataset makes of it: shuffled over a buffer, in batches, as tensors of tf.data
      inputs      the same with titles and countries turned into rows: what training takes
  (c) training    --training-steps steps of the sampled softmax network from these inputs, from the start of an epoch
                  on, reading and shuffling included
  (d) in memory   the same network trained on the same batches, made before and held as tensors
  (e) tutorial    the same rows one by one through tf.data, ids as strings that a layer looks up, an embedding for each
                  title of each row, in-batch negatives; of the same batch size and dimensions
  (f) users       epochs of the softmax over the whole catalogue, which models.train takes for up to
                  training.max_softmax_titles titles, here of --user-titles: likes that are predicted, as one is by each
                  example of the others

(a) and (b), and then (c) and (d), take turns, so that whatever else the machine does slows both; figures are medians,
and the ratios of those that take turns medians of the turns' ratios.
Each network makes its first steps before the clock starts. (e) is timed from its second batch on: what its shuffling
takes to begin is not held against it.

The input wait is timed step by step, outside of Keras: how long a step waits for its batch. On a machine without a
GPU reading also takes processor time from learning, which (c) beside (d) shows and the wait does not.

A target that is missed is printed as missed; the exit code is 0 all the same.
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

from benchmarks.measure import Report, emptied, reporting
from benchmarks.training_networks import COUNTRIES, example_network, user_network
from benchmarks.training_rows import write_examples, write_users
from benchmarks.training_tutorial import TutorialModel, tutorial_dataset
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
    """The feed that models.train would read a table by."""
    loss = "user_softmax" if table == "training_users" else "sampled_softmax"
    return training.reader_for(settings, LakeSnapshot.pin(str(root), [table]), loss)


def count_a_second(batches: Iterable[Any], size: int) -> float:
    """Examples a second of going through `batches` of `size` examples each."""
    started = perf_counter()
    count = sum(1 for _ in batches)
    return count * size / (perf_counter() - started)


def raw_rows_a_second(feed: BatchReader) -> float:
    """Of Petastorm's reader alone."""
    started = perf_counter()
    count = 0
    with feed.open_reader(None) as reader:
        for group in reader:
            count += len(group.title_id)
    return count / (perf_counter() - started)


def by_turns(repeats: int, **measures: Callable[[], float]) -> dict[str, list[float]]:
    """Each of `measures` so many times, one after the other."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repeats):
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def add_reading(report: Report, feed: BatchReader, maker: InputMaker, arguments: Namespace) -> None:
    """(a) and (b)."""
    epochs = iter(range(10_000))
    found = by_turns(
        arguments.repeats,
        raw=lambda: raw_rows_a_second(feed),
        feed=lambda: count_a_second(feed.dataset(next(epochs)), feed.batch_size),
        inputs=lambda: count_a_second(maker.dataset(feed, next(epochs)), feed.batch_size),
    )
    _add(report, "(a) raw Petastorm reader", found["raw"])
    for name, title in (("feed", "(b) our feed"), ("inputs", "our feed, titles as rows")):
        _add(report, title, found[name])
        _add_turns_ratio(report, f"{title}, over (a)", found[name], found["raw"], arguments.min_feed_ratio)


def add_training(
    report: Report,
    settings: Settings,
    feed: BatchReader,
    maker: InputMaker,
    title_ids: NDArray[np.int64],
    arguments: Namespace,
) -> float:
    """(c), (d) and the input wait; (c)."""
    made = example_network(settings, title_ids)
    in_memory = held(maker.dataset(feed, 0), arguments.held_batches)
    made.fit(in_memory.take(_WARM_UP_STEPS), verbose=0)
    epochs = iter(range(10_000))

    def trained(data: tf.data.Dataset) -> float:
        started = perf_counter()
        made.fit(data, verbose=0)
        return int(data.cardinality()) * feed.batch_size / (perf_counter() - started)

    # As many steps from memory: held batches again and again.
    steps = min(arguments.training_steps, feed.count_batches)
    found = by_turns(
        arguments.repeats,
        fed=lambda: trained(maker.dataset(feed, next(epochs)).take(steps)),
        held=lambda: trained(in_memory.repeat().take(steps)),
    )
    how = {"steps": steps, "titles": len(title_ids), "dim": settings.model.dim}
    fed = _add(report, "(c) training from the feed", found["fed"], **how)
    _add(report, "(d) training from tensors in memory", found["held"], **how)
    _add_turns_ratio(report, "(c) over (d)", found["fed"], found["held"], arguments.min_training_ratio)
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
    """The share of step time that a step waits for its batch, and a step's mean time in milliseconds with it.

    The first steps, for which the function is traced and the feed's buffer fills, are not counted.
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
        step(batch)["loss"].numpy()  # waits till it is done
        totals.append(perf_counter() - started)
    counted = slice(min(_WARM_UP_STEPS, len(totals) - 1), None)
    total = sum(totals[counted])
    return sum(waits[counted]) / total, 1000 * total / len(totals[counted])


def tutorial_examples_a_second(
    report: Report, settings: Settings, feed: BatchReader, title_ids: NDArray[np.int64], arguments: Namespace
) -> float:
    """(e)."""
    model = TutorialModel(title_ids, settings.model.dim)
    model.compile(optimizer=keras.optimizers.Adam(settings.training.learning_rate))
    found = []
    for _ in range(arguments.repeats):
        timer = _FirstBatch()
        data = tutorial_dataset(feed, feed.batch_size, settings.training.shuffle_buffer_rows)
        history = model.fit(data.take(arguments.tutorial_steps + 1), verbose=0, callbacks=[timer])
        assert np.isfinite(history.history["loss"][-1])
        found.append(timer.count_timed * feed.batch_size / (perf_counter() - timer.started))
    return _add(report, "(e) TFRS-tutorial style", found, steps=arguments.tutorial_steps)


def user_likes_a_second(
    report: Report, settings: Settings, feed: BatchReader, title_ids: NDArray[np.int64], repeats: int
) -> float:
    """(f)."""
    made = user_network(settings, title_ids)
    maker = InputMaker(title_ids, COUNTRIES)
    likes = sum(int(np.count_nonzero(batch["rows"])) for batch in maker.dataset(feed, 0))
    predicted = likes * sum(network.DROPPED_SHARE) / 2
    made.fit(maker.dataset(feed, 0).take(_WARM_UP_STEPS), verbose=0)
    found = []
    for epoch in range(repeats):
        started = perf_counter()
        made.fit(maker.dataset(feed, epoch), verbose=0)
        found.append(predicted / (perf_counter() - started))
    how = {"steps": feed.count_batches, "users_per_batch": feed.batch_size, "titles": len(title_ids), "likes": likes}
    return _add(report, "(f) softmax over the catalogue, from the feed", found, **how)


class _FirstBatch(keras.callbacks.Callback):
    """Starts the clock after the first batch."""

    started = 0.0
    count_timed = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            self.started = perf_counter()
        self.count_timed = batch


def _add(report: Report, title: str, found: Sequence[float], **context: Any) -> float:
    median = statistics.median(found)
    report.add(title, median, "examples/s", one_by_one=[round(value) for value in found], **context)
    return median


def _add_turns_ratio(
    report: Report, title: str, above: Sequence[float], below: Sequence[float], at_least: float
) -> None:
    ratios = [over / under for over, under in zip(above, below, strict=True)]
    turns = [round(ratio, 3) for ratio in ratios]
    report.add(title, statistics.median(ratios), "ratio", at_least=at_least, turn_by_turn=turns)


def work(settings: Settings, arguments: Namespace) -> None:
    """Measure, and show the table."""
    title_ids = np.random.default_rng(settings.seed).permutation(10 * arguments.titles)[: arguments.titles] + 1
    with reporting("training", ("petastorm", "pyarrow", "tensorflow"), arguments.work) as (report, folder):
        options, few = settings.examples, title_ids[: arguments.user_titles]
        with emptied(folder / "training_examples"), emptied(folder / "training_users"):
            how = (options.rows_per_group, settings.seed)
            write_examples(folder / "training_examples", arguments.rows, title_ids, options.history_titles, *how)
            write_users(folder / "training_users", arguments.users, few, options.user_history_titles, *how)
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
    about = {"batch": feed.batch_size, "history": settings.examples.history_titles}
    report.add("examples", feed.count_rows, "rows", **about)
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
    parser.add_argument("--repeats", type=int, default=3, help="how often each is measured")
    parser.add_argument("--training-steps", type=int, default=200, help="of (c) and (d)")
    parser.add_argument("--held-batches", type=int, default=100, help="of (d)")
    parser.add_argument("--wait-steps", type=int, default=200, help="timed one by one")
    parser.add_argument("--tutorial-steps", type=int, default=50, help="of (e)")
    parser.add_argument("--min-feed-ratio", type=float, default=0.8, help="target of (b) over (a)")
    parser.add_argument("--min-training-ratio", type=float, default=0.9, help="target of (c) over (d)")
    parser.add_argument("--min-tutorial-ratio", type=float, default=5.0, help="target of (c) and (f) over (e)")
    parser.add_argument("--max-wait-share", type=float, default=0.05, help="target of the input wait")
    parser.add_argument("--work", metavar="FOLDER", help="where tables are made; they don't stay")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return command_line.run(_parser(), work, argv)


if __name__ == "__main__":
    sys.exit(main())
