"""Training by epoch: checkpoints, early stopping, precision and compilation."""

import logging
import math
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conf.settings import Training
from models.data.dataset import clear_errors
from models.errors import ModelError
from models.fit import workers
from models.towers.legacy_keras import keras, tf
from models.towers.networks import TwoTowerNetwork

log = logging.getLogger("marquee")

# Share of the learning rate that is left at the end of the cosine: at 0 the last epochs would change nothing.
FINAL_LEARNING_RATE_SHARE = 0.05


@dataclass(frozen=True)
class EpochResult:
    """Loss and validation figure of an epoch; `validation` is None without a validation split."""

    epoch: int  # from 0
    loss: float
    validation: float | None


def use_precision(options: Training) -> None:
    """Use bfloat16 for the towers' products where the settings or a GPU call for it; variables stay float32.

    Not float16: its losses would have to be scaled, which the training step of TFRS does not do.
    """
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    is_mixed = options.mixed_precision == "on" or (options.mixed_precision == "auto" and has_gpu)
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if is_mixed else "float32")


def compile_network(network: TwoTowerNetwork, options: Training, count_steps: int) -> None:
    """Adam, with a learning rate that falls along a cosine over `count_steps`."""
    rate = keras.optimizers.schedules.CosineDecay(
        options.learning_rate, max(count_steps, 1), alpha=FINAL_LEARNING_RATE_SHARE
    )
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    network.compile(
        optimizer=keras.optimizers.Adam(rate), jit_compile=options.xla == "on" or (options.xla == "auto" and has_gpu)
    )


def fit(
    network: TwoTowerNetwork,
    epoch_data: Callable[[int], tf.data.Dataset],
    options: Training,
    folder: Path,
    validate: Callable[[], float] | None,
    on_epoch: Callable[[EpochResult], None],
    steps: int | None = None,
) -> list[EpochResult]:
    """Train to the last epoch, or until `validate` has not risen for `patience_epochs`; the best weights stay.

    After every epoch a checkpoint is written to `folder`; a run that finds one there goes on after it. An epoch's
    random draws depend on its number alone, so such a run ends as one without a break. `steps` of an epoch are needed
    where the length of `epoch_data` is not known. Raises ModelError for a loss that is not finite.

    Of several workers the chief validates and keeps checkpoints; all workers resume from these.
    """
    strategy = network.distribute_strategy
    is_chief = strategy.extended.should_checkpoint
    done = tf.Variable(0, dtype=tf.int64)
    best = tf.Variable(-math.inf, dtype=tf.float64)
    best_epoch = tf.Variable(0, dtype=tf.int64)
    network.optimizer.build(network.trainable_variables)
    state = tf.train.Checkpoint(network=network, done=done, best=best, best_epoch=best_epoch)
    if checkpoint := tf.train.latest_checkpoint(str(folder / "latest")):
        state.restore(checkpoint).assert_existing_objects_matched()
        log.info("training goes on after epoch %d, from %s", int(done), folder)
    # All workers must write together; the others' checkpoints are deleted at the end.
    kept = folder if is_chief else Path(tempfile.mkdtemp(prefix="marquee-worker-"))
    latest = tf.train.CheckpointManager(state, str(kept / "latest"), max_to_keep=1)
    at_best = tf.train.CheckpointManager(tf.train.Checkpoint(network=network), str(kept / "best"), max_to_keep=1)
    results = []
    for epoch in range(int(done), options.epochs):
        if validate and epoch - int(best_epoch) > options.patience_epochs:
            log.info("stopped early: no better since epoch %d", int(best_epoch) + 1)
            break
        with workers.clear_worker_errors(strategy):
            loss = _run_epoch(network, epoch_data(epoch), epoch, steps)
            figure = workers.chief_figure(strategy, validate() if is_chief else 0.0) if validate else None
        result = EpochResult(epoch, loss, figure)
        results.append(result)
        on_epoch(result)
        if result.validation is not None and result.validation > float(best):
            best.assign(result.validation)
            best_epoch.assign(epoch)
            at_best.save()
        done.assign(epoch + 1)
        latest.save()
    if not is_chief:
        shutil.rmtree(kept)
    elif validate and at_best.latest_checkpoint:
        tf.train.Checkpoint(network=network).restore(at_best.latest_checkpoint).expect_partial()
    return results


def _run_epoch(network: TwoTowerNetwork, data: tf.data.Dataset, epoch: int, steps: int | None) -> float:
    with clear_errors():
        network.fit(data, epochs=1, steps_per_epoch=steps, verbose=0)
    loss = network.epoch_loss()
    if not math.isfinite(loss):
        raise ModelError(
            f"epoch {epoch + 1}: the loss is {loss}; lower training.learning_rate, and look for features that are"
            " not finite"
        )
    return loss
