"""The untrained network that the settings describe."""

import numpy as np

from conf.settings import Settings
from lake.vocabulary_ids import FIRST_ID
from models.fit.inputs import Inputs
from models.towers.networks import NetworkOptions, SampledSoftmax, TwoTowerNetwork, UserSoftmax

# user_softmax: the least and largest share of a history that is dropped and predicted; a user's weight is the number of
# targets to this power.
DROPPED_SHARE = (0.1, 0.6)
TARGET_POWER = 0.5


def loss_for(settings: Settings, count_titles: int) -> str:
    """Name of the loss that the settings choose for `count_titles` warm titles."""
    if settings.training.loss != "auto":
        return settings.training.loss
    return "user_softmax" if count_titles <= settings.training.max_softmax_titles else "sampled_softmax"


def make_network(settings: Settings, inputs: Inputs, loss: str) -> TwoTowerNetwork:
    """The untrained network, with one row per warm title."""
    model, training = settings.model, settings.training
    options = NetworkOptions(
        dim=model.dim,
        count_titles=len(inputs.warm),
        count_countries=FIRST_ID + len(inputs.countries),
        temperature=model.temperature,
        seed=settings.seed,
        title_weights=None if inputs.title_weights is None else inputs.title_weights[inputs.warm],
    )
    if loss == "sampled_softmax":
        counts = inputs.positive_counts
        popularity = (counts / counts.sum()).astype(np.float32)
        return SampledSoftmax(options, popularity, training.uniform_negatives, training.correct_sampling)
    return UserSoftmax(
        options,
        DROPPED_SHARE,
        TARGET_POWER,
        settings.interactions.positive_min_weight,
    )
