"""The networks that the benchmark trains: those of models.train, without content features of titles."""

import numpy as np
from numpy.typing import NDArray

from conf.settings import Settings
from lake.vocabulary_ids import FIRST_ID
from models.fit import epochs, network
from models.towers.networks import NetworkOptions, SampledSoftmax, UserSoftmax

COUNTRIES = ("DE", "FR", "GB", "US")
_MANY_STEPS = 10_000  # over which the learning rate falls


def _options(settings: Settings, count_titles: int) -> NetworkOptions:
    model = settings.model
    return NetworkOptions(
        dim=model.dim,
        count_titles=count_titles,
        count_countries=FIRST_ID + len(COUNTRIES),
        temperature=model.temperature,
        seed=settings.seed,
    )


def example_network(settings: Settings, title_ids: NDArray[np.int64]) -> SampledSoftmax:
    """A compiled network as models.train makes it; popularity follows Zipf's law, as in the examples."""
    options = settings.training
    epochs.use_precision(options)
    shares = (1 / np.arange(1, len(title_ids) + 1)).astype(np.float32)
    made = SampledSoftmax(
        _options(settings, len(title_ids)), shares / shares.sum(), options.uniform_negatives, options.correct_sampling
    )
    epochs.compile_network(made, options, _MANY_STEPS)
    return made


def user_network(settings: Settings, title_ids: NDArray[np.int64]) -> UserSoftmax:
    """A compiled network of the softmax over the whole catalogue."""
    options = settings.training
    epochs.use_precision(options)
    made = UserSoftmax(
        _options(settings, len(title_ids)),
        network.DROPPED_SHARE,
        network.TARGET_POWER,
        settings.interactions.positive_min_weight,
    )
    epochs.compile_network(made, options, _MANY_STEPS)
    return made
