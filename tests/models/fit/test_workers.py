"""What each of several workers reads, who of them is the chief, and what is told when one is gone."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lake.snapshot import LakeSnapshot
from models.data.dataset import BatchReader
from models.errors import ModelError
from models.fit import training, workers
from models.fit.workers import SharedReader
from models.towers.legacy_keras import tf

Cluster = Mapping[str, list[str]]


class Replicas:
    """Stands in for a strategy: so many replicas in a cluster, and the datasets that its workers are given."""

    def __init__(self, cluster: Cluster, replicas: int) -> None:
        self.num_replicas_in_sync = replicas
        spec = SimpleNamespace(as_dict=lambda: dict(cluster))
        self.cluster_resolver = SimpleNamespace(cluster_spec=lambda: spec) if cluster else None
        self._count = sum(map(len, cluster.values()))

    def distribute_datasets_from_function(self, make: Callable[[Any], Any]) -> list[Any]:
        return [make(SimpleNamespace(input_pipeline_id=number)) for number in range(self._count)]


def mapped(reader: BatchReader, epoch: int) -> tf.data.Dataset:
    return reader.dataset(epoch)


@pytest.fixture(scope="module")
def reader(tiny_lake: Callable[..., Any], trained: Any, tmp_path_factory: pytest.TempPathFactory) -> BatchReader:
    """240 users in row groups of 32, in batches of 20 without the last few rows."""
    lake = tiny_lake(tmp_path_factory.mktemp("workers") / "lake", users=240)
    own = training.reader_for(trained.settings, LakeSnapshot.pin(str(lake.root), ["training_users"]))
    return replace(own, batch_size=20)


def test_one_machine_takes_the_reader_as_it_is(reader: BatchReader) -> None:
    alone = SharedReader(reader, mapped, tf.distribute.get_strategy())
    assert alone.steps == reader.count_batches == 12
    assert alone.steps_per_epoch is None
    assert len(list(alone.dataset(0))) == 12


def rows_of(batches: Iterable[Mapping[str, Any]]) -> Counter[tuple[int, ...]]:
    """How often each history is met."""
    return Counter(tuple(history) for batch in batches for history in batch["history_title_ids"].numpy().tolist())


def test_workers_share_out_the_rows_and_a_step_of_them_is_one_batch(reader: BatchReader) -> None:
    shared = SharedReader(replace(reader, batch_size=16), mapped, Replicas({"worker": ["a:1", "b:1"]}, replicas=2))
    batches = [list(dataset) for dataset in shared.dataset(0)]
    # Row groups of 32: one shard has 128 rows, the other 112; both go on while both have batches of eight.
    assert [len(own) for own in batches] == [16, 14]
    assert shared.steps == shared.steps_per_epoch == 14
    assert {len(batch["country"]) for own in batches for batch in own} == {8}
    assert rows_of(batches[0]) + rows_of(batches[1]) == rows_of(replace(reader, batch_size=16).dataset(0))


def test_a_chief_is_a_worker_too(reader: BatchReader) -> None:
    shared = SharedReader(reader, mapped, Replicas({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, replicas=4))
    # 96, 80 and 64 rows; four replicas take five rows each.
    assert [len(list(dataset)) for dataset in shared.dataset(0)] == [19, 16, 12]
    assert shared.steps == 12


def test_each_replica_of_a_worker_takes_a_batch_of_its_own(reader: BatchReader) -> None:
    shared = SharedReader(reader, mapped, Replicas({"worker": ["a:1", "b:1"]}, replicas=4))
    # 112 rows in batches of five are 22, of which two go into a step.
    assert shared.steps == 11


def test_what_can_not_be_shared_out_is_told(reader: BatchReader) -> None:
    with pytest.raises(ModelError, match="batches of 20 can't be shared out evenly to 3 replicas"):
        SharedReader(reader, mapped, Replicas({"worker": ["a:1", "b:1", "c:1"]}, replicas=3))
    many = {"worker": [f"w{n}:1" for n in range(10)]}
    with pytest.raises(ModelError, match="each needs a row group, of which there are 8"):
        SharedReader(reader, mapped, Replicas(many, replicas=10))
    large = replace(reader, batch_size=238)
    with pytest.raises(
        ModelError, match=r"240 rows in 8 row groups make no batch of 238 for 2 workers: lower examples"
    ):
        SharedReader(large, mapped, Replicas({"worker": ["a:1", "b:1"]}, replicas=2))


@pytest.mark.parametrize(
    ("cluster", "task", "expected"),
    [
        ({"worker": ["a:1", "b:1"]}, ("worker", 0), True),
        ({"worker": ["a:1", "b:1"]}, ("worker", 1), False),
        ({"chief": ["a:1"], "worker": ["b:1"]}, ("chief", 0), True),
        ({"chief": ["a:1"], "worker": ["b:1"]}, ("worker", 0), False),
    ],
)
def test_the_chief_is_the_first_worker_where_none_is_called_so(
    cluster: Cluster,
    task: tuple[str, int],
    expected: bool,
    trained: Any,
    tiny_settings: Callable[..., Any],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = {"cluster": cluster, "task": {"type": task[0], "index": task[1]}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    together = tiny_settings(trained.lake.root, tmp_path, **{"training.strategy": "multi_worker"}).training
    assert workers.is_chief(together) is expected
    assert workers.is_chief(trained.settings.training)


def test_workers_without_a_cluster_are_told(
    trained: Any, tiny_settings: Callable[..., Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    together = tiny_settings(trained.lake.root, tmp_path, **{"training.strategy": "multi_worker"}).training
    for ask in (workers.is_chief, workers.strategy):
        with pytest.raises(ModelError, match="TF_CONFIG names no cluster"):
            ask(together)


def test_a_worker_that_is_gone_is_told_and_other_failures_are_left_alone() -> None:
    gone = tf.errors.UnavailableError(None, None, "The following tasks are unhealthy")
    several, alone = Replicas({"worker": ["a:1", "b:1"]}, 2), tf.distribute.get_strategy()
    with pytest.raises(ModelError, match="another worker is gone"), workers.clear_worker_errors(several):
        raise gone
    with pytest.raises(tf.errors.UnavailableError), workers.clear_worker_errors(alone):
        raise gone
    with pytest.raises(ZeroDivisionError), workers.clear_worker_errors(several):
        raise ZeroDivisionError


def test_one_machine_agrees_with_itself() -> None:
    assert workers.chief_figure(tf.distribute.get_strategy(), 0.25) == 0.25
    assert np.isnan(workers.chief_figure(tf.distribute.get_strategy(), float("nan")))
