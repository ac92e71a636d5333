"""From pinned tables to a trained model: towers, EASE, content and ALS, all of it as one vector."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from conf.settings import Settings
from lake.arrays import Floats
from lake.snapshot import LakeSnapshot
from models import position_bias
from models.blend.combined import Part, combine
from models.blend.two_tower import LearntTitles, ModelCard, TwoTower
from models.data.catalogue import Catalogue, read_catalogue, read_token_names
from models.data.dataset import BatchReader, Shuffle
from models.data.padded_histories import pad_newest_first
from models.data.positives import Positives, read_positives
from models.errors import ModelError
from models.evaluation import evaluation_set
from models.evaluation.evaluation_set import EvaluationSet
from models.fit import epochs, workers
from models.fit.epochs import EpochResult
from models.fit.tower_validation import TowerValidation, tower_queries
from models.fit.training_inputs import EXAMPLE_COLUMNS, FIRST_COUNTRY_ID, USER_COLUMNS, InputMaker
from models.fit.workers import SharedReader
from models.linear import linear_part
from models.linear.als import Als
from models.linear.cold_ridge import ColdRidge
from models.linear.content_kernel import features, select
from models.linear.ease import Ease
from models.position_bias import ClickRanks
from models.towers.layers import QUERY_WEIGHTS
from models.towers.legacy_keras import keras
from models.towers.networks import NetworkOptions, SampledSoftmax, TwoTowerNetwork, UserSoftmax
from models.towers.query_module import QueryParameters

log = logging.getLogger("marquee")

_MAX_SAMPLED_USERS = 10_000  # whose scores say which directions to keep


@dataclass(frozen=True)
class Inputs:
    """What a training is made of. The model's rows are `warm`, the titles that somebody liked."""

    snapshot: LakeSnapshot
    catalogue: Catalogue
    train: Positives
    countries: Sequence[str]
    warm: NDArray[np.int64]  # positions in the catalogue
    title_weights: Floats | None  # [titles], of a like in the loss; see models/position_bias.py
    appeal: Floats  # [titles], to people of whom nothing is known; see models/position_bias.py
    held_back: EvaluationSet | None  # what early stopping is measured with

    @classmethod
    def of(
        cls,
        settings: Settings,
        snapshot: LakeSnapshot,
        catalogue: Catalogue,
        train: Positives,
        countries: Sequence[str],
        ranks: ClickRanks,
        held_back: EvaluationSet | None = None,
    ) -> Self:
        """Titles that `train` likes are warm, and weigh what was known in `ranks` of how they were shown."""
        likes = np.bincount(train.liked.indices, minlength=len(catalogue))
        title_weights = position_bias.title_weights(ranks, catalogue, likes, settings.position_bias)
        appeal = position_bias.appeal(ranks, catalogue, likes, settings.position_bias)
        return cls(snapshot, catalogue, train, countries, np.flatnonzero(likes), title_weights, appeal, held_back)

    @property
    def title_ids(self) -> NDArray[np.int64]:
        """[warm titles]."""
        return self.catalogue.title_ids[self.warm]

    @property
    def counts(self) -> NDArray[np.int64]:
        """[warm titles]: users who liked each."""
        return np.bincount(self.liked.indices, minlength=len(self.warm))

    @property
    def data_hash(self) -> str:
        """SHA-256 of who liked what, by ids, and what likes weigh: the same for the same data in whatever files."""
        digest = hashlib.sha256("\n".join(self.train.user_ids).encode())
        for values in (self.catalogue.title_ids, self.train.liked.indptr, self.train.liked.indices, self.train.days):
            digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
        for weights in (self.title_weights, self.appeal):
            if weights is not None:
                digest.update(np.ascontiguousarray(weights, dtype="<f8").tobytes())
        return digest.hexdigest()

    @property
    def liked(self) -> sparse.csr_matrix:
        """[users, warm titles]."""
        return self.train.liked[:, self.warm].tocsr()


def read_inputs(settings: Settings, snapshot: LakeSnapshot) -> Inputs:
    """What the tables hold; raises ModelError where nobody liked anything."""
    catalogue = read_catalogue(snapshot, settings.content.blocks)
    train = read_positives(snapshot, "train", catalogue)
    if not train.liked.nnz:
        raise ModelError(f"{snapshot.describe('training_examples')}: nothing to train on")
    # Nothing of the days that are held out.
    ranks = position_bias.read(snapshot).until(np.floor(train.days.max()))
    countries = read_token_names(snapshot, "country")
    splits = snapshot.splits("training_examples")
    held_back = evaluation_set.of_split(snapshot, "validation", catalogue) if "validation" in splits else None
    return Inputs.of(settings, snapshot, catalogue, train, countries, ranks, held_back)


def train_model(
    settings: Settings,
    inputs: Inputs,
    checkpoints: Path,
    on_epoch: Callable[[EpochResult], None],
    warm_start: TwoTower | None = None,
) -> TwoTower:
    """Train on `inputs`; an unfinished training of the same is gone on with from `checkpoints`.

    With `warm_start` the towers begin as that model has them. The same seed on the same versions gives the same model
    on a CPU.
    """
    return _assembled(settings, inputs, _trained(settings, inputs, checkpoints, on_epoch, warm_start))


def help_train(settings: Settings, inputs: Inputs, checkpoints: Path, warm_start: TwoTower | None = None) -> None:
    """A worker's part in the training of another one, the chief, which alone gets the model."""
    _trained(settings, inputs, checkpoints, lambda result: None, warm_start)


def _trained(
    settings: Settings,
    inputs: Inputs,
    checkpoints: Path,
    on_epoch: Callable[[EpochResult], None],
    warm_start: TwoTower | None,
) -> TwoTowerNetwork:
    runs_on = workers.strategy(settings.training)
    keras.utils.set_random_seed(settings.seed)
    loss = loss_for(settings, len(inputs.warm))
    epochs.use_precision(settings.training)
    maker = InputMaker(inputs.title_ids, inputs.countries)
    reader = SharedReader(reader_for(settings, inputs.snapshot, loss), maker.dataset, runs_on)
    with runs_on.scope():
        network = _network(settings, inputs, loss)
        if warm_start:
            warm_start.give_towers_to(network, inputs.title_ids)
        epochs.compile_network(network, settings.training, reader.steps * settings.training.epochs)
    validation = TowerValidation(settings, inputs.held_back, inputs.warm, network) if inputs.held_back else None
    epochs.fit(network, reader.dataset, settings.training, checkpoints, validation, on_epoch, reader.steps_per_epoch)
    return network


def loss_for(settings: Settings, count_titles: int) -> str:
    """The loss that the settings ask for with so many titles."""
    if settings.training.loss != "auto":
        return settings.training.loss
    return "user_softmax" if count_titles <= settings.training.max_softmax_titles else "sampled_softmax"


def reader_for(settings: Settings, snapshot: LakeSnapshot, loss: str) -> BatchReader:
    """The rows that a loss is computed on: users or examples."""
    options = settings.training
    is_by_user = loss == "user_softmax"
    table, split = ("training_users", None) if is_by_user else ("training_examples", "train")
    files = snapshot.open(table, split)
    wanted = options.users_per_batch if is_by_user else options.examples_per_batch
    return BatchReader(
        files,
        USER_COLUMNS if is_by_user else EXAMPLE_COLUMNS,
        batch_size=min(wanted, sum(files.row_groups)),
        shuffle=Shuffle(settings.seed, options.shuffle_buffer_rows),
        drop_remainder=True,
        reader_threads=options.reader_threads,
    )


def _ease_weights(settings: Settings, inputs: Inputs) -> Floats:
    """[warm titles, warm titles]."""
    options = settings.model.ease
    ease = Ease(
        options.regularization,
        settings.training.max_softmax_titles,
        dropout=options.dropout,
        history_power=options.history_power,
    )
    ease.fit(inputs.liked, inputs.catalogue.content)
    return ease.weights.astype(np.float32)  # all titles are warm, so all are used


def _network(settings: Settings, inputs: Inputs, loss: str) -> TwoTowerNetwork:
    model, training = settings.model, settings.training
    options = NetworkOptions(
        dim=model.dim,
        count_titles=len(inputs.warm),
        count_countries=FIRST_COUNTRY_ID + len(inputs.countries),
        temperature=model.temperature,
        seed=settings.seed,
        title_weights=None if inputs.title_weights is None else inputs.title_weights[inputs.warm],
    )
    if loss == "sampled_softmax":
        counts = inputs.counts
        popularity = (counts / counts.sum()).astype(np.float32)
        return SampledSoftmax(options, popularity, training.uniform_negatives, training.correct_sampling)
    least, most = training.dropped_share
    return UserSoftmax(
        options,
        (least, most),
        training.target_power,
        settings.interactions.positive_min_weight,
    )


def _assembled(settings: Settings, inputs: Inputs, network: TwoTowerNetwork) -> TwoTower:
    """The model of all parts, side by side and compressed: towers, what is linear in likes, and ALS."""
    table = network.titles.table().numpy()[1:].astype(np.float32)
    sample = _sampled_users(inputs.liked, settings.seed)
    histories = inputs.liked[sample]
    queries = tower_queries(network, pad_newest_first(histories, None, None, settings.examples.user_history_titles))
    weights = settings.model.weights
    parts = {"towers": Part(queries, table, weights.towers)}
    if linear := list(_linear_matrices(settings, inputs)):
        lengths = np.sqrt(np.maximum(np.diff(histories.indptr), 1))
        shares = sparse.csr_matrix(sparse.diags(1 / lengths) @ histories)  # else long histories would decide
        parts["linear"] = linear_part.linear_part(shares, linear)
    als = _fitted_als(settings, inputs) if weights.als > 0 else None
    if als:
        parts["als"] = Part(_float32(als.user_vectors(histories)), _float32(als.title_vectors), weights.als)
    small = combine(parts, settings.model.compressed_dims, settings.seed, np.log(inputs.appeal[inputs.warm]))
    length = float(np.linalg.norm(small.queries(parts), axis=1).mean())
    titles = LearntTitles(
        title_ids=inputs.title_ids,
        counts=inputs.counts,
        vectors=small.vectors,
        tower=table,
        linear=small.projections.get("linear", np.zeros_like(small.vectors)),
        factors=_float32(als.title_vectors) if als else np.empty((len(table), 0), dtype=np.float32),
    )
    query = QueryParameters(
        tower={name: getattr(network.query, name).numpy() for name in QUERY_WEIGHTS},
        tower_projection=small.projections["towers"],
        factor_projection=small.projections.get("als", np.empty((0, small.vectors.shape[1]), dtype=np.float32)),
        part_weights={"linear": 0.0, "als": 0.0} | {name: part.weight for name, part in parts.items()},
        system=_float32(als.system) if als else np.empty((0, 0), dtype=np.float32),
        nobody=length * small.usual_query,
        alpha=settings.baselines.als.alpha,
        positive_min_weight=settings.interactions.positive_min_weight,
        recency_half_life=settings.model.recency.half_life_titles or 0.0,
        recency_floor=settings.model.recency.floor,
    )
    return TwoTower(titles, query, _card(settings, inputs))


def _linear_matrices(settings: Settings, inputs: Inputs) -> Iterator[tuple[Floats, float]]:
    """What is linear in likes, [warm titles, warm titles] each, with its weight."""
    weights = settings.model.weights
    if weights.ease > 0 and loss_for(settings, len(inputs.warm)) == "user_softmax":
        yield _ease_weights(settings, inputs), weights.ease
    if not weights.content:
        return
    most = settings.model.cold_start.max_titles
    if not 2 <= len(inputs.warm) <= most:
        log.info("content has no part in the score of %d titles: from 2 to %d can have one", len(inputs.warm), most)
        return
    rows = select(features(inputs.catalogue.content.only(settings.content.blocks)), inputs.warm)
    yield linear_part.content_weights(rows, inputs.counts, _cold_ridge(settings)), weights.content


def _sampled_users(liked: sparse.csr_matrix, seed: int) -> NDArray[np.int64]:
    if liked.shape[0] <= _MAX_SAMPLED_USERS:
        return np.arange(liked.shape[0])
    return np.sort(np.random.default_rng(seed).choice(liked.shape[0], _MAX_SAMPLED_USERS, replace=False))


def _fitted_als(settings: Settings, inputs: Inputs) -> Als:
    options = settings.baselines.als
    als = Als(options.factors, options.regularization, options.alpha, options.iterations, settings.seed)
    als.fit(inputs.liked, inputs.catalogue.content)
    return als


def _card(settings: Settings, inputs: Inputs) -> ModelCard:
    blocks = dict(settings.content.blocks)
    return ModelCard(settings.examples.user_history_titles, blocks, inputs.countries, _cold_ridge(settings))


def _cold_ridge(settings: Settings) -> ColdRidge:
    return ColdRidge(**settings.model.cold_start.model_dump())


def _float32(values: NDArray[np.float64]) -> Floats:
    return values.astype(np.float32)
