"""The networks that the benchmark trains: those of models.train, with titles of equal weight in the loss."""

from dataclasses import replace

import numpy as np

from benchmarks.training_bench.rows import zipf
from conf.settings import Settings
from lake.vocabulary_ids import FIRST_ID
from models.fit import epochs
from models.fit.network import DROPPED_SHARE, TARGET_POWER
from models.towers.networks import NetworkOptions, UserOptions, UserSoftmax
from models.towers.sampled_softmax import SampledSoftmax

COUNTRIES = ("DE", "FR", "GB", "US")
_FEATURES = 426  # of content of the simulated titles, as models.data.content_features makes them
_MANY_STEPS = 10_000  # over which the learning rate falls


def sampled_network(settings: Settings, count_titles: int) -> SampledSoftmax:
    """A compiled network of the softmax over a sample; popularity follows Zipf's law, as in the users' histories.

    Features of content are drawn by chance: they cost as much as real ones.
    """
    epochs.use_precision(settings.training)
    popularity = zipf(count_titles)
    about = replace(
        _options(settings, count_titles),
        content=np.random.default_rng(settings.seed).normal(size=(count_titles, _FEATURES)).astype(np.float32),
        log_popularity=np.log(popularity).astype(np.float32),
    )
    made = SampledSoftmax(about, _users(settings), popularity, settings.training.negatives)
    epochs.compile_network(made, settings.training, _MANY_STEPS)
    return made


def catalogue_network(settings: Settings, count_titles: int) -> UserSoftmax:
    """A compiled network of the softmax over the whole catalogue."""
    epochs.use_precision(settings.training)
    made = UserSoftmax(_options(settings, count_titles), _users(settings))
    epochs.compile_network(made, settings.training, _MANY_STEPS)
    return made


def _options(settings: Settings, count_titles: int) -> NetworkOptions:
    model = settings.model
    return NetworkOptions(
        dim=model.dim,
        count_titles=count_titles,
        count_countries=FIRST_ID + len(COUNTRIES),
        temperature=model.temperature,
        seed=settings.seed,
    )


def _users(settings: Settings) -> UserOptions:
    return UserOptions(DROPPED_SHARE, TARGET_POWER, settings.interactions.positive_min_weight)
