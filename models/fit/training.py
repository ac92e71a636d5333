"""Training of the two towers on pinned tables, alone or with several workers; start with `train_model`."""

from collections.abc import Callable
from pathlib import Path

from conf.settings import Settings, Training
from lake.snapshot import LakeSnapshot
from models.blend.two_tower import TwoTower
from models.data.dataset import BatchReader, Shuffle
from models.fit import epochs, workers
from models.fit.epochs import EpochResult
from models.fit.inputs import Inputs
from models.fit.model_assembly import assemble
from models.fit.network import loss_for, make_network
from models.fit.network_inputs import USER_COLUMNS, InputMaker
from models.fit.tower_validation import TowerValidation
from models.fit.workers import SharedReader
from models.towers.legacy_keras import keras
from models.towers.networks import TwoTowerNetwork


def train_model(
    settings: Settings,
    inputs: Inputs,
    checkpoints: Path,
    on_epoch: Callable[[EpochResult], None],
    warm_start: TwoTower | None = None,
) -> TwoTower:
    """Train on `inputs`; an unfinished training of the same continues from `checkpoints`.

    With `warm_start` the towers begin with that model's weights. The same seed on the same versions gives the same
    model on a CPU.
    """
    return assemble(settings, inputs, _train_towers(settings, inputs, checkpoints, on_epoch, warm_start))


def help_train(settings: Settings, inputs: Inputs, checkpoints: Path, warm_start: TwoTower | None = None) -> None:
    """Train as a worker beside the chief, which alone gets the model."""
    _train_towers(settings, inputs, checkpoints, lambda result: None, warm_start)


def _train_towers(
    settings: Settings,
    inputs: Inputs,
    checkpoints: Path,
    on_epoch: Callable[[EpochResult], None],
    warm_start: TwoTower | None,
) -> TwoTowerNetwork:
    strategy = workers.strategy(settings.training)
    keras.utils.set_random_seed(settings.seed)
    loss = loss_for(settings, len(inputs.warm))
    epochs.use_precision(settings.training)
    maker = InputMaker(inputs.title_ids, inputs.countries)
    reader = SharedReader(reader_for(settings, inputs.snapshot), maker.dataset, strategy)
    options, steps = within_budget(settings.training, reader.steps)
    with strategy.scope():
        network = make_network(settings, inputs, loss)
        if warm_start:
            warm_start.give_towers_to(network, inputs.title_ids)
        epochs.compile_network(network, options, steps * options.epochs)
    validation = TowerValidation(settings, inputs.held_back, inputs.warm, network) if inputs.held_back else None
    # Keras is told the steps of an epoch only where it can't tell them, or is not to make all of them.
    told = steps if steps < reader.steps else reader.steps_per_epoch
    epochs.fit(network, reader.dataset, options, checkpoints, validation, on_epoch, told)
    return network


def within_budget(options: Training, steps: int) -> tuple[Training, int]:
    """The options with as many epochs of `steps` steps as `max_steps` allows, one at least, and the steps of each."""
    count_epochs = max(min(options.epochs, options.max_steps // steps), 1)
    return options.model_copy(update={"epochs": count_epochs}), min(steps, options.max_steps)


def reader_for(settings: Settings, snapshot: LakeSnapshot) -> BatchReader:
    """Reader of the rows that the loss is computed on: users with their histories."""
    options = settings.training
    files = snapshot.open("training_users")
    return BatchReader(
        files,
        USER_COLUMNS,
        batch_size=min(options.users_per_batch, sum(files.row_groups)),
        shuffle=Shuffle(settings.seed, options.shuffle_buffer_rows),
        drop_remainder=True,
        reader_threads=options.reader_threads,
    )
