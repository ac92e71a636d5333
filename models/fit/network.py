"""The untrained network that the settings describe."""

from dataclasses import replace

import numpy as np

from conf.settings import Settings
from lake.vocabulary_ids import FIRST_ID
from models.data.content_features import content_features
from models.fit.inputs import Inputs
from models.towers.networks import NetworkOptions, TwoTowerNetwork, UserOptions, UserSoftmax
from models.towers.sampled_softmax import SampledSoftmax

# The least and largest share of a history that is dropped and predicted; a user's weight is the number of targets to
# this power.
DROPPED_SHARE = (0.1, 0.6)
TARGET_POWER = 0.5
# A step over the whole catalogue takes as long as one over a sample of this share of it: it looks up no titles.
_SAMPLE_SHARE_OF_EQUAL_COST = 0.4


def loss_for(settings: Settings, count_titles: int) -> str:
    """Name of the loss that the settings choose for `count_titles` warm titles: by default the faster one."""
    options = settings.training
    if options.loss != "auto":
        return options.loss
    is_sample_faster = options.negatives < _SAMPLE_SHARE_OF_EQUAL_COST * count_titles
    return "sampled_softmax" if is_sample_faster else "user_softmax"


def make_network(settings: Settings, inputs: Inputs, loss: str) -> TwoTowerNetwork:
    """The untrained network, with one row per warm title."""
    model = settings.model
    options = NetworkOptions(
        dim=model.dim,
        count_titles=len(inputs.warm),
        count_countries=FIRST_ID + len(inputs.countries),
        temperature=model.temperature,
        seed=settings.seed,
        title_weights=None if inputs.title_weights is None else inputs.title_weights[inputs.warm],
    )
    users = UserOptions(DROPPED_SHARE, TARGET_POWER, settings.interactions.positive_min_weight)
    if loss == "user_softmax":
        return UserSoftmax(options, users)
    counts = inputs.positive_counts
    options = replace(options, log_popularity=np.log(counts / counts.sum()).astype(np.float32))
    if inputs.catalogue.content.blocks:
        # With few likes a title, what is known of it beforehand says more of it than they do.
        features = content_features(inputs.catalogue.content, settings.seed)
        options = replace(options, content=features[inputs.warm])
    return SampledSoftmax(options, users, counts, settings.training.negatives)
