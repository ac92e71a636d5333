"""Distribution of training: one machine, all of its GPUs, or several workers that train one network together.

Workers find each other by TensorFlow's variable TF_CONFIG. The same command is started on each, with the worker's
index, and `training.checkpoints` is a folder that all of them see. The first worker is the chief: it alone measures,
writes checkpoints and registers the model.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from conf.settings import Training
from models.data.dataset import BatchReader
from models.errors import ModelError
from models.towers.legacy_keras import tf

# Makes the dataset of an epoch from a reader and the epoch's number.
Mapped = Callable[[BatchReader, int], tf.data.Dataset]


def strategy(options: Training) -> tf.distribute.Strategy:
    """The strategy that the settings name; by default all GPUs of this machine. Must come before TensorFlow runs.

    Raises ModelError for workers without a cluster.
    """
    if options.strategy == "multi_worker":
        _cluster()
        return tf.distribute.MultiWorkerMirroredStrategy()
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    if options.strategy == "mirrored" or (options.strategy == "auto" and has_gpu):
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def is_chief(options: Training) -> bool:
    """True in the process that validates, writes checkpoints and registers the model."""
    if options.strategy != "multi_worker":
        return True
    cluster = _cluster()
    if cluster.task_type == "chief":
        return True
    return cluster.task_type == "worker" and not cluster.task_id and not cluster.cluster_spec().as_dict().get("chief")


def _cluster() -> tf.distribute.cluster_resolver.ClusterResolver:
    cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if not cluster.cluster_spec().as_dict() or cluster.task_type is None:
        raise ModelError(
            "training.strategy is multi_worker, but TF_CONFIG names no cluster: set it to the addresses of all workers"
            " and the task of this one, or take another strategy"
        )
    return cluster


@dataclass(frozen=True)
class SharedReader:
    """The reader of a training; of several workers each reads a shard, and their batches make one of `reader`.

    Raises ModelError where the batch can't be divided evenly, or a shard is smaller than one batch.
    """

    reader: BatchReader
    mapped: Mapped
    strategy: tf.distribute.Strategy

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ModelError(
                f"{self.reader.files.table}: {self.reader.count_rows} rows in {len(self.reader.files.row_groups)} row"
                f" groups make no batch of {self.reader.batch_size} for {self._workers} workers: lower"
                " examples.rows_per_group"
            )

    @property
    def steps(self) -> int:
        """Steps of an epoch: as many as every worker has batches for."""
        if not self._workers:
            return self.reader.count_batches
        per_step = self.strategy.num_replicas_in_sync // self._workers  # each replica takes one batch
        return self._shard(0).count_common_batches // per_step

    @property
    def steps_per_epoch(self) -> int | None:
        """Steps for Keras' fit, which can't tell the length of a distributed dataset; None without a cluster."""
        return self.steps if self._workers else None

    def dataset(self, epoch: int) -> Any:
        """One pass, for Keras' fit."""
        if not self._workers:
            return self.mapped(self.reader, epoch)
        return self.strategy.distribute_datasets_from_function(
            lambda context: self.mapped(self._shard(context.input_pipeline_id), epoch)
        )

    def _shard(self, number: int) -> BatchReader:
        replicas = self.strategy.num_replicas_in_sync
        if self.reader.batch_size % replicas:
            raise ModelError(f"batches of {self.reader.batch_size} can't be shared out evenly to {replicas} replicas")
        size = self.reader.batch_size // replicas
        return replace(self.reader, batch_size=size, cur_shard=number, shard_count=self._workers)

    @property
    def _workers(self) -> int:
        """0 without a cluster: then batches are shared out as they come."""
        return _count_workers(self.strategy)


def _count_workers(strategy: tf.distribute.Strategy) -> int:
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict() if resolver else {}
    return sum(len(cluster.get(name, [])) for name in ("chief", "worker"))


@contextmanager
def clear_worker_errors(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Raise ModelError where another worker no longer responds."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError) as error:
        if not _count_workers(strategy):
            raise
        raise ModelError(
            "another worker is gone or can't be reached; start all of them again, and training goes on from its last"
            " checkpoint"
        ) from error


def chief_figure(strategy: tf.distribute.Strategy, figure: float) -> float:
    """The chief's figure, on every worker, so that all of them decide alike."""
    if not _count_workers(strategy):
        return figure
    summand = figure if strategy.extended.should_checkpoint else 0.0
    count_local = len(strategy.extended.worker_devices)  # each device adds the summand
    return float(_summed(strategy, tf.constant(summand, tf.float64))) / count_local


@tf.function
def _summed(strategy: tf.distribute.Strategy, value: tf.Tensor) -> tf.Tensor:
    """The sum over all replicas of all workers."""
    return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(tf.identity, args=(value,)), axis=None)
